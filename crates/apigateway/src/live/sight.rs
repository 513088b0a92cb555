//! Which changes a page is told of: those of rows its user could list, judged by what the feed says of a row, in the words of `resource::access`.
//! What only a row's other fields could tell (tags, a parent's owner) counts as no.

use super::feed::Line;
use crate::catalog::Module;
use base::{Caller, Ctx, Scope};
use resource::{Ask, Gate};

/// Resources without an owner that everybody sees who may list them at all. Not those that are parts of somebody's row.
const EVERYBODYS: [(&str, &str); 7] = [
    ("compute", "cloudregions"),
    ("compute", "zones"),
    ("compute", "serverskus"),
    ("identity", "regions"),
    ("identity", "services"),
    ("identity", "endpoints"),
    ("identity", "identity_providers"),
];

/// Whether the user could list the row.
pub fn may_know(gate: &dyn Gate, ctx: &Ctx, module: &Module, line: &Line) -> bool {
    let ask = Ask { service: &module.service, resource: &module.plural, action: "list", extra: &[] };
    let caller = &ctx.caller;
    if within(gate.widest(caller, ctx.peer, &ask), caller, module, line) {
        return true;
    }
    gate.conditional(caller, ctx.peer, &ask).iter().any(|c| {
        let named = |ids: &Option<Vec<String>>, id: &str| ids.as_ref().is_none_or(|ids| ids.iter().any(|i| i == id));
        c.tags.is_empty()
            && within(c.scope, caller, module, line)
            && named(&c.projects, &line.project_id)
            && named(&c.domains, &line.domain_id)
    })
}

fn within(scope: Scope, caller: &Caller, module: &Module, line: &Line) -> bool {
    let same = |a: &str, b: &str| !a.is_empty() && a == b;
    let in_domain = same(&line.domain_id, &caller.project_domain_id);
    match (scope, module.service.as_str(), module.plural.as_str()) {
        (Scope::None, ..) => false,
        (Scope::System, ..) => true,
        // Users and what they are in have rules of their own; what takes a question to find out is not told.
        (_, "identity", "domains") => same(&line.id, &caller.project_domain_id) || same(&line.id, &caller.user_domain_id),
        (Scope::Project | Scope::User, "identity", "projects") => same(&line.id, &caller.project_id),
        (Scope::Project | Scope::User, "identity", "users") => same(&line.id, &caller.user_id),
        (Scope::Project | Scope::User, "identity", "groups") => false,
        (_, service, plural) => {
            let own = match (module.level, scope) {
                (Scope::User, _) => same(&line.owner_id, &caller.user_id),
                (Scope::System | Scope::None, _) => EVERYBODYS.contains(&(service, plural)),
                (Scope::Project, Scope::Project | Scope::User) => same(&line.project_id, &caller.project_id),
                _ => in_domain,
            };
            own || shared(caller, line, in_domain)
        }
    }
}

/// Rows that others share with the caller (spec 01 §6.3).
fn shared(caller: &Caller, line: &Line, in_domain: bool) -> bool {
    let listed = |ids: &[String], id: &str| !id.is_empty() && ids.iter().any(|i| i == id);
    match line.public_scope.as_str() {
        "system" => true,
        "domain" => in_domain || listed(&line.shared_domain_ids, &caller.project_domain_id),
        "project" => listed(&line.shared_project_ids, &caller.project_id),
        _ => false,
    }
}

