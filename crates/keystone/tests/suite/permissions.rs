//! Who may what: guests, members, owners, administrators of a domain; and nobody more than he was given.

use crate::kit::{Cloud, cloud, names};
use serde_json::{Value as Json, json};

struct Town {
    cloud: Cloud,
    admin: String,
    acme: String,
    /// Administrator of the domain acme.
    boss: String,
}

/// A domain of its own with an administrator, a project and an owner of that.
async fn town() -> Town {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let acme = cloud.make(&admin, "domain", json!({"name": "acme"})).await;
    let hq = cloud.make(&admin, "project", json!({"name": "hq", "domain_id": acme})).await;
    for (name, role) in [("boss", "domainadmin"), ("owner", "project_owner"), ("viewer", "project_viewer")] {
        let user = cloud.make(&admin, "user", json!({"name": name, "password": format!("{name}@Pass1"), "domain_id": acme})).await;
        cloud.put(&admin, &format!("/v3/projects/{hq}/users/{user}/roles/{role}"), json!({})).await.ok();
    }
    let mut town = Town { cloud, admin, acme, boss: String::new() };
    town.boss = town.login("boss", "hq").await;
    town
}

impl Town {
    async fn login(&self, user: &str, project: &str) -> String {
        let auth = json!({"auth": {"identity": {"methods": ["password"], "password": {"user":
            {"name": user, "password": format!("{user}@Pass1"), "domain": {"name": "acme"}}}}, "scope": {"project": {"name": project, "domain": {"name": "acme"}}}}});
        let answer = self.cloud.send("POST", "/v3/auth/tokens", None, None, Some(auth)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.subject.expect("a token")
    }

    async fn forbidden(&self, token: &str, method: &str, path: &str, body: Json) {
        let answer = self.cloud.send(method, path, Some(token), None, Some(body.clone())).await;
        assert_eq!(answer.refusal(), (403, "ForbiddenError"), "{method} {path} {body}: {}", answer.body);
    }
}

pub async fn guests() {
    let cloud = cloud().await;
    for path in ["/v3/users", "/v3/projects/system", "/v3/services", "/v3/endpoints", "/v3/credentials"] {
        for token in [None, Some("rubbish")] {
            assert_eq!(cloud.send("GET", path, token, None, None).await.refusal(), (403, "ForbiddenError"), "{path}");
        }
    }
    for path in ["/v3/usages", "/v3/auth/catalog", "/v3/auth/revocations", "/v3/auth/bindings", "/v3/auth/changes?after=-1"] {
        assert_eq!(cloud.send("GET", path, None, None, None).await.status, 401, "{path}");
    }
    assert_eq!(cloud.send("GET", "/v3/auth/policies", None, None, None).await.ok(), json!({"names": {}, "policies": {}}));
    for path in ["/", "/v3", "/v3/", "/v3/version", "/v3/auth/keys", "/ping"] {
        assert_eq!(cloud.send("GET", path, None, None, None).await.status, 200, "{path}");
    }
    let document = cloud.send("GET", "/v3", None, None, None).await.ok();
    assert_eq!(document["version"]["id"], "v3.14");
    assert!(document["version"]["links"][0]["href"].as_str().is_some_and(|l| l.ends_with("/v3/")), "{document}");
}

pub async fn an_administrator_of_a_domain_stays_in_it() {
    let t = town().await;
    let (cloud, boss) = (&t.cloud, &t.boss);
    assert_eq!(names(&cloud.get(boss, "/v3/domains").await.ok(), "domains"), ["acme"]);
    assert_eq!(names(&cloud.get(boss, "/v3/projects").await.ok(), "projects"), ["hq"]);
    assert_eq!(names(&cloud.get(boss, "/v3/users").await.ok(), "users"), ["boss", "owner", "viewer"]);
    for path in ["/v3/projects/system", "/v3/users/sysadmin", "/v3/domains/default", "/v3/roles/admin"] {
        assert_eq!(cloud.get(boss, path).await.refusal(), (404, "ResourceNotFoundError"), "{path}");
    }
    for path in ["/v3/users?scope=system", "/v3/projects?admin=true"] {
        assert_eq!(cloud.get(boss, path).await.status, 403, "{path}");
    }
    let made = cloud.make(boss, "user", json!({"name": "new", "password": "new@Pass1"})).await;
    assert_eq!(cloud.get(boss, &format!("/v3/users/{made}")).await.ok()["user"]["domain_id"], json!(t.acme));
    cloud.make(boss, "project", json!({"name": "lab"})).await;
    cloud.put(boss, "/v3/projects/lab/users/new/roles/project_owner", json!({})).await.ok();
    t.forbidden(boss, "POST", "/v3/users", json!({"user": {"name": "x", "domain_id": "default"}})).await;
    t.forbidden(boss, "POST", "/v3/users", json!({"user": {"name": "x", "is_system_account": true}})).await;
    t.forbidden(boss, "PUT", "/v3/users/new", json!({"user": {"is_system_account": true}})).await;
    t.forbidden(boss, "POST", "/v3/domains", json!({"domain": {"name": "x"}})).await;
    t.forbidden(boss, "POST", "/v3/services", json!({"service": {"name": "x", "type": "x"}})).await;
    t.forbidden(boss, "PUT", &format!("/v3/domains/{}", t.acme), json!({"domain": {"enabled": false}})).await;
    t.forbidden(boss, "GET", "/v3/services/common/config?sensitive=true", Json::Null).await;
    let usage = cloud.get(boss, "/v3/usages").await.ok();
    assert_eq!((&usage["usage"]["users"], &usage["usage"]["domains"]), (&json!(4), &json!(1)));
    assert_eq!(cloud.get(boss, "/v3/usages?scope=system").await.status, 403);
}

pub async fn nobody_hands_out_more_than_he_holds() {
    let t = town().await;
    let (cloud, boss) = (&t.cloud, &t.boss);
    let owner = t.login("owner", "hq").await;
    let all = json!({"policy": {"*": "allow"}});
    // The owner of a project cannot become the administrator of its domain.
    t.forbidden(&owner, "PUT", "/v3/projects/hq/users/owner/roles/domainadmin", json!({})).await;
    t.forbidden(&owner, "POST", "/v3/projects/hq/join", json!({"project": {"users": ["owner"], "roles": ["sys_opsadmin"]}})).await;
    cloud.put(&owner, "/v3/projects/hq/users/viewer/roles/project_editor", json!({})).await.ok();
    t.forbidden(&owner, "DELETE", "/v3/projects/hq/users/boss/roles/domainadmin", json!({})).await;
    // The administrator of a domain cannot write, bind or give what reaches beyond it.
    t.forbidden(boss, "POST", "/v3/policies", json!({"policy": {"name": "mine", "scope": "system", "blob": all}})).await;
    cloud.make(boss, "policy", json!({"name": "mine", "scope": "domain", "blob": all})).await;
    t.forbidden(boss, "PUT", "/v3/policies/mine", json!({"policy": {"scope": "system"}})).await;
    cloud.make(boss, "role", json!({"name": "chief"})).await;
    cloud.post(boss, "/v3/roles/chief/add-policy", json!({"role": {"policy_id": "mine"}})).await.ok();
    t.forbidden(boss, "POST", "/v3/roles/chief/add-policy", json!({"role": {"policy_id": "sysadmin"}})).await;
    t.forbidden(boss, "POST", "/v3/roles/chief/set-policies", json!({"role": {"policies": [{"policy_id": "sys-viewer"}]}})).await;
    t.forbidden(boss, "POST", "/v3/policies/mine/bind-role", json!({"policy": {"role_id": "chief", "auth": false}})).await;
    t.forbidden(boss, "PUT", "/v3/projects/hq/users/boss/roles/sys_secadmin", json!({})).await;
    // Public roles of the platform are not his to change.
    t.forbidden(boss, "POST", "/v3/roles/project_viewer/add-policy", json!({"role": {"policy_id": "mine"}})).await;
    t.forbidden(boss, "POST", "/v3/roles/project_viewer/private", json!({})).await;

    // Nor those of whoever administers the domain they happen to be in.
    cloud.make(&t.admin, "user", json!({"name": "warden", "password": "warden@Pass1"})).await;
    cloud.make(&t.admin, "project", json!({"name": "yard"})).await;
    cloud.put(&t.admin, "/v3/projects/yard/users/warden/roles/domainadmin", json!({})).await.ok();
    let warden = cloud.token("warden", "warden@Pass1", Some("yard")).await;
    cloud.make(&warden, "policy", json!({"name": "wide", "scope": "domain", "blob": all})).await;
    t.forbidden(&warden, "POST", "/v3/roles/project_viewer/add-policy", json!({"role": {"policy_id": "wide"}})).await;
    t.forbidden(&warden, "POST", "/v3/roles/project_viewer/remove-policy", json!({"role": {"policy_id": "project-viewer"}})).await;
    t.forbidden(&warden, "POST", "/v3/policies/wide/bind-role", json!({"policy": {"role_id": "project_viewer"}})).await;
    t.forbidden(&warden, "POST", "/v3/roles/project_viewer/private", json!({})).await;
    t.forbidden(&warden, "DELETE", "/v3/roles/normal_user", json!({})).await;
    t.forbidden(&warden, "PUT", "/v3/projects/system/users/warden/roles/admin", json!({})).await;
    t.forbidden(&warden, "DELETE", "/v3/projects/system/users/regionadmin/roles/admin", json!({})).await;
    t.forbidden(&warden, "PUT", "/v3/users/sysadmin", json!({"user": {"password": "Stolen@Pass1"}})).await;

    // Whoever administers the platform is administered by the platform only, whatever domain he is in.
    let mighty = cloud.make(&t.admin, "user", json!({"name": "mighty", "password": "mighty@Pass1", "domain_id": t.acme})).await;
    cloud.put(boss, "/v3/users/mighty", json!({"user": {"displayname": "M"}})).await.ok();
    cloud.put(&t.admin, &format!("/v3/projects/system/users/{mighty}/roles/admin"), json!({})).await.ok();
    t.forbidden(boss, "PUT", "/v3/users/mighty", json!({"user": {"password": "Stolen@Pass1"}})).await;
    t.forbidden(boss, "POST", "/v3/users/mighty/disable", json!({})).await;
    t.forbidden(boss, "DELETE", "/v3/users/mighty", json!({})).await;
    // The same through a group that holds the role.
    let group = cloud.make(&t.admin, "group", json!({"name": "lords", "domain_id": t.acme})).await;
    cloud.put(boss, "/v3/groups/lords/users/viewer", json!({})).await.ok();
    cloud.put(&t.admin, &format!("/v3/projects/system/groups/{group}/roles/admin"), json!({})).await.ok();
    t.forbidden(boss, "PUT", "/v3/groups/lords/users/boss", json!({})).await;
    t.forbidden(boss, "POST", "/v3/groups/lords/add-users", json!({"group": {"user_ids": ["boss"]}})).await;
    t.forbidden(boss, "PUT", "/v3/users/viewer", json!({"user": {"password": "Stolen@Pass1"}})).await;
}

pub async fn members_of_a_project() {
    let t = town().await;
    let cloud = &t.cloud;
    cloud.make(&t.boss, "project", json!({"name": "lab"})).await;
    let (viewer, owner) = (t.login("viewer", "hq").await, t.login("owner", "hq").await);
    for token in [&viewer, &owner] {
        assert_eq!(names(&cloud.get(token, "/v3/projects").await.ok(), "projects"), ["hq"]);
        assert_eq!(names(&cloud.get(token, "/v3/users").await.ok(), "users"), ["boss", "owner", "viewer"]);
        assert_eq!(names(&cloud.get(token, "/v3/domains").await.ok(), "domains"), ["acme"]);
        assert_eq!(cloud.get(token, "/v3/projects/lab").await.status, 404);
        t.forbidden(token, "POST", "/v3/projects", json!({"project": {"name": "x"}})).await;
        t.forbidden(token, "POST", "/v3/users", json!({"user": {"name": "x"}})).await;
        t.forbidden(token, "DELETE", "/v3/users/boss", json!({})).await;
        t.forbidden(token, "PUT", "/v3/users/boss", json!({"user": {"password": "Stolen@Pass1"}})).await;
    }
    t.forbidden(&viewer, "PUT", "/v3/projects/hq", json!({"project": {"description": "x"}})).await;
    t.forbidden(&viewer, "PUT", "/v3/projects/hq/users/viewer/roles/project_owner", json!({})).await;
    cloud.put(&owner, "/v3/projects/hq", json!({"project": {"description": "x"}})).await.ok();
    let names_of = cloud.get(&viewer, "/v3/auth/policies").await.ok();
    assert_eq!(names_of["names"], json!({"project": ["project-dashboard", "project-viewer"]}));
    assert!(names_of["policies"]["project"][0].get("policy").is_none(), "the service map itself");
}

pub async fn users_about_themselves() {
    let t = town().await;
    let cloud = &t.cloud;
    cloud.make(&t.boss, "project", json!({"name": "lab"})).await;
    cloud.put(&t.boss, "/v3/projects/lab/users/viewer/roles/project_viewer", json!({})).await.ok();
    let viewer = t.login("viewer", "hq").await;
    assert_eq!(cloud.get(&viewer, "/v3/users/viewer").await.ok()["user"]["name"], "viewer");
    assert_eq!(names(&cloud.get(&viewer, "/v3/users/viewer/projects").await.ok(), "projects"), ["hq", "lab"], "whatever project he is in");
    assert_eq!(names(&cloud.get(&viewer, "/v3/auth/projects").await.ok(), "projects"), ["hq", "lab"]);
    assert_eq!(names(&cloud.get(&viewer, "/v3/projects?scope=user").await.ok(), "projects"), ["hq", "lab"]);
    cloud.put(&viewer, "/v3/users/viewer", json!({"user": {"displayname": "V", "email": "v@example.com"}})).await.ok();
    for change in [
        json!({"enabled": false}),
        json!({"allow_web_console": false}),
        json!({"expired_at": "2099-01-01"}),
        json!({"name": "x"}),
        json!({"enable_mfa": false, "is_system_account": true}),
    ] {
        t.forbidden(&viewer, "PUT", "/v3/users/viewer", json!({"user": change})).await;
    }
    t.forbidden(&viewer, "POST", "/v3/users/viewer/join", json!({"user": {"projects": ["hq"], "roles": ["project_owner"]}})).await;
    t.forbidden(&viewer, "DELETE", "/v3/users/viewer", json!({})).await;
    cloud.put(&viewer, "/v3/users/viewer", json!({"user": {"password": "Another@Pass2"}})).await.ok();
}

pub async fn a_policy_works_from_the_next_request_on() {
    let t = town().await;
    let cloud = &t.cloud;
    let viewer = t.login("viewer", "hq").await;
    t.forbidden(&viewer, "PUT", "/v3/projects/hq", json!({"project": {"description": "x"}})).await;
    let blob = json!({"policy": {"identity": {"projects": {"update": "allow"}}}});
    cloud.make(&t.admin, "policy", json!({"name": "writer", "scope": "project", "blob": blob})).await;
    let bind = |ips: Json| json!({"role": {"policy_id": "writer", "ips": ips}});
    cloud.post(&t.admin, "/v3/roles/project_viewer/add-policy", bind(json!(["10.0.0.0/8"]))).await.ok();
    t.forbidden(&viewer, "PUT", "/v3/projects/hq", json!({"project": {"description": "x"}})).await;
    cloud.post(&t.admin, "/v3/roles/project_viewer/add-policy", bind(json!(["127.0.0.0/8"]))).await.ok();
    cloud.put(&viewer, "/v3/projects/hq", json!({"project": {"description": "x"}})).await.ok();
    cloud.post(&t.admin, "/v3/policies/writer/disable", json!({})).await.ok();
    t.forbidden(&viewer, "PUT", "/v3/projects/hq", json!({"project": {"description": "y"}})).await;

    // A service asks what somebody may do, without his token.
    let user = cloud.get(&t.boss, "/v3/users/viewer").await.ok()["user"]["id"].clone();
    let project = cloud.get(&t.boss, "/v3/projects/hq").await.ok()["project"]["id"].clone();
    let service = cloud.token("regionadmin", crate::kit::SERVICE_PASSWORD, Some("system")).await;
    let asked = json!({"user_id": user, "project_id": project, "login_ip": "10.1.1.1"});
    let told = cloud.post(&service, "/v3/auth/policies", asked.clone()).await.ok();
    assert_eq!(told["names"], json!({"project": ["project-dashboard", "project-viewer"]}));
    assert_eq!(cloud.post(&viewer, "/v3/auth/policies", asked).await.refusal(), (403, "ForbiddenError"));
}

/// The widest list a caller may have is never narrower than the one he gets without asking for it.
pub async fn the_widest_list_is_the_widest() {
    let town = town().await;
    let kinds = ["domains", "projects", "users", "groups", "roles", "policies", "services", "endpoints", "regions", "credentials"];
    let callers = [
        ("admin", town.admin.clone()),
        ("boss", town.boss.clone()),
        ("owner", town.login("owner", "hq").await),
        ("viewer", town.login("viewer", "hq").await),
    ];
    let list = async |token: &str, kind: &str, query: &str| {
        let answer = town.cloud.get(token, &format!("/v3/{kind}?limit=0&{query}")).await;
        let ids =
            answer.body[kind].as_array().map(|all| all.iter().map(|r| r["id"].to_string()).collect::<std::collections::BTreeSet<_>>());
        (answer.status, ids.unwrap_or_default())
    };
    for (who, token) in &callers {
        for kind in kinds {
            let (status, usual) = list(token, kind, "").await;
            let (max, widest) = list(token, kind, "scope=max").await;
            assert_eq!(max, status, "{who} {kind}");
            assert!(widest.is_superset(&usual), "{who} {kind}: {} of {}", widest.len(), usual.len());
            // Asking for each scope by its name gets no more.
            for scope in ["user", "project", "domain", "system"] {
                let (status, named) = list(token, kind, &format!("scope={scope}")).await;
                assert!(status == 403 || named.is_subset(&widest), "{who} {kind} {scope}: {} of {}", named.len(), widest.len());
            }
        }
    }
    let (_, all) = list(&town.admin, "policies", "scope=max").await;
    assert_eq!(all, list(&town.admin, "policies", "scope=system").await.1);
    assert!(all.len() > 30, "{}", all.len());
}
