//! The policies and roles an installation starts with (spec 02 §7.4), made from the data in `policies/`.

use base::{Json, Scope};
use serde::Deserialize;
use serde_json::{Map, json};
use std::{collections::BTreeMap, sync::LazyLock};

/// A policy as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultPolicy {
    pub name: String,
    pub scope: Scope,
    /// `{"policy": {…}}`.
    pub blob: Json,
    /// One English sentence.
    pub description: String,
}

/// A role with its policies by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultRole {
    pub name: String,
    pub policies: Vec<String>,
    #[serde(default)]
    pub public: bool,
    /// The project its policies are limited to, by name.
    #[serde(default)]
    pub project: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Groups {
    groups: Vec<Group>,
    editor: Editor,
}

type Resources = BTreeMap<String, Vec<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    scope: String,
    levels: Option<Vec<String>>,
    #[serde(default)]
    full: Resources,
    #[serde(default)]
    read: Resources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Editor {
    deny: Vec<String>,
    deny_perform: Vec<String>,
    resources: BTreeMap<String, Resources>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Predefined {
    name: String,
    #[serde(default)]
    prefix: bool,
    scopes: Vec<String>,
    policy: Json,
}

/// All built-in policies.
pub fn policies() -> &'static [DefaultPolicy] {
    static ALL: LazyLock<Vec<DefaultPolicy>> = LazyLock::new(|| {
        let groups: Groups = serde_yaml_ng::from_str(include_str!("../policies/groups.yaml")).expect("part of the build, read by a test");
        let more: Vec<Predefined> =
            serde_yaml_ng::from_str(include_str!("../policies/predefined.yaml")).expect("part of the build, read by a test");
        let mut out = Vec::new();
        for group in &groups.groups {
            from_group(group, &groups.editor, &mut out);
        }
        for one in more {
            for scope in one.scopes.iter().filter_map(|s| Scope::parse(s)) {
                let name = if one.prefix { format!("{}-{}", prefix(scope), one.name) } else { one.name.clone() };
                let description = format!("Predefined role {} at {} scope.", one.name, scope.name());
                out.push(DefaultPolicy { name, scope, blob: json!({"policy": one.policy}), description });
            }
        }
        out
    });
    &ALL
}

/// All built-in roles.
pub fn roles() -> &'static [DefaultRole] {
    static ALL: LazyLock<Vec<DefaultRole>> =
        LazyLock::new(|| serde_yaml_ng::from_str(include_str!("../policies/roles.yaml")).expect("part of the build, read by a test"));
    &ALL
}

fn prefix(scope: Scope) -> &'static str {
    match scope {
        Scope::System => "sys",
        other => other.name(),
    }
}

fn from_group(group: &Group, editor: &Editor, out: &mut Vec<DefaultPolicy>) {
    let Some(least) = Scope::parse(&group.scope) else { return };
    for scope in [Scope::System, Scope::Domain, Scope::Project].into_iter().filter(|s| *s >= least) {
        let all = ["admin", "editor", "viewer"].map(str::to_string);
        let levels = group.levels.as_deref().unwrap_or(&all);
        let mut name = Vec::new();
        if least != Scope::System {
            name.push(prefix(scope));
        }
        if !group.name.is_empty() {
            name.push(&group.name);
        }
        let what = if group.name.is_empty() { "everything" } else { &group.name };
        if levels.is_empty() {
            let blob = document(group, "viewer", editor);
            out.push(DefaultPolicy {
                name: name.join("-"),
                scope,
                blob,
                description: format!("Reading {what} at {} scope.", scope.name()),
            });
        }
        for level in levels {
            let name = if group.name.is_empty() && scope == Scope::System && level == "admin" {
                "sysadmin".to_string()
            } else {
                [&name[..], &[level.as_str()]].concat().join("-")
            };
            let description = format!("{} of {what} at {} scope.", title(level), scope.name());
            out.push(DefaultPolicy { name, scope, blob: document(group, level, editor), description });
        }
    }
}

