//! A walk over every path of the service, without a token and with each of the ordinary roles; each answer must be what the explainer says.

use crate::{
    kit::{Cloud, cloud, password_login},
    matrix::{document, permissions},
};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

const ROLES: [&str; 9] = [
    "admin",
    "domainadmin",
    "project_owner",
    "project_editor",
    "project_viewer",
    "sys_opsadmin",
    "sys_secadmin",
    "sys_adtadmin",
    "normal_user",
];

struct Walk {
    cloud: Cloud,
    admin: String,
    acme: String,
    /// The object that requests are about, by resource; made anew when one of them changed it.
    objects: BTreeMap<String, String>,
    made: usize,
}

impl Walk {
    /// Something nobody needs.
    async fn object(&mut self, resource: &str) -> Option<String> {
        if let Some(id) = self.objects.get(resource) {
            return Some(id.clone());
        }
        self.made += 1;
        let name = format!("walk{}", self.made);
        let owned = json!({"name": name, "domain_id": self.acme});
        let body = match resource {
            "domains" => json!({"name": name, "enabled": false}),
            "projects" | "users" | "groups" | "roles" => owned,
            "policies" => {
                json!({"name": name, "domain_id": self.acme, "scope": "project", "enabled": false, "blob": {"policy": {"x": "deny"}}})
            }
            "services" => json!({"name": name, "type": name, "enabled": false}),
            "regions" => json!({"id": name}),
            "application_credentials" => json!({"name": name}),
            "credentials" => json!({"name": name, "type": "container_secret", "blob": "{}"}),
            "endpoints" => {
                let service = self.cloud.get(&self.admin, "/v3/services/keystone").await.ok()["service"]["id"].clone();
                json!({"interface": "console", "service_id": service, "url": "http://127.0.0.1/x", "region_id": "region0", "name": name, "enabled": false})
            }
            _ => {
                let list = self.cloud.get(&self.admin, &format!("/v3/{resource}?scope=system&limit=1")).await.ok();
                let row = list[resource].as_array().and_then(|r| r.first())?;
                let id = row["id"].as_str().map_or_else(|| row["id"].to_string(), str::to_string);
                self.objects.insert(resource.to_string(), id.clone());
                return Some(id);
            }
        };
        let kind = self.cloud.keystone.engine.kind(resource).expect("a kind").facts.name;
        let made = self.cloud.post(&self.admin, &format!("/v3/{resource}"), json!({ kind: body })).await;
        assert!(made.status < 300, "{resource}: {}", made.body);
        let id = made.body[kind]["id"].as_str().expect("an id").to_string();
        self.objects.insert(resource.to_string(), id.clone());
        Some(id)
    }

    async fn can(&self, user: &str, project: &str, permission: &str, on: Option<&str>, owner_domain: Option<&str>) -> Json {
        let mut question = json!({"user": user, "project": project, "permission": permission});
        if let Some(on) = on {
            question["on"] = json!(on);
        }
        if let Some(domain) = owner_domain {
            question["owner_domain"] = json!(domain);
        }
        self.cloud.post(&self.admin, "/v3/access/can", question).await.ok()["access"].take()
    }
}

/// A request: method, path, body.
fn request(resource: &str, kind: &str, words: &[String], id: &str) -> (&'static str, String, Option<Json>) {
    let (action, extra) = (words[0].as_str(), words.get(1));
    let path = format!("/v3/{resource}");
    let body = Some(json!({ kind: {} }));
    match (action, extra) {
        ("list", _) => ("GET", path, None),
        ("create", _) => ("POST", path, body),
        ("get", None) => ("GET", format!("{path}/{id}"), None),
        ("get", Some(word)) => ("GET", format!("{path}/{id}/{word}"), None),
        ("update", _) => ("PUT", format!("{path}/{id}"), body),
        ("delete", _) => ("DELETE", format!("{path}/{id}"), None),
        (_, word) => ("POST", format!("{path}/{id}/{}", word.map_or("", String::as_str)), body),
    }
}

