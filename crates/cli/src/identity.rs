//! What of the identity service is no resource: roles people have, what belongs to whom, quotas of domains, the catalogue, records as a file.

use crate::{
    body,
    catalog::Service,
    fail::{Fail, Result},
    generate::{id, leaf},
    output,
    session::{Session, segment},
};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use futures_util::StreamExt;
use http::Method;
use serde_json::{Map, Value as Json, json};
use std::io::Write;

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

pub fn commands() -> Vec<Command> {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let grant = |name: &str, about: &str| {
        leaf(name, about)
            .arg(Arg::new("role").value_name("ROLE").required(true).help("Role, by id or name"))
            .arg(option("user", "USER", "To a user, by id or name"))
            .arg(option("group", "GROUP", "To a group, by id or name"))
            .arg(option("project", "PROJECT", "In a project, by id or name"))
            .arg(option("domain", "DOMAIN", "In a whole domain, by id or name"))
            .group(ArgGroup::new("whom").args(["user", "group"]).required(true))
            .group(ArgGroup::new("where").args(["project", "domain"]).required(true))
    };
    let resource = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).arg_required_else_help(true).disable_help_subcommand(true)
    };
    vec![
        resource("role-assignment", "Who has which role where.")
            .subcommand(
                leaf("list", "List roles people have.")
                    .arg(option("user", "USER", "Of a user, by id or name"))
                    .arg(option("group", "GROUP", "Of a group, by id or name"))
                    .arg(option("role", "ROLE", "Of a role, by id or name"))
                    .arg(option("project", "PROJECT", "In a project, by id or name"))
                    .arg(option("domain", "DOMAIN", "In a domain, by id or name"))
                    .arg(flag("effective", "What users come to, through their groups as well"))
                    .arg(flag("system", "Also the platform's own accounts"))
                    .arg(option("limit", "N", "Rows at most; 0: all").default_value("50").value_parser(clap::value_parser!(u64)))
                    .arg(option("offset", "N", "Rows to pass over").value_parser(clap::value_parser!(u64))),
            )
            .subcommand(
                grant("add", "Give a role.").after_help("Example: wolke role-assignment add project_editor --user alice --project web"),
            )
            .subcommand(grant("remove", "Take a role."))
            .subcommand(grant("check", "Say whether somebody has a role; the exit code says it too.")),
        resource("identity-quota", "How many users, groups, projects and roles a domain may have.")
            .subcommand(leaf("list", "List the quotas of every domain."))
            .subcommand(
                leaf("show", "Show those of one domain.")
                    .arg(Arg::new("domain").value_name("DOMAIN").help("Id or name; left out: your own")),
            )
            .subcommand(
                leaf("set", "Set limits of a domain; -1 is none.")
                    .arg(
                        Arg::new("limit")
                            .value_name("COUNTER=N")
                            .required(true)
                            .num_args(1..)
                            .help("As user=50 project=10; `show` names the counters"),
                    )
                    .arg(option("domain", "DOMAIN", "Id or name; left out: your own")),
            )
            .subcommand(leaf("refresh", "Ask the other services anew what belongs to which project, as before a domain is deleted.")),
        leaf("catalog", "List the services and their addresses, as your login is told them.")
            .arg(option("service", "TYPE", "Only of this type, as compute_v2"))
            .arg(option("interface", "NAME", "Only public, internal or admin")),
    ]
}

/// Lists inside a row of another kind, by the kind's keyword: their verbs.
pub fn nested(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "user" => &[
            ("projects", "List projects the user can enter."),
            ("groups", "List groups the user is in."),
            ("application-credentials", "List application credentials of the user."),
            ("access-rules", "List access rules of the user's application credentials."),
        ],
        "group" => &[("users", "List users in the group."), ("projects", "List projects the group has a role in.")],
        "project" => &[("users", "List users with a role in the project."), ("groups", "List groups with a role in the project.")],
        _ => &[],
    }
}

pub fn nested_commands(name: &str) -> impl Iterator<Item = Command> {
    nested(name).iter().map(|(verb, about)| leaf(verb, about).arg(id(false)))
}

pub fn export_command() -> Command {
    leaf("export", "Write records to a file or stdout, as far as you may see them.")
        .arg(option("format", "FORMAT", "csv or jsonl").default_value("csv").value_parser(["csv", "jsonl"]))
        .arg(option("file", "FILE", "Where to; left out: stdout"))
        .arg(option("limit", "N", "Records at most; left out: all").value_parser(clap::value_parser!(u64)))
        .arg(option("filter", "FIELD.OP(ARGS)", "Only records for which it holds, as in action.in(login,logout)").action(ArgAction::Append))
        .arg(option("search", "TEXT", "Only records with this text").action(ArgAction::Append))
        .arg(option("scope", "SCOPE", "Whose: system, domain, project or user; left out: the widest allowed"))
}

