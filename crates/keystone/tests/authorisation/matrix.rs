//! What every default role may do: one table for each resource of each service, as a golden file people can read. `WOLKE_GOLDEN=write` writes
//! it anew; the difference is what changes for users.

use crate::kit;
use api_identity::Role as RoleRow;
use base::{Caller, Clock, Json, Resource, Role, Scope};
use resource::Ask;
use std::{fmt::Write, path::Path};
use store::{Cond, Read};

const SERVICES: [(&str, &str); 3] = [("identity", "identity"), ("compute", "compute"), ("image", "image")];

/// The permissions of a service by resource, read off its document.
pub fn permissions(document: &Json) -> Vec<(String, Vec<Vec<String>>)> {
    let mut out: Vec<(String, Vec<Vec<String>>)> = Vec::new();
    let Some(paths) = document["paths"].as_object() else { return out };
    for (path, item) in paths {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let mut add = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| w.to_string()).collect();
            match out.iter_mut().find(|(r, _)| r == parts[0]) {
                Some((_, all)) => all.push(words),
                None => out.push((parts[0].to_string(), vec![words])),
            }
        };
        // Lists inside other rows ask for rights on what they list; paths beside the resources have rules of their own.
        let has = |method: &str| item.get(method).is_some_and(|operation| operation["x-by-hand"].is_null());
        match &parts[1..] {
            [] => {
                if has("get") {
                    add(&["list"]);
                }
                if has("post") {
                    add(&["create"]);
                }
            }
            ["{id}"] => {
                [("get", "get"), ("put", "update"), ("delete", "delete")].iter().filter(|(m, _)| has(m)).for_each(|(_, a)| add(&[a]))
            }
            ["{id}", word] => {
                if has("get") {
                    add(&["get", word]);
                }
                if has("post") {
                    add(&["perform", word]);
                }
            }
            _ => {}
        }
    }
    out.sort();
    out
}

pub fn document(service: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/openapi/{service}.json"));
    serde_json::from_slice(&std::fs::read(path).expect("the document of the service")).expect("JSON")
}

fn letter(scope: Scope) -> &'static str {
    match scope {
        Scope::None => "·",
        Scope::User => "self",
        Scope::Project => "proj",
        Scope::Domain => "dom",
        Scope::System => "ALL",
    }
}

#[tokio::test]
async fn the_matrix_is_the_one_in_the_tree() {
    let db = store::testing::sqlite().await;
    let keystone = keystone::build(kit::config(), db.clone(), Clock::real()).await.expect("the service starts");
    let mut read = &db;
    let rows = read.find(RoleRow::facts(), Cond::True).await.expect("roles");
    let system = keystone.owners.projects_named("system", None).pop().expect("the project system");
    // In the order of their definition, with whoever has no role and whoever has no token.
    let mut columns: Vec<(String, Caller)> = vec![("(guest)".into(), Caller::default())];
    let user = |roles: Vec<Role>| Caller {
        user_id: "u".into(),
        project_id: system.project_id.clone(),
        project_domain_id: system.domain_id.clone(),
        roles,
        ..Caller::default()
    };
    columns.push(("(no role)".into(), user(vec![])));
    for role in auth::defaults::roles() {
        let id = rows.iter().find(|r| r.name() == role.name).expect("every default role exists").id().to_string();
        columns.push((role.name.clone(), user(vec![Role { id, name: role.name.clone() }])));
    }
    let mut text = String::from(
        "# Who may what\n\nEvery default role on every resource, as the platform decides it. A cell is the widest scope: `ALL` the whole platform, `dom` the\n\
         domain, `proj` the project, `self` what belongs to the user, `·` nothing. Actions that no role tells apart share a line. Rules that look at\n\
         the row besides (built-ins, who may hand out what) narrow this further, never widen it. Made by a test; do not edit.\n",
    );
    for (file, service) in SERVICES {
        for (resource, permissions) in permissions(&document(file)) {
            let mut lines: Vec<(Vec<&'static str>, Vec<String>)> = Vec::new();
            for words in &permissions {
                let extra: Vec<&str> = words[1..].iter().map(String::as_str).collect();
                let ask = Ask { service, resource: &resource, action: &words[0], extra: &extra };
                let cells: Vec<&str> = columns.iter().map(|(_, c)| letter(keystone.gate.widest(c, None, &ask))).collect();
                match lines.iter_mut().find(|(have, _)| *have == cells) {
                    Some((_, names)) => names.push(words.join("/")),
                    None => lines.push((cells, vec![words.join("/")])),
                }
            }
            writeln!(text, "\n## {service}/{resource}\n").expect("text");
            writeln!(text, "| | {} |", columns.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(" | ")).expect("text");
            writeln!(text, "|---|{}", "---|".repeat(columns.len())).expect("text");
            for (cells, names) in lines {
                writeln!(text, "| {} | {} |", names.join(", "), cells.join(" | ")).expect("text");
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/authorisation.md");
    if std::env::var("WOLKE_GOLDEN").as_deref() == Ok("write") {
        std::fs::write(&path, &text).expect("the tree can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "rights have changed: look at it with WOLKE_GOLDEN=write and git diff docs/authorisation.md");
}
