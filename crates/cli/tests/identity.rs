//! Every path of the identity service is reached by a command, or stands here with the reason why not.

use base::Clock;
use clap::Command;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// Paths beside the resources, and the command for each.
const COMMANDS: &[(&str, &str)] = &[
    ("POST /v3/auth/tokens", "login"),
    ("GET /v3/auth/tokens", "whoami"),
    ("DELETE /v3/auth/tokens", "logout"),
    ("GET /v3/auth/catalog", "catalog"),
    ("GET /v3/auth/projects", "user projects"),
    ("GET /v3/usages", "usage"),
    ("GET /v3/events/export", "event export"),
    ("POST /v3/access/can", "access can"),
    ("POST /v3/access/who-can", "access who-can"),
    ("GET /v3/identity_quotas", "identity-quota show"),
    ("POST /v3/identity_quotas", "identity-quota set"),
    ("GET /v3/identity_quotas/domains", "identity-quota list"),
    ("GET /v3/identity_quotas/domains/{domain}", "identity-quota show"),
    ("POST /v3/identity_quotas/domains/{domain}", "identity-quota set"),
    ("POST /v3/scope-resource/refresh", "identity-quota refresh"),
    ("GET /v3/role_assignments", "role-assignment list"),
    ("GET /v3/users/{outer}/projects", "user projects"),
    ("GET /v3/users/{outer}/groups", "user groups"),
    ("GET /v3/groups/{outer}/users", "group users"),
    ("GET /v3/groups/{outer}/projects", "group projects"),
    ("GET /v3/projects/{outer}/users", "project users"),
    ("GET /v3/projects/{outer}/groups", "project groups"),
    ("POST /v3/application_credentials", "application-credential create"),
    ("GET /v3/users/{user}/application_credentials", "user application-credentials"),
    ("GET /v3/users/{user}/access_rules", "user access-rules"),
    ("GET /v3/users/{user}/second_factor", "totp show"),
    ("POST /v3/users/{user}/second_factor", "totp enable"),
    ("DELETE /v3/users/{user}/second_factor", "totp remove"),
    ("POST /v3/users/{user}/second_factor/confirm", "totp confirm"),
    ("POST /v3/users/{user}/second_factor/recovery-codes", "totp recovery-codes"),
    ("POST /v3/users/{user}/second_factor/remove", "totp disable"),
];

/// Paths that are no business of a command line's user: how they begin, and whose they are.
const OTHERS: &[(&str, &str)] = &[
    ("/v3/version", "what programs ask; `wolke --version` is the command's own"),
    ("/v3/auth/keys", "services check tokens with them"),
    ("/v3/auth/revocations", "services follow them"),
    ("/v3/auth/bindings", "services follow them"),
    ("/v3/auth/changes", "services wait for them"),
    ("/v3/auth/tokens/invalid", "services ask"),
    ("/v3/auth/policies", "services and gateways ask; people ask `access can`, which says why"),
    ("/v3/auth/domains", "OpenStack's way to ask what `whoami` and `role-assignment list` tell"),
    ("/v3/auth/system", "OpenStack's way to ask what `access can --user` tells"),
    ("/v3/auth/door", "the pages on which a browser or another device logs in; `wolke login` sends people there"),
    ("/v3/auth/sso", "identity providers speak to it"),
    ("/v3/ec2tokens", "services check signatures with it"),
    ("/v3/s3tokens", "services check signatures with it"),
    ("/v3/users/{user}/credentials/OS-EC2", "OpenStack's form of `access-key`"),
    ("/v3/groups/{group}/users/{user}", "OpenStack's form of `group add-users` and `remove-users`"),
    ("/v3/regions/{region}", "OpenStack's form of `region create` and `update`"),
    ("/v3/users/{user}/application_credentials", "OpenStack's form of `application-credential`"),
    ("/v3/users/{user}/access_rules/{id}", "a rule has no life of its own; `user access-rules` lists them"),
    ("/v3/{*path}", "the resources: they stand in the document"),
];

fn whole() -> Command {
    let mut whole = Command::new("wolke").subcommands(cli::commands());
    whole.build();
    whole
}

fn has(whole: &Command, line: &str) -> bool {
    line.split(' ').try_fold(whole, |at, word| at.find_subcommand(word)).is_some()
}

#[test]
fn every_path_of_the_document_has_a_command() {
    let document: Json = serde_json::from_str(include_str!("../../../docs/openapi/identity.json")).expect("a golden file is JSON");
    let whole = whole();
    let mut without = Vec::new();
    let paths = document["paths"].as_object().expect("paths");
    for (path, item) in paths {
        let mut parts = path.trim_start_matches('/').split('/');
        let plural = parts.next().unwrap_or_default();
        let list = &paths[&format!("/{plural}")]["get"]["operationId"];
        let word = list.as_str().and_then(|id| id.strip_suffix("-list")).expect("a list").replace('_', "-");
        let (one, property) = (parts.next().is_some(), parts.next());
        let own = |method: &&String| *method != "parameters" && item[*method]["x-by-hand"].is_null();
        for method in item.as_object().expect("an item").keys().filter(own) {
            let verb = match (method.as_str(), one, property) {
                ("get", false, _) => "list".to_string(),
                ("post", false, _) => "create".to_string(),
                ("get", true, None) => "show".to_string(),
                ("put", true, None) => "update".to_string(),
                ("delete", true, None) => "delete".to_string(),
                ("get", true, Some(name)) if item.get("post").is_some() => format!("show-{name}"),
                (_, _, Some(name)) => name.to_string(),
                (other, ..) => panic!("{other} {path}: which command is that?"),
            };
            if !has(&whole, &format!("{word} {verb}")) {
                without.push(format!("{method} {path}: wolke {word} {verb}"));
            }
        }
    }
    assert!(without.is_empty(), "no command for {without:#?}");
}

#[tokio::test]
async fn every_other_path_has_a_command_or_a_reason() {
    let config = keystone::Config {
        secret_key: api_identity::Secret::new("0123456789abcdef".repeat(4)),
        password_hash_memory_kib: 64,
        password_hash_passes: 1,
        ..keystone::Config::default()
    };
    let db = store::Db::open("sqlite::memory:").await.expect("a database");
    let keystone = keystone::build(config, db, Clock::real()).await.expect("the service starts");
    let whole = whole();
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut without = Vec::new();
    for (method, path) in keystone.router.paths().filter(|(method, _)| method.as_str() != "HEAD") {
        let route = format!("{method} {path}");
        known.insert(route.clone());
        let roles = path.contains("/roles") && has(&whole, "role-assignment add") && has(&whole, "role-assignment remove");
        let reason = path == "/" || path == "/v3" || roles || OTHERS.iter().any(|(begin, _)| path.starts_with(begin));
        match COMMANDS.iter().find(|(known, _)| *known == route) {
            Some((_, command)) => assert!(has(&whole, command), "{route}: there is no command wolke {command}"),
            None if reason => {}
            None => without.push(route),
        }
    }
    assert!(without.is_empty(), "name a command, or the reason why there is none, for {without:#?}");
    let gone: Vec<&str> = COMMANDS.iter().map(|(route, _)| *route).filter(|route| !known.contains(*route)).collect();
    assert!(gone.is_empty(), "no such path: {gone:?}; there are {known:#?}");
}