/// Runs a command of this module.
pub async fn run(name: &str, matches: &ArgMatches) -> Result<()> {
    match (name, matches.subcommand()) {
        ("role-assignment", Some(("list", inner))) => assignments(inner).await,
        ("role-assignment", Some((verb, inner))) => grant(verb, inner).await,
        ("identity-quota", Some((verb, inner))) => quota(verb, inner).await,
        _ => catalog(matches).await,
    }
}

/// A list inside a row.
pub async fn list_nested(plural: &str, verb: &str, matches: &ArgMatches) -> Result<()> {
    let session = Session::open(matches).await?;
    let inner = verb.replace('-', "_");
    let which = body::text(matches, "id").unwrap_or_default();
    let path = format!("/{plural}/{}/{inner}", segment(which));
    let query = [("limit".to_string(), "0".to_string()), ("details".to_string(), "true".to_string())];
    let mut answer = session.get(Service::Identity, &path, &query).await?;
    let Json::Array(rows) = answer[&inner].take() else { return Err(Fail::usage(format!("the answer has no {inner}"))) };
    output::list(matches, &inner, &rows)
}

async fn assignments(matches: &ArgMatches) -> Result<()> {
    let session = Session::open(matches).await?;
    let mut query: Vec<(String, String)> = vec![("include_names".into(), "true".into()), ("include_policies".into(), "true".into())];
    for (option, key) in [("user", "users"), ("group", "groups"), ("role", "roles"), ("project", "projects"), ("domain", "domains")] {
        query.extend(body::text(matches, option).map(|given| (key.to_string(), given.to_string())));
    }
    for (option, key) in [("effective", "effective"), ("system", "include_system")] {
        if body::flag(matches, option) {
            query.push((key.into(), "true".into()));
        }
    }
    for key in ["limit", "offset"] {
        query.extend(matches.get_one::<u64>(key).map(|n| (key.to_string(), n.to_string())));
    }
    let answer = session.get(Service::Identity, "/role_assignments", &query).await?;
    let rows = answer["role_assignments"].as_array().map(Vec::as_slice).unwrap_or_default();
    if body::text(matches, "output") != Some("table") {
        return output::list(matches, "role_assignments", rows);
    }
    let flat: Vec<Json> = rows
        .iter()
        .map(|row| {
            let name = |at: &Json| at["name"].clone();
            let policies: Vec<&str> = ["system", "domain", "project"]
                .iter()
                .filter_map(|scope| row["policies"][*scope].as_array())
                .flatten()
                .filter_map(Json::as_str)
                .collect();
            json!({"user": name(&row["user"]), "group": name(&row["group"]), "role": name(&row["role"]),
                "project": name(&row["scope"]["project"]), "domain": name(&row["scope"]["domain"]), "policies": policies})
        })
        .collect();
    output::list(matches, "role_assignments", &flat)?;
    let total = answer["total"].as_u64().unwrap_or(0);
    if total > flat.len() as u64 {
        eprintln!("{} of {total} shown; --limit 0 shows all", flat.len());
    }
    Ok(())
}

