//! What keeps a project or domain from going, and how many of each kind a domain may have.

use crate::kit::{Cloud, cloud, cloud_with, config};
use base::Clock;
use http::{App, Client, ClientOptions, Response, Router, Server, Serving};
use keystone::ServiceEntry;
use serde_json::{Value as Json, json};
use std::sync::{Arc, Mutex};

/// A service that says what it keeps.
struct Keeper {
    url: String,
    says: Arc<Mutex<Json>>,
    serving: Serving,
}

async fn keeper() -> Keeper {
    let says = Arc::new(Mutex::new(json!({})));
    let told = says.clone();
    let answer = move |request: http::Request| {
        let told = told.clone();
        async move {
            assert!(request.header("x-auth-token").is_some_and(|t| t.contains('.')), "it is asked with a token");
            Ok(Response::json(&told.lock().expect("not poisoned").clone()))
        }
    };
    let router = Router::new().get("/scope-resources", answer);
    let mut server = Server::new(App::new(telemetry::Metrics::default()).mount("/", "keeper", router));
    let address = server.bind("127.0.0.1:0", None).await.expect("a port");
    Keeper { url: format!("http://{address}"), says, serving: server.start() }
}

pub async fn what_keeps_a_project_or_domain() {
    let keeper = keeper().await;
    let entry =
        ServiceEntry { name: "region2".into(), r#type: "compute_v2".into(), public_url: keeper.url.clone(), ..ServiceEntry::default() };
    // A console's gateway is in the catalogue too, and has a page for everything.
    let page = Router::new().get("/scope-resources", |_| async { Ok(Response::text("<!doctype html>")) });
    let mut pages = Server::new(App::new(telemetry::Metrics::default()).mount("/", "pages", page));
    let address = pages.bind("127.0.0.1:0", None).await.expect("a port");
    let _pages = pages.start();
    let console = ServiceEntry {
        name: "apigateway".into(),
        r#type: "yunionapi".into(),
        public_url: format!("http://{address}"),
        ..ServiceEntry::default()
    };
    let cloud = cloud_with(keystone::Config { services: vec![entry, console], ..config() }, Clock::real()).await;
    let process = service::Process::new(&telemetry::Metrics::default(), std::time::Duration::from_secs(5));
    cloud.keystone.count_resources(Client::new(ClientOptions { retries: 0, ..ClientOptions::default() }).expect("a client"), &process);
    let admin = cloud.admin().await;
    let acme = cloud.make(&admin, "domain", json!({"name": "acme"})).await;
    let demo = cloud.make(&admin, "project", json!({"name": "demo", "domain_id": acme})).await;
    *keeper.says.lock().expect("not poisoned") = json!({
        "servers": [{"tenant_id": demo, "domain_id": acme, "res_count": 2}, {"tenant_id": "other", "domain_id": "default", "res_count": 7}],
        "disks": [{"tenant_id": demo, "domain_id": acme, "res_count": 3}], "vpcs": [{"domain_id": acme, "res_count": 1}]});
    let user = cloud.make(&admin, "user", json!({"name": "ann", "domain_id": acme})).await;
    cloud.put(&admin, &format!("/v3/projects/{demo}/users/{user}/roles/project_viewer"), json!({})).await.ok();

    let kept = cloud.delete(&admin, &format!("/v3/projects/{demo}")).await;
    assert_eq!(kept.refusal(), (406, "NotEmptyError"), "{}", kept.body);
    assert_eq!(kept.body["details"], "the project demo still has 3 disks, 2 servers, 1 users; move them or delete them first");
    let seen = cloud.get(&admin, &format!("/v3/projects/{demo}")).await.ok();
    assert_eq!(seen["project"]["ext_resource"], json!({"disks": 3, "servers": 2}));
    assert_eq!(seen["project"]["can_delete"], false);
    cloud.put(&admin, &format!("/v3/domains/{acme}"), json!({"domain": {"enabled": false}})).await.ok();
    let kept = cloud.delete(&admin, &format!("/v3/domains/{acme}")).await;
    assert_eq!(kept.refusal(), (406, "NotEmptyError"));
    assert_eq!(kept.body["details"], "the domain acme still has 3 disks, 1 projects, 2 servers, 1 users, 1 vpcs; delete them first");

    // What is gone there is no longer in the way here, at once.
    *keeper.says.lock().expect("not poisoned") = json!({});
    cloud.delete(&admin, &format!("/v3/users/{user}")).await.ok();
    // A service that says nothing leaves nobody the wiser.
    let Keeper { serving, .. } = keeper;
    drop(serving);
    let unknown = cloud.delete(&admin, &format!("/v3/projects/{demo}")).await;
    assert_eq!(unknown.refusal(), (499, "ServiceAbnormal"), "{}", unknown.body);
    assert_eq!(cloud.post(&admin, "/v3/scope-resource/refresh", json!({})).await.ok()["scope-resource"]["silent"], json!(["region2"]));
    let endpoints = cloud.get(&admin, "/v3/endpoints?limit=100").await.ok();
    for endpoint in endpoints["endpoints"].as_array().expect("a list").iter().filter(|e| e["service_type"] == "compute_v2") {
        let path = format!("/v3/endpoints/{}", endpoint["id"].as_str().expect("an id"));
        cloud.put(&admin, &path, json!({"endpoint": {"enabled": false}})).await.ok();
    }
    cloud.delete(&admin, &format!("/v3/projects/{demo}")).await.ok();
    cloud.delete(&admin, &format!("/v3/domains/{acme}")).await.ok();
    process.stop();
}

async fn boss_of_acme(cloud: &Cloud, admin: &str) -> (String, String) {
    let acme = cloud.make(admin, "domain", json!({"name": "acme"})).await;
    let hq = cloud.make(admin, "project", json!({"name": "hq", "domain_id": acme})).await;
    let boss = cloud.make(admin, "user", json!({"name": "boss", "password": "boss@Pass1", "domain_id": acme})).await;
    cloud.put(admin, &format!("/v3/projects/{hq}/users/{boss}/roles/domainadmin"), json!({})).await.ok();
    let login = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": boss, "password": "boss@Pass1"}}}, "scope": {"project": {"id": hq}}}});
    let token = cloud.send("POST", "/v3/auth/tokens", None, None, Some(login)).await.subject.expect("a token");
    (acme, token)
}

pub async fn quotas() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let (acme, boss) = boss_of_acme(&cloud, &admin).await;
    let mine = cloud.get(&boss, "/v3/identity_quotas").await.ok()["identity_quotas"][0].take();
    assert_eq!(
        (&mine["user"], &mine["usage.user"], &mine["project"], &mine["domain"]),
        (&json!(500), &json!(1), &json!(500), &json!("acme"))
    );
    let path = format!("/v3/identity_quotas/domains/{acme}");
    let set = json!({"identity_quotas": {"user": 2, "group": 0, "project": 2, "role": 0, "policy": 0}});
    assert_eq!(cloud.post(&boss, &path, set.clone()).await.refusal(), (403, "ForbiddenError"), "nobody raises his own limit");
    assert_eq!(cloud.post(&boss, "/v3/identity_quotas", set.clone()).await.status, 403);
    cloud.post(&admin, &path, set).await.ok();
    cloud.make(&boss, "user", json!({"name": "two"})).await;
    cloud.make(&boss, "project", json!({"name": "two"})).await;
    for (kind, plural, body) in [
        ("user", "users", json!({"name": "x"})),
        ("group", "groups", json!({"name": "x"})),
        ("project", "projects", json!({"name": "x"})),
        ("role", "roles", json!({"name": "x"})),
        ("policy", "policies", json!({"name": "x", "scope": "project", "blob": {"policy": {"x": "deny"}}})),
    ] {
        let full = cloud.post(&boss, &format!("/v3/{plural}"), json!({ kind: body })).await;
        assert_eq!(full.refusal(), (400, "OutOfQuotaError"), "{kind}: {}", full.body);
    }
    cloud.delete(&boss, "/v3/users/two").await.ok();
    // Of many at once as many come as there is room for.
    cloud.post(&admin, &path, json!({"identity_quotas": {"action": "add", "user": 2}})).await.ok();
    let asked = (0..8).map(|i| cloud.post(&boss, "/v3/users", json!({"user": {"name": format!("crowd{i}")}})));
    let made = futures_util::future::join_all(asked).await.into_iter().filter(|a| a.status == 200).count();
    assert_eq!(made, 3);
    let all = cloud.get(&admin, "/v3/identity_quotas/domains").await.ok();
    assert_eq!((&all["identity_quotas"][0]["user"], &all["identity_quotas"][0]["usage.user"]), (&json!(4), &json!(4)));
    cloud.post(&admin, &path, json!({"identity_quotas": {"action": "reset"}})).await.ok();
    assert_eq!(cloud.get(&boss, &path).await.ok()["identity_quotas"][0]["user"], 500);
    assert_eq!(cloud.get(&boss, "/v3/identity_quotas/domains/default").await.status, 404);
    assert_eq!(cloud.post(&admin, &path, json!({"identity_quotas": {"action": "delete"}})).await.status, 403);
    assert_eq!(cloud.send("GET", "/v3/identity_quotas", None, None, None).await.status, 401);
}

