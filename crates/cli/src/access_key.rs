//! `wolke access-key`: keys that sign requests and log programs in. At the platform a key is a credential of type `aksk`.

use crate::{
    body,
    catalog::Service,
    fail::{Fail, Result},
    generate::leaf,
    output,
    session::{Session, segment},
};
use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value as Json, json};

/// Bytes of a secret.
const SECRET: usize = 24;

pub fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| Arg::new(name).long(name).value_name(value).help(help);
    let key = || {
        Arg::new("id").value_name("ACCESS_KEY").required(true).num_args(1..).help("Key, or its name; several are taken one after the other")
    };
    Command::new("access-key")
        .about("Keys that sign requests: for programs, and for S3 and EC2 clients.")
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            leaf("create", "Make one; its secret is in the answer.")
                .arg(option("name", "NAME", "Name; left out: made of project and user"))
                .arg(option("description", "TEXT", "What it is for"))
                .arg(option("project", "PROJECT", "Where it works, by id or name; left out: the project of your login"))
                .arg(option("user", "USER", "Whose, by id or name; left out: yours"))
                .arg(option("expires", "TIME", "When it ends, UTC, as 2027-01-31T00:00:00Z; left out: never"))
                .after_help("Use it: OS_ACCESS_KEY and OS_SECRET_KEY beside OS_AUTH_URL, here and in the other client."),
        )
        .subcommand(leaf("list", "List keys.").arg(option("user", "USER", "Of whom, by id; left out: yours")))
        .subcommand(leaf("show", "Show one, with its secret.").arg(key().num_args(1)))
        .subcommand(leaf("enable", "Let logins by it in again.").arg(key()))
        .subcommand(leaf("disable", "Let no new login in by it. Tokens it has got stay good; `delete` voids those too.").arg(key()))
        .subcommand(leaf("delete", "Delete; what was logged in by it is void.").arg(key()))
}

pub async fn run(matches: &ArgMatches) -> Result<()> {
    let Some((verb, matches)) = matches.subcommand() else { return Ok(()) };
    let session = Session::open(matches).await?;
    let path = |id: &str| format!("/credentials/{}", segment(id));
    match verb {
        "create" => create(&session, matches).await,
        "list" => list(&session, matches).await,
        "show" => {
            let id = body::text(matches, "id").unwrap_or_default();
            let answer = session.get(Service::Identity, &path(id), &[]).await?;
            output::one(matches, &told(&answer["credential"], true))
        }
        verb => {
            for id in body::many(matches, "id") {
                if verb == "delete" {
                    session.delete(Service::Identity, &path(id)).await?;
                } else {
                    session.post(Service::Identity, &format!("{}/{verb}", path(id)), &json!({})).await?;
                }
                eprintln!("{id}: {verb}d");
            }
            Ok(())
        }
    }
}

async fn create(session: &Session, matches: &ArgMatches) -> Result<()> {
    let mut secret = [0u8; SECRET];
    getrandom::fill(&mut secret).map_err(|e| Fail::usage(format!("the kernel gives no random bytes: {e}")))?;
    let mut wish = Map::new();
    wish.insert("type".into(), "aksk".into());
    wish.insert("blob".into(), json!({"secret": hex::encode(secret)}).to_string().into());
    for (option, key) in
        [("name", "name"), ("description", "description"), ("project", "project_id"), ("user", "user_id"), ("expires", "expired_at")]
    {
        if let Some(given) = body::text(matches, option) {
            wish.insert(key.into(), given.into());
        }
    }
    let answer = session.post(Service::Identity, "/credentials", &json!({ "credential": wish })).await?;
    output::one(matches, &told(&answer["credential"], true))
}

async fn list(session: &Session, matches: &ArgMatches) -> Result<()> {
    let whose = body::text(matches, "user").unwrap_or(&session.subject.user.id);
    let mut query: Vec<(String, String)> = vec![("type".into(), "aksk".into()), ("limit".into(), "0".into())];
    query.push(("filter".into(), format!("owner_id.equals({whose})")));
    // One's own keys work in several projects; somebody else's are an administrator's business.
    query.push(("scope".into(), if whose == session.subject.user.id { "user" } else { "system" }.into()));
    let answer = session.get(Service::Identity, "/credentials", &query).await?;
    let rows: Vec<Json> = answer["credentials"].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(|c| told(c, false)).collect();
    output::list(matches, "access_keys", &rows)
}

/// A credential in the words of keys.
fn told(credential: &Json, secret: bool) -> Json {
    let mut key = Map::new();
    key.insert("access_key".into(), credential["id"].clone());
    if secret {
        let blob = credential["blob"].as_str().and_then(|text| serde_json::from_str::<Json>(text).ok()).unwrap_or_default();
        key.insert("secret_key".into(), blob["secret"].clone());
    }
    for field in ["name", "description", "user", "project_id", "enabled", "expired_at", "created_at"] {
        if !credential[field].is_null() {
            key.insert(field.into(), credential[field].clone());
        }
    }
    Json::Object(key)
}