/// Resources that have no lines of their own and change with this one: the audit log with everything, counts with what is counted, and what ties
/// two rows with either of them.
pub fn following(module: &Module) -> Vec<&'static str> {
    let (events, quotas) = match module.service.as_str() {
        "compute" => ("events", "quotas"),
        "image" => ("image-events", "image_quotas"),
        _ => ("identity-events", "identity_quotas"),
    };
    let (mut all, ties): (Vec<&'static str>, &[&'static str]) = match module.plural.as_str() {
        // A step of something under way: what it does changes rows, and they tell.
        "tasks" | "archivedtasks" => return Vec::new(),
        "servers" => (vec![events, quotas], &["guestdisks", "guestnetworks", "netinterfaces", "usages"]),
        "disks" => (vec![events, quotas], &["guestdisks", "usages"]),
        "networks" => (vec![events, quotas], &["guestnetworks", "netinterfaces", "reservedips", "usages"]),
        "hosts" | "storages" => (vec![events, quotas], &["hoststorages", "storagecaches", "usages"]),
        "images" => (vec![events, quotas], &["sub_images"]),
        _ => (vec![events, quotas], &[]),
    };
    all.extend(ties);
    all.retain(|word| *word != module.plural);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::TABLE;
    use std::{net::IpAddr, sync::Arc};

    /// Allows lists at one scope.
    struct At(Scope);

    impl Gate for At {
        fn widest(&self, _: &Caller, _: Option<IpAddr>, _: &Ask<'_>) -> Scope {
            self.0
        }
        fn allows(&self, _: &Caller, _: Option<IpAddr>, _: &Ask<'_>, scope: Scope) -> bool {
            scope <= self.0
        }
    }

    #[test]
    fn who_is_told_of_what() {
        let caller = Caller {
            user_id: "u".into(),
            project_id: "p".into(),
            project_domain_id: "d".into(),
            user_domain_id: "d".into(),
            ..Caller::default()
        };
        let ctx = Ctx { caller: Arc::new(caller), ..Ctx::platform("live") };
        let check = |scope: Scope, word: &str, line: &str, want: bool| {
            let line: Line = serde_json::from_str(&format!(r#"{{"seq": 1, "kind": "k", "op": "update", {line}}}"#)).expect("a line");
            let module = TABLE.find(word).unwrap_or_else(|| panic!("no {word}"));
            assert_eq!(may_know(&At(scope), &ctx, module, &line), want, "{scope:?} {word} {line:?}");
        };
        let (mine, foreign) = (r#""id": "a", "domain_id": "d", "project_id": "p""#, r#""id": "a", "domain_id": "e", "project_id": "q""#);
        let neighbour = r#""id": "a", "domain_id": "d", "project_id": "q""#;
        for word in ["servers", "disks", "networks", "images", "tasks", "hosts", "users", "keypairs"] {
            check(Scope::None, word, mine, false);
            check(Scope::System, word, foreign, true);
        }
        for word in ["servers", "disks", "networks", "images", "tasks"] {
            check(Scope::Project, word, mine, true);
            check(Scope::Project, word, neighbour, false);
            check(Scope::Domain, word, neighbour, true);
            check(Scope::Domain, word, foreign, false);
        }
        // Rows of domains, of users, of nobody, and parts of somebody's.
        check(Scope::Project, "hosts", neighbour, true);
        check(Scope::Project, "hosts", foreign, false);
        check(Scope::Project, "keypairs", r#""id": "a", "owner_id": "u""#, true);
        check(Scope::Domain, "keypairs", r#""id": "a", "owner_id": "v", "domain_id": "d""#, false);
        check(Scope::Project, "zones", r#""id": "a""#, true);
        check(Scope::Project, "guestdisks", r#""id": "a""#, false);
        // What is shared, with whom.
        check(Scope::Project, "networks", r#""id": "a", "domain_id": "e", "project_id": "q", "public_scope": "system""#, true);
        check(Scope::Project, "images", r#""id": "a", "domain_id": "d", "project_id": "q", "public_scope": "domain""#, true);
        check(Scope::Project, "images", r#""id": "a", "domain_id": "e", "project_id": "q", "public_scope": "domain""#, false);
        let with = |key: &str, id: &str| format!(r#""id": "a", "domain_id": "e", "public_scope": "{key}", "shared_{key}_ids": ["{id}"]"#);
        check(Scope::Project, "hosts", &with("domain", "d"), true);
        check(Scope::Project, "images", &with("project", "p"), true);
        check(Scope::Project, "images", &with("project", "q"), false);
        // Identity: oneself, and where one is.
        check(Scope::Project, "users", r#""id": "u", "domain_id": "d""#, true);
        check(Scope::Project, "users", r#""id": "v", "domain_id": "d""#, false);
        check(Scope::Project, "projects", r#""id": "p", "domain_id": "d""#, true);
        check(Scope::Project, "projects", r#""id": "q", "domain_id": "d""#, false);
        check(Scope::Domain, "users", r#""id": "v", "domain_id": "d""#, true);
        check(Scope::Domain, "domains", r#""id": "d""#, true);
        check(Scope::Domain, "domains", r#""id": "e""#, false);
    }

    #[test]
    fn what_follows() {
        let of = |word: &str| following(TABLE.find(word).expect("a resource"));
        assert!(of("servers").contains(&"events") && of("servers").contains(&"quotas") && of("servers").contains(&"guestdisks"));
        assert!(of("users").contains(&"identity-events") && of("images").contains(&"image-events") && of("tasks").is_empty());
    }
}