pub async fn three_administrators_stay_three() {
    let place = crate::kit::Place::new().await;
    let db = store::Db::open(&place.url).await.expect("a database");
    let apart = || keystone::Config { three_administrators: true, ..config() };
    let before = crate::kit::cloud_on(db.clone(), config(), Clock::real()).await;
    // Nobody could ever fill an empty office: it does not start.
    let refused = keystone::build(apart(), db.clone(), Clock::real()).await.err().expect("no holders yet");
    assert!(refused.to_string().contains("nobody is the administrator of operations"), "{refused}");
    let admin = before.admin().await;
    for (name, role) in [("olga", "sys_opsadmin"), ("sven", "sys_secadmin"), ("sara", "sys_secadmin"), ("anna", "sys_adtadmin")] {
        before.member(&admin, name, "system", role).await;
    }
    drop(before);
    let cloud = crate::kit::cloud_on(db, apart(), Clock::real()).await;
    assert_eq!(cloud.get(&admin, "/v3/users").await.status, 403, "the token of the one administrator is void");
    assert_eq!(cloud.login("sysadmin", crate::kit::ADMIN_PASSWORD, Some("system")).await.refusal(), (423, "UserDisabled"));
    cloud.token("regionadmin", crate::kit::SERVICE_PASSWORD, Some("system")).await;
    let [olga, sven, anna] =
        [("olga", "system"), ("sven", "system"), ("anna", "system")].map(|(n, p)| (n.to_string(), format!("{n}@Pass1"), p));
    let olga = cloud.token(&olga.0, &olga.1, Some(olga.2)).await;
    let sven = cloud.token(&sven.0, &sven.1, Some(sven.2)).await;
    let anna = cloud.token(&anna.0, &anna.1, Some(anna.2)).await;

    // Security says who may do what, without holding it; operations and audit do not.
    cloud.make(&sven, "project", json!({"name": "demo"})).await;
    cloud.make(&sven, "user", json!({"name": "dora", "password": "dora@Pass1"})).await;
    cloud.put(&sven, "/v3/projects/demo/users/dora/roles/project_owner", json!({})).await.ok();
    cloud.put(&sven, "/v3/projects/system/users/dora/roles/sys_opsadmin", json!({})).await.ok();
    for token in [&olga, &anna] {
        // Audit does not even see the project.
        let given = cloud.put(token, "/v3/projects/demo/users/dora/roles/project_viewer", json!({})).await;
        assert!(matches!(given.status, 403 | 404), "{}", given.body);
        assert_eq!(cloud.post(token, "/v3/users", json!({"user": {"name": "x"}})).await.status, 403);
    }
    // Two offices in one hand, directly or through a group; the one administrator; oneself.
    for path in [
        "/v3/projects/system/users/dora/roles/sys_secadmin",
        "/v3/projects/demo/users/dora/roles/domain_adtadmin",
        "/v3/projects/system/users/olga/roles/sys_adtadmin",
        "/v3/projects/system/users/dora/roles/admin",
        "/v3/projects/demo/users/sven/roles/project_viewer",
    ] {
        assert_eq!(cloud.put(&sven, path, json!({})).await.refusal(), (403, "ForbiddenError"), "{path}");
    }
    cloud.make(&sven, "group", json!({"name": "readers"})).await;
    cloud.put(&sven, "/v3/projects/system/groups/readers/roles/sys_adtadmin", json!({})).await.ok();
    cloud.make(&sven, "user", json!({"name": "rita"})).await;
    cloud.put(&sven, "/v3/groups/readers/users/rita", json!({})).await.ok();
    for user in ["dora", "olga", "sven"] {
        assert_eq!(cloud.put(&sven, &format!("/v3/groups/readers/users/{user}"), json!({})).await.status, 403, "{user}");
    }
    cloud.make(&sven, "group", json!({"name": "crew"})).await;
    cloud.put(&sven, "/v3/groups/crew/users/dora", json!({})).await.ok();
    let both = cloud.put(&sven, "/v3/projects/system/groups/crew/roles/domain_secadmin", json!({})).await;
    assert_eq!(both.refusal(), (403, "ForbiddenError"));
    // Nor by a role of one's own making.
    cloud.make(&sven, "role", json!({"name": "lord"})).await;
    assert_eq!(cloud.post(&sven, "/v3/roles/lord/add-policy", json!({"role": {"policy_id": "sysadmin"}})).await.status, 403);
    // Only audit reads what all did.
    assert!(cloud.get(&anna, "/v3/events?scope=system").await.ok()["events"].as_array().is_some_and(|e| !e.is_empty()));
    for token in [&olga, &sven] {
        assert_eq!(cloud.get(token, "/v3/events?scope=system").await.status, 403);
    }
}

pub async fn what_belongs_to_whom() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let (acme, boss) = boss_of_acme(&cloud, &admin).await;
    let told = cloud.get(&admin, "/v3/scope-resources").await.ok();
    let of = |plural: &str| told[plural].as_array().expect("rows").iter().find(|r| r["domain_id"] == acme).map(|r| r["res_count"].clone());
    assert_eq!((of("users"), of("projects")), (Some(json!(1)), Some(json!(1))));
    assert_eq!(cloud.get(&boss, "/v3/scope-resources").await.refusal(), (403, "ForbiddenError"));
}
