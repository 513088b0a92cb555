//! Several processes: replicas of the service on one database, and another service that knows it over the network.

use crate::kit::{Cloud, Place, cloud, cloud_on, config};
use api_identity::IdentityClient;
use base::{Caller, Clock, Role, Scope};
use http::{Client, ClientOptions};
use keystone::remote::{HttpTransport, Remote, RemoteOwners};
use resource::{Ask, Gate, Owners};
use serde_json::json;
use service::Process;
use std::{sync::Arc, time::Duration};
use store::Db;

/// Waits for something that comes about by itself.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn process() -> Process {
    Process::new(&telemetry::Metrics::default(), Duration::from_secs(5))
}

pub async fn a_change_reaches_the_other_replica() {
    let place = Place::new().await;
    // On SQLite a database belongs to one process; its replicas here share the handle.
    let db = Db::open(&place.url).await.expect("a database");
    let other = if place.url.starts_with("postgres") { Db::open(&place.url).await.expect("a database") } else { db.clone() };
    let one = cloud_on(db, config(), Clock::real()).await;
    let two = cloud_on(other, config(), Clock::real()).await;
    let process = process();
    two.keystone.work(&process);

    let admin = one.admin().await;
    one.make(&admin, "project", json!({"name": "demo"})).await;
    one.member(&admin, "alice", "demo", "project_viewer").await;
    until("the project's name", async || !two.keystone.owners.projects_named("demo", None).is_empty()).await;
    let alice = two.token("alice", "alice@Pass1", Some("demo")).await;
    assert_eq!(two.get(&alice, "/v3/projects/demo").await.status, 200);
    one.delete(&admin, "/v3/projects/demo/users/alice/roles/project_viewer").await.ok();
    assert_eq!(one.get(&alice, "/v3/projects/demo").await.status, 403);
    until("the revocation", async || two.get(&alice, "/v3/projects/demo").await.status == 403).await;
    process.stop();
}

pub async fn connect(cloud: &Cloud) -> Arc<Remote> {
    let client = Client::new(ClientOptions::default()).expect("a client");
    let transport = Arc::new(HttpTransport::new(client, &format!("{}/v3", cloud.url)));
    let identity = IdentityClient::new(transport, Some(cloud.service_login()), Clock::real());
    Remote::connect(identity, Vec::new(), Clock::real()).await.expect("the identity service answers")
}

pub async fn a_service_in_another_process() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    cloud.member(&admin, "alice", "demo", "project_viewer").await;
    let remote = connect(&cloud).await;
    let process = process();
    remote.work(&process);
    let (owners, gate) = (RemoteOwners(remote.clone()), remote.gate());

    // Tokens are verified by themselves, rules and owners are at hand.
    let token = cloud.token("alice", "alice@Pass1", Some("demo")).await;
    let claims = remote.verifier.verify(&token).expect("a token of ours");
    assert_eq!((claims.caller.user.as_str(), claims.caller.project.as_str()), ("alice", "demo"));
    assert_eq!(owners.projects_named("demo", Some("default"))[0].project_id, claims.caller.project_id);
    assert_eq!(owners.domain("default").expect("a domain").domain, "Default");
    assert_eq!(owners.project(&claims.caller.project_id).expect("a project").domain, "Default");
    let scope =
        |caller: &Caller, action: &str| gate.widest(caller, None, &Ask { service: "compute", resource: "servers", action, extra: &[] });
    assert_eq!((scope(&claims.caller, "list"), scope(&claims.caller, "create")), (Scope::Project, Scope::None));
    let own = Ask { service: "compute", resource: "keypairs", action: "create", extra: &[] };
    assert_eq!(gate.widest(&claims.caller, None, &own), Scope::User, "what everybody may do about himself holds there too");
    assert_eq!(remote.client().endpoint("compute_v2", "region0", "internal").await.expect("an endpoint"), "http://127.0.0.1:30888");
    assert_eq!(remote.client().verify(&token).await.expect("a subject").user.name, "alice");
    let trees = remote.client().policies_of(&token).await.expect("policies");
    assert_eq!(trees.names["project"], ["project-dashboard", "project-viewer"]);

    // What changes arrives.
    cloud.make(&admin, "project", json!({"name": "late"})).await;
    until("the new project", async || !owners.projects_named("late", None).is_empty()).await;
    cloud.make(&admin, "project", json!({"name": "asked"})).await;
    owners.refresh().await.expect("an answer");
    assert_eq!(owners.projects_named("asked", None).len(), 1, "asked for at once");
    let blob = json!({"policy": {"compute": {"servers": {"create": "allow"}}}});
    cloud.make(&admin, "policy", json!({"name": "maker", "scope": "project", "blob": blob})).await;
    cloud.post(&admin, "/v3/roles/project_viewer/add-policy", json!({"role": {"policy_id": "maker"}})).await.ok();
    until("the new rule", async || scope(&claims.caller, "create") == Scope::Project).await;
    cloud.post(&admin, "/v3/users/alice/disable", json!({})).await.ok();
    until("the revocation", async || remote.verifier.verify(&token).is_err()).await;
    let stranger = Caller { user_id: "x".into(), roles: vec![Role { id: "x".into(), name: "admin".into() }], ..Caller::default() };
    assert_eq!(scope(&stranger, "list"), Scope::None, "a role's name alone is nothing");
    process.stop();
}