async fn grant(verb: &str, matches: &ArgMatches) -> Result<()> {
    let session = Session::open(matches).await?;
    let one_of = |names: [&'static str; 2]| names.into_iter().find_map(|n| body::text(matches, n).map(|given| (n, given)));
    let ((target, place), (actor, whom)) = one_of(["project", "domain"])
        .zip(one_of(["user", "group"]))
        .ok_or_else(|| Fail::usage("name a user or group, and a project or domain"))?;
    let role = body::text(matches, "role").unwrap_or_default();
    let path = format!("/{target}s/{}/{actor}s/{}/roles/{}", segment(place), segment(whom), segment(role));
    let (method, done) = match verb {
        "add" => (Method::PUT, format!("{whom} has the role {role} in {place}")),
        "remove" => (Method::DELETE, format!("{whom} does not have the role {role} in {place} any more")),
        _ => (Method::GET, format!("{whom} has the role {role} in {place}")),
    };
    session.send(session.call(Service::Identity, method, &path)?).await?;
    eprintln!("{done}");
    Ok(())
}

const QUOTAS: &str = "/identity_quotas";

async fn quota(verb: &str, matches: &ArgMatches) -> Result<()> {
    let session = Session::open(matches).await?;
    let of = |domain: Option<&str>| domain.map_or(QUOTAS.to_string(), |d| format!("{QUOTAS}/domains/{}", segment(d)));
    let domain = body::text(matches, "domain");
    let answer = match verb {
        "refresh" => {
            let answer = session.post(Service::Identity, "/scope-resource/refresh", &json!({})).await?;
            let silent = answer["scope-resource"]["silent"].as_array().map(Vec::as_slice).unwrap_or_default();
            let names: Vec<&str> = silent.iter().filter_map(Json::as_str).collect();
            eprintln!(
                "{}",
                if names.is_empty() { "every service answered".into() } else { format!("no answer from {}", names.join(", ")) }
            );
            return Ok(());
        }
        "set" => {
            let mut limits = Map::new();
            for pair in body::many(matches, "limit") {
                let found = pair.split_once('=').and_then(|(counter, n)| Some((counter, n.parse::<i64>().ok()?)));
                let (counter, n) = found.ok_or_else(|| Fail::usage(format!("{pair}: write COUNTER=N, as user=50")))?;
                limits.insert(counter.into(), n.into());
            }
            session.post(Service::Identity, &of(domain), &json!({ "identity_quota": limits })).await?
        }
        "list" => session.get(Service::Identity, &format!("{QUOTAS}/domains"), &[]).await?,
        _ => session.get(Service::Identity, &of(domain), &[]).await?,
    };
    let quotas = answer.as_object().and_then(|m| m.values().next()).and_then(Json::as_array).cloned().unwrap_or_default();
    if body::text(matches, "output") != Some("table") {
        return output::list(matches, "identity_quotas", &quotas);
    }
    let rows: Vec<Json> = quotas.iter().flat_map(counters).collect();
    output::list(matches, "identity_quotas", &rows)
}

/// A line per counter of a domain.
fn counters(quota: &Json) -> Vec<Json> {
    let Some(map) = quota.as_object() else { return Vec::new() };
    map.iter()
        .filter_map(|(key, used)| {
            let counter = key.strip_prefix("usage.")?;
            let limit = match map.get(counter).and_then(Json::as_i64) {
                Some(n) if n < 0 => Json::from("none"),
                Some(n) => Json::from(n),
                None => Json::Null,
            };
            Some(json!({"domain": quota["domain"], "counter": counter, "used": used, "limit": limit}))
        })
        .collect()
}

async fn catalog(matches: &ArgMatches) -> Result<()> {
    let session = Session::open(matches).await?;
    let answer = session.get(Service::Identity, "/auth/catalog", &[]).await?;
    let mut rows = Vec::new();
    for service in answer["catalog"].as_array().map(Vec::as_slice).unwrap_or_default() {
        if body::text(matches, "service").is_some_and(|wanted| service["type"] != wanted) {
            continue;
        }
        for endpoint in service["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default() {
            if body::text(matches, "interface").is_some_and(|wanted| endpoint["interface"] != wanted) {
                continue;
            }
            rows.push(json!({"service": service["name"], "type": service["type"], "interface": endpoint["interface"],
                "region": endpoint["region_id"], "url": endpoint["url"]}));
        }
    }
    output::list(matches, "catalog", &rows)
}

/// Records as a file.
pub async fn export(matches: &ArgMatches) -> Result<()> {
    let session = Session::open(matches).await?;
    let mut call = session.call(Service::Identity, Method::GET, "/events/export")?.idempotent();
    for key in ["format", "filter", "search", "scope"] {
        for given in body::many(matches, key) {
            call = call.query(key, given);
        }
    }
    if let Some(n) = matches.get_one::<u64>("limit") {
        call = call.query("limit", &n.to_string());
    }
    let answer = session.send(call).await?;
    let name = body::text(matches, "file").unwrap_or("stdout");
    let mut out: Box<dyn Write> = match body::text(matches, "file") {
        Some(path) => Box::new(std::fs::File::create(path).map_err(|e| Fail::file(path, &e))?),
        None => Box::new(std::io::stdout()),
    };
    let mut body = std::pin::pin!(answer.stream());
    while let Some(part) = body.next().await {
        let part = part.map_err(|e| Fail::refused(&e, 0, ""))?;
        out.write_all(&part).map_err(|e| Fail::file(name, &e))?;
    }
    out.flush().map_err(|e| Fail::file(name, &e))
}
