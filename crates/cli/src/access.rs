//! `wolke access`: who may do what, and why. Asks the identity service; what an object of another service belongs to is looked up there first.

use crate::{
    body,
    catalog::Service,
    fail::{Fail, Result},
    generate::leaf,
    output,
    session::{Session, segment},
};
use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value as Json};

pub fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| Arg::new(name).long(name).value_name(value).help(help);
    let permission = || {
        Arg::new("permission")
            .value_name("PERMISSION")
            .required(true)
            .help("service/resource/action, as a denial names it: compute/servers/perform/start")
    };
    let object = |command: Command| {
        command
            .arg(option("on", "ID", "On which object, by id or name"))
            .arg(option("owner-project", "PROJECT", "On anything that belongs to this project"))
            .arg(option("owner-domain", "DOMAIN", "On anything that belongs to this domain"))
    };
    let can = leaf("can", "Say whether somebody may do something, and why.")
        .visible_alias("explain")
        .arg(permission())
        .arg(option("user", "USER", "Who, by id or name; left out: yourself"))
        .arg(option("project", "PROJECT", "In which project; left out: that of your login"))
        .arg(option("ip", "ADDRESS", "Logged in from where"));
    Command::new("access")
        .about("Who may do what, and why.")
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(object(can))
        .subcommand(object(leaf("who-can", "List who may do something.").arg(permission())))
}

pub async fn run(matches: &ArgMatches) -> Result<()> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Fail::usage("say what to ask; `wolke access --help` lists it"));
    };
    let session = Session::open(matches).await?;
    let question = question(&session, matches).await?;
    let mut answer = session.post(Service::Identity, &format!("/access/{verb}"), &question).await?;
    let answer = answer["access"].take();
    match verb {
        "can" => can(matches, &answer),
        _ => who_can(matches, &answer),
    }
}

async fn question(session: &Session, matches: &ArgMatches) -> Result<Json> {
    let permission = body::text(matches, "permission").unwrap_or_default();
    let mut question = Map::new();
    question.insert("permission".into(), permission.into());
    let words: &[(&str, &str)] = match matches.try_contains_id("user") {
        Ok(_) => {
            &[("user", "user"), ("project", "project"), ("ip", "ip"), ("owner-project", "owner_project"), ("owner-domain", "owner_domain")]
        }
        Err(_) => &[("owner-project", "owner_project"), ("owner-domain", "owner_domain")],
    };
    for (option, key) in words {
        if let Some(given) = body::text(matches, option) {
            question.insert((*key).into(), given.into());
        }
    }
    let Some(on) = body::text(matches, "on") else { return Ok(Json::Object(question)) };
    let mut parts = permission.trim_matches('/').split('/');
    let (service, resource) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match Service::from_word(service) {
        Some(Service::Identity) => {
            question.insert("on".into(), on.into());
        }
        None => return Err(Fail::usage(format!("{permission}: the service is one of compute, image, identity"))),
        Some(service) => {
            let path = format!("/{}/{}", segment(resource), segment(on));
            let found = session.get(service, &path, &[]).await?;
            // Under whatever its keyword is; image clients are answered the object itself.
            let inner = found.as_object().and_then(|map| if map.len() == 1 { map.values().next() } else { None }).unwrap_or(&found);
            let text = |names: [&str; 2]| names.iter().find_map(|n| inner[*n].as_str()).filter(|s| !s.is_empty()).map(str::to_string);
            let owner = text(["project_id", "tenant_id"]).map(|id| ("owner_project", id));
            let owner = owner.or_else(|| text(["project_domain_id", "domain_id"]).map(|id| ("owner_domain", id)));
            if let Some((key, id)) = owner {
                question.insert(key.into(), id.into());
            }
            question.insert("tags".into(), inner["metadata"].clone());
            if !inner["metadata"].is_object() {
                question.remove("tags");
            }
        }
    }
    Ok(Json::Object(question))
}

fn can(matches: &ArgMatches, answer: &Json) -> Result<()> {
    if body::text(matches, "output") != Some("table") {
        return output::one(matches, answer);
    }
    let lines = answer["why"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = String::new();
    for (i, line) in lines.iter().filter_map(Json::as_str).enumerate() {
        text.push_str(if i == 0 { "" } else { "  " });
        text.push_str(line);
        text.push('\n');
    }
    output::print(&text)
}

fn who_can(matches: &ArgMatches, answer: &Json) -> Result<()> {
    if body::text(matches, "output") != Some("table") {
        return output::one(matches, answer);
    }
    let rows: Vec<Json> = answer["holders"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(|holder| {
            serde_json::json!({"user": holder["user"]["name"], "in": holder["in"]["name"], "group": holder["group"], "role": holder["role"],
                "policy": holder["policy"], "scope": holder["scope"], "only_for": holder["condition"]})
        })
        .collect();
    output::list(matches, "holders", &rows)?;
    let everybody = answer["everybody"].as_array().map(Vec::as_slice).unwrap_or_default();
    for rule in everybody {
        eprintln!("and everybody who is logged in, at scope {}", rule["scope"].as_str().unwrap_or_default());
    }
    if answer["more"] == true {
        eprintln!("there are more than these");
    }
    Ok(())
}