/// Rules beyond the policies, which narrow what these allow: sharing with everybody, which is the default of the request, takes the whole platform;
/// what it changes is looked at as well (who may make powers usable, whose passwords); the one identity provider there is came with the platform and stays as it is.
fn narrower(resource: &str, words: &[String]) -> bool {
    let word = words.get(1).map_or("", String::as_str);
    matches!((resource, word), (_, "public" | "status") | ("policies" | "roles" | "identity_providers", _) | ("services", "config"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_as_the_explainer_says() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let acme = cloud.make(&admin, "domain", json!({"name": "acme"})).await;
    cloud.make(&admin, "project", json!({"name": "hq", "domain_id": acme})).await;
    let mut actors = Vec::new();
    for role in ROLES {
        let (project, domain) = if role == "admin" { ("system", "default") } else { ("hq", acme.as_str()) };
        let name = format!("u_{role}");
        let user = cloud.make(&admin, "user", json!({"name": name, "password": "Walker@Pass1", "domain_id": domain})).await;
        let project =
            cloud.get(&admin, &format!("/v3/projects/{project}")).await.ok()["project"]["id"].as_str().expect("an id").to_string();
        cloud.put(&admin, &format!("/v3/projects/{project}/users/{user}/roles/{role}"), json!({})).await.ok();
        let mut login = password_login(&name, "Walker@Pass1", None);
        login["auth"]["identity"]["password"]["user"] = json!({"id": user, "password": "Walker@Pass1"});
        login["auth"]["scope"] = json!({"project": {"id": project}});
        let token = cloud.send("POST", "/v3/auth/tokens", None, None, Some(login)).await;
        actors.push((role, user, project, domain.to_string(), token.subject.expect("a token")));
    }
    let mut walk = Walk { cloud, admin, acme, objects: BTreeMap::new(), made: 0 };
    let (mut asked, mut wrong) = (0, Vec::new());
    for (resource, all) in permissions(&document("identity")) {
        let kind = walk.cloud.keystone.engine.kind(&resource).expect("a kind of the document").facts;
        for words in all {
            let permission = format!("identity/{resource}/{}", words.join("/"));
            let about_row = !matches!(words[0].as_str(), "list" | "create");
            for token in [None, Some("rubbish")] {
                let id = walk.object(&resource).await.unwrap_or_else(|| "none".to_string());
                let (method, path, body) = request(&resource, kind.name, &words, &id);
                let refused = walk.cloud.send(method, &path, token, None, body).await;
                // A guest is decided by policy, as clients of such platforms expect (spec 01 §8.4); some paths are for accounts only.
                assert!(
                    matches!(refused.refusal(), (403, "ForbiddenError") | (401, "UnauthorizedError")),
                    "{method} {path} without a token: {} {}",
                    refused.status,
                    refused.body
                );
            }
            for (role, user, project, domain, token) in &actors {
                let Some(id) = walk.object(&resource).await else { continue };
                let (method, path, body) = request(&resource, kind.name, &words, &id);
                let on = about_row.then_some(id.as_str());
                let told = walk.can(user, project, &permission, on, None).await;
                let look = walk.can(user, project, &format!("identity/{resource}/get"), on, None).await;
                let answer = walk.cloud.send(method, &path, Some(token), None, body).await;
                let allowed = told["allowed"] == true;
                let want: &str = if about_row && look["allowed"] != true {
                    if look["scope"] == "none" { "403" } else { "404" }
                } else if !allowed {
                    "403"
                } else if narrower(&resource, &words) {
                    "done or narrower"
                } else {
                    "done"
                };
                let fits = match want {
                    "done" => !matches!(answer.status, 401 | 403) && (answer.status != 404 || !about_row),
                    "done or narrower" => answer.status != 401,
                    code => answer.status.to_string() == code,
                };
                if !fits {
                    wrong.push(format!(
                        "{role} ({domain}) {method} {path} [{permission}]: {} instead of {want}: {} | {told}",
                        answer.status, answer.body["details"]
                    ));
                }
                asked += 1;
                if method != "GET" && answer.status < 300 {
                    walk.objects.remove(&resource);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 900, "{asked}");

    // The paths that are no resource's.
    for (method, path) in [
        ("GET", "/v3/usages"),
        ("GET", "/v3/role_assignments"),
        ("GET", "/v3/auth/tokens"),
        ("DELETE", "/v3/auth/tokens"),
        ("GET", "/v3/auth/tokens/invalid"),
        ("POST", "/v3/auth/policies"),
        ("GET", "/v3/auth/catalog"),
        ("GET", "/v3/auth/projects"),
        ("GET", "/v3/auth/revocations"),
        ("GET", "/v3/auth/bindings"),
        ("GET", "/v3/auth/changes"),
        ("POST", "/v3/access/can"),
        ("POST", "/v3/access/who-can"),
        ("GET", "/v3/projects/system/users"),
        ("GET", "/v3/users/sysadmin/projects"),
        ("PUT", "/v3/projects/system/users/sysadmin/roles/admin"),
        ("PUT", "/v3/groups/x/users/sysadmin"),
    ] {
        let refused = walk.cloud.send(method, path, None, None, Some(json!({}))).await;
        assert!(matches!(refused.status, 401 | 403 | 404), "{method} {path} without a token: {} {}", refused.status, refused.body);
    }
}