fn title(level: &str) -> String {
    let mut chars = level.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

fn document(group: &Group, level: &str, editor: &Editor) -> Json {
    let mut services = Map::new();
    let mut put = |service: &str, resource: &str, rights: Json| {
        let entry = services.entry(service.to_string()).or_insert_with(|| json!({}));
        if let Json::Object(map) = entry {
            map.insert(resource.to_string(), rights);
        }
    };
    let read = || json!({"*": "deny", "get": "allow", "list": "allow"});
    for (service, resources) in &group.full {
        for resource in resources {
            match level {
                "admin" => put(service, resource, json!("allow")),
                "editor" => {
                    put(service, resource, edit(editor, &[]));
                    // A rule for one resource hides the general one entirely, so it repeats it.
                    for (s, special) in editor.resources.iter().filter(|(s, _)| service == "*" || *s == service) {
                        for (r, actions) in special.iter().filter(|(r, _)| resource == "*" || *r == resource) {
                            put(s, r, edit(editor, actions));
                        }
                    }
                }
                _ => put(service, resource, read()),
            }
        }
    }
    for (service, resources) in &group.read {
        resources.iter().for_each(|resource| put(service, resource, read()));
    }
    json!({"policy": services})
}

fn edit(editor: &Editor, actions: &[String]) -> Json {
    let deny = |word: &String| (word.clone(), json!("deny"));
    let mut perform = Map::from_iter([("*".to_string(), json!("allow"))]);
    perform.extend(editor.deny_perform.iter().chain(actions).map(deny));
    let mut rights = Map::from_iter([("*".to_string(), json!("allow")), ("perform".to_string(), Json::Object(perform))]);
    rights.extend(editor.deny.iter().map(deny));
    Json::Object(rights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Policy, excess};
    use std::collections::HashSet;

    fn policy(name: &str) -> (Scope, Policy) {
        let found = policies().iter().find(|p| p.name == name).unwrap_or_else(|| panic!("no policy {name}"));
        (found.scope, Policy::parse(name, &found.blob).unwrap())
    }

    #[test]
    fn all_compile_and_names_are_unique() {
        let mut names = HashSet::new();
        for p in policies() {
            Policy::parse(&p.name, &p.blob).unwrap();
            assert!(names.insert(&p.name), "{} twice", p.name);
        }
        // 11 project, 9 domain and 2 system groups by scope and level, dashboard, log, and 7 predefined ones.
        assert_eq!(policies().len(), 11 * 9 + 9 * 6 + 2 * 3 + 3 + 1 + 7);
        for role in roles() {
            for name in &role.policies {
                assert!(names.contains(name), "role {} names {name}", role.name);
            }
        }
        assert_eq!(roles().len(), 17);
    }

    #[test]
    fn names_and_scopes_follow_the_rule() {
        for (name, scope) in [
            ("sysadmin", Scope::System),
            ("domain-admin", Scope::Domain),
            ("project-admin", Scope::Project),
            ("sys-editor", Scope::System),
            ("project-viewer", Scope::Project),
            ("sys-dashboard", Scope::System),
            ("project-dashboard", Scope::Project),
            ("domain-host-editor", Scope::Domain),
            ("notify-admin", Scope::System),
            ("log-viewer", Scope::System),
            ("domain-opsadmin", Scope::Domain),
            ("normal-user", Scope::Project),
        ] {
            assert_eq!(policy(name).0, scope, "{name}");
        }
        for name in ["project-host-admin", "sys-notify-admin", "log-admin", "sys-dashboard-viewer"] {
            assert!(policies().iter().all(|p| p.name != name), "{name}");
        }
    }

    #[test]
    fn rights() {
        let check = |name: &str, request: &str, want: bool| {
            let parts: Vec<&str> = request.split('/').collect();
            assert_eq!(policy(name).1.allows(parts[0], parts[1], parts[2], &parts[3..]), want, "{name} {request}");
        };
        check("sysadmin", "anything/at/all", true);
        check("project-viewer", "compute/servers/list", true);
        check("project-viewer", "compute/servers/get/vnc", true);
        check("project-viewer", "compute/servers/perform/start", false);
        check("project-editor", "compute/servers/perform/start", true);
        check("project-editor", "compute/servers/update", true);
        check("project-editor", "compute/servers/create", false);
        check("project-editor", "compute/servers/perform/purge", false);
        check("project-editor", "compute/servers/perform/save-image", false);
        check("project-editor", "compute/disks/perform/save-image", true);
        check("project-editor", "compute/disks/delete", false);
        check("project-editor", "compute/buckets/perform/upload", false);
        check("project-editor", "k8s/kubeclusters/perform/add-machines", false);
        check("project-editor", "k8s/kubeclusters/create", false);
        check("project-server-admin", "compute/servers/create", true);
        check("project-server-admin", "compute/isolated_devices/list", true);
        check("project-server-admin", "compute/isolated_devices/delete", false);
        check("project-server-admin", "compute/hosts/list", false);
        check("project-dashboard", "compute/capabilities/list", true);
        check("project-dashboard", "compute/capabilities/create", false);
        check("log-viewer", "log/actions/list", true);
        check("log-viewer", "log/actions/create", false);
        check("sys-opsadmin", "compute/servers/delete", true);
        check("sys-opsadmin", "compute/servers/perform/change-owner", false);
        check("sys-opsadmin", "compute/servers/list", true);
        check("sys-opsadmin", "compute/servers/list/pending_delete", false);
        check("sys-opsadmin", "compute/secgroups/list", true);
        check("sys-opsadmin", "compute/secgroups/perform/add-rules", false);
        check("sys-opsadmin", "identity/users/list", true);
        check("sys-opsadmin", "identity/users/create", false);
        check("sys-opsadmin", "identity/users/perform/join", false);
        check("sys-opsadmin", "identity/events/list", false);
        check("sys-opsadmin", "compute/events/list", false);
        check("sys-opsadmin", "log/actions/list", false);
        check("sys-secadmin", "identity/users/create", true);
        check("sys-secadmin", "compute/secgroups/create", true);
        check("sys-secadmin", "compute/servers/list/pending_delete", true);
        check("sys-secadmin", "compute/servers/perform/cancel-delete", true);
        check("sys-secadmin", "compute/servers/perform/start", false);
        check("sys-secadmin", "compute/servers/delete", false);
        check("sys-secadmin", "identity/events/list", false);
        check("sys-adtadmin", "compute/events/list", true);
        check("sys-adtadmin", "log/actions/list", true);
        check("sys-adtadmin", "compute/servers/list", false);
        check("normal-user", "compute/servers/perform/start", true);
        check("normal-user", "compute/servers/perform/change-config", false);
        check("normal-user", "compute/servers/delete", false);
        check("normal-user", "image/images/list", true);
        check("normal-user", "image/images/create", false);
    }

    #[test]
    fn levels_are_ordered() {
        for p in policies().iter().filter(|p| p.name.ends_with("-editor")) {
            let stem = p.name.trim_end_matches("-editor");
            let admin = if stem == "sys" { "sysadmin".to_string() } else { format!("{stem}-admin") };
            let editor = policy(&p.name).1;
            assert_eq!(excess(&policy(&format!("{stem}-viewer")).1, &[&editor]), None, "{stem}");
            assert_eq!(excess(&editor, &[&policy(&admin).1]), None, "{stem}");
        }
    }
}
