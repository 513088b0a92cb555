//! From the first login on: who comes, what he gets, what he loses, and when it is over.

use super::{ask, begin, change, cloud, config, corp, holds, kit, login, node::Node, parameter, request};
use base::{Clock, Json};
use kit::{Cloud, token_login};
use serde_json::json;
use std::time::{Duration, Instant};
use store::Read;

async fn shown(cloud: &Cloud, admin: &str, name: &str) -> Json {
    let list = cloud.get(admin, &format!("/v3/users?scope=system&domain=corp&name={name}")).await.ok();
    list["users"][0].clone()
}

fn place(project: &str) -> Json {
    json!({"project": {"name": project, "domain": {"name": "corp"}}})
}

pub async fn from_the_first_login_on() {
    let mut node = Node::start(&[]);
    node.person("ann", json!({"name": "Ann Example", "email": "ann@example.org", "groups": ["devs", "all"]}));
    let place_of_data = kit::Place::new().await;
    let open = || async { store::Db::open(&place_of_data.url).await.expect("a database") };
    let settings = || keystone::Config { sso_http_on_loopback: true, ..kit::config() };
    let cloud = kit::cloud_on(open().await, settings(), Clock::real()).await;
    let admin = cloud.admin().await;
    let id = corp(&cloud, &admin, config(&node), json!({})).await;

    // Nobody comes in by himself until that is switched on, and the refusal says how.
    let stranger = login(&cloud, &admin, &id, &mut node, "ann").await;
    assert_eq!(stranger.refusal(), (404, "UserNotFound"), "{}", stranger.body);
    assert!(
        stranger.body["details"].as_str().is_some_and(|d| d.contains("auto_create_user") && d.contains("link-idp")),
        "{}",
        stranger.body
    );
    change(&cloud, &admin, &id, json!({"auto_create_user": true, "auto_create_project": true})).await;

    let first = login(&cloud, &admin, &id, &mut node, "ann").await;
    let token = first.subject.clone().expect("a token");
    let told = first.ok()["token"].clone();
    assert_eq!(
        (&told["methods"], &told["user"]["name"], &told["user"]["domain"]["name"]),
        (&json!(["oidc"]), &json!("ann"), &json!("corp"))
    );
    assert_eq!((&told["user"]["displayname"], &told["user"]["email"]), (&json!("Ann Example"), &json!("ann@example.org")));
    assert_eq!(told["projects"][0]["name"], "web", "{told}");
    let rescoped = ask(&cloud, token_login(&token, place("web"))).await;
    let inside = rescoped.subject.clone().expect("a token");
    assert_eq!(rescoped.body["token"]["roles"][0]["name"], "project_viewer", "{}", rescoped.body);
    let ann = shown(&cloud, &admin, "ann").await;
    assert_eq!(
        (&ann["idps"][0]["idp_entity_id"], &ann["idps"][0]["is_sso"], &ann["group_count"]),
        (&json!("ann"), &json!(true), &json!(2)),
        "{ann}"
    );
    let user = ann["id"].as_str().expect("an id").to_string();
    let set = cloud.put(&admin, &format!("/v3/users/{user}"), json!({"user": {"password": "Other@Pass1"}})).await;
    assert_eq!(set.status, 406, "{}", set.body);

    // The record says by which provider and as whom.
    let notes =
        cloud.db.read().texts("events", "notes", store::Cond::eq("action", "login").and(store::Cond::eq("obj_id", user.as_str()))).await;
    let notes = notes.expect("records").join("\n");
    assert!(notes.contains(r#""provider":"corp""#) && notes.contains(r#""subject":"ann""#) && notes.contains("devs"), "{notes}");

    // Begun at one replica, finished at another; and what was used is used up for both.
    let other = kit::cloud_on(open().await, settings(), Clock::real()).await;
    let uri = begin(&cloud, &admin, &id, &node, "").await;
    let landing = node.landing.clone();
    let back = node.walk(&uri, &landing, "ann");
    let (code, state) = (parameter(&back, "code"), parameter(&back, "state"));
    ask(&other, request(&id, &code, &landing, &state)).await.ok();
    for cloud in [&cloud, &other] {
        let again = ask(cloud, request(&id, &code, &landing, &state)).await;
        assert_eq!(again.refusal(), (401, "InvalidCredentialError"), "{}", again.body);
    }
    drop(other);

    // A gateway that keeps its own state sends the code alone.
    let uri = begin(&cloud, &admin, &id, &node, "mine").await;
    let back = node.walk(&uri, &landing, "ann");
    assert_eq!(parameter(&back, "state"), "mine");
    ask(&cloud, request(&id, &parameter(&back, "code"), &landing, "")).await.ok();

    // Other groups, and roles by attribute: what is no longer said is taken back, and with it the tokens that carried it.
    node.person("ann", json!({"groups": ["all"], "project": "lab", "roles": ["project_editor"]}));
    let token = login(&cloud, &admin, &id, &mut node, "ann").await.subject.expect("a token");
    assert!(!holds(&cloud, &inside).await);
    assert_eq!(ask(&cloud, token_login(&token, place("web"))).await.status, 401);
    let lab = ask(&cloud, token_login(&token, place("lab"))).await.ok();
    assert_eq!(lab["token"]["roles"][0]["name"], "project_editor");
    node.person("ann", json!({"groups": ["all"], "project": "lab", "roles": ["admin"]}));
    let token = login(&cloud, &admin, &id, &mut node, "ann").await.subject.expect("a token");
    let lab = ask(&cloud, token_login(&token, place("lab"))).await.ok();
    assert_eq!(lab["token"]["roles"].as_array().map(Vec::len), Some(1), "{lab}");
    node.person("ann", json!({"project": "system"}));
    let token = login(&cloud, &admin, &id, &mut node, "ann").await.subject.expect("a token");
    for project in ["lab", "web"] {
        assert_eq!(ask(&cloud, token_login(&token, place(project))).await.status, 401);
    }

    // Over at the provider: over here, at once.
    node.run("backchannel", json!({"uri": format!("{}/v3/auth/sso/{id}/backchannel-logout", cloud.url)}));
    let token = login(&cloud, &admin, &id, &mut node, "ann").await.subject.expect("a token");
    let made_from_it = ask(&cloud, token_login(&token, json!({}))).await.subject.expect("a token");
    node.run("end", json!({}));
    let until = Instant::now() + Duration::from_secs(60);
    while holds(&cloud, &token).await {
        assert!(Instant::now() < until, "{}", node.run("answers", json!({})));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!holds(&cloud, &made_from_it).await);
    let again = login(&cloud, &admin, &id, &mut node, "ann").await;
    let token = again.subject.clone().expect("a token");
    again.ok();

    // The user off, the provider off.
    cloud.post(&admin, &format!("/v3/users/{user}/disable"), json!({})).await.ok();
    assert!(!holds(&cloud, &token).await);
    assert_eq!(login(&cloud, &admin, &id, &mut node, "ann").await.refusal(), (423, "UserDisabled"));
    cloud.post(&admin, &format!("/v3/users/{user}/enable"), json!({})).await.ok();
    let token = login(&cloud, &admin, &id, &mut node, "ann").await.subject.expect("a token");
    let uri = begin(&cloud, &admin, &id, &node, "").await;
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/disable"), json!({})).await.ok();
    assert!(!holds(&cloud, &token).await);
    let back = node.walk(&uri, &landing, "ann");
    let off = ask(&cloud, request(&id, &parameter(&back, "code"), &landing, &parameter(&back, "state"))).await;
    assert_eq!(off.refusal(), (400, "InvalidIdpStatus"), "{}", off.body);
    cloud.delete(&admin, &format!("/v3/identity_providers/{id}")).await.ok();
    assert_eq!(cloud.get(&admin, &format!("/v3/users/{user}")).await.status, 404);
}

pub async fn users_that_are_linked() {
    let mut node = Node::start(&[]);
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let id = corp(&cloud, &admin, config(&node), json!({"target_domain": "Default", "auto_create_user": true})).await;
    let bob = cloud.member(&admin, "bob", "system", "project_viewer").await;
    // The same name is not the same person.
    let taken = login(&cloud, &admin, &id, &mut node, "bob").await;
    assert_eq!(taken.refusal(), (409, "ConflictError"), "{}", taken.body);
    let link = |what: &str| (format!("/v3/users/{bob}/{what}"), json!({"idp_id": "corp", "idp_entity_id": "bob"}));
    let (path, body) = link("link-idp");
    // Not by himself, nor for himself.
    let own = cloud.token("bob", "bob@Pass1", Some("system")).await;
    assert!(cloud.post(&own, &path, body.clone()).await.status >= 400);
    cloud.post(&admin, &path, body.clone()).await.ok();
    let second = cloud.member(&admin, "eve", "system", "project_viewer").await;
    let twice = cloud.post(&admin, &format!("/v3/users/{second}/link-idp"), body).await;
    assert_eq!(twice.status, 409, "{}", twice.body);

    let come = login(&cloud, &admin, &id, &mut node, "bob").await;
    let token = come.subject.clone().expect("a token");
    assert_eq!(come.ok()["token"]["user"]["id"], json!(bob));
    // His own user with its own password, and both ways stay open until the provider goes.
    let own = cloud.token("bob", "bob@Pass1", None).await;
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/disable"), json!({})).await.ok();
    assert!(!holds(&cloud, &token).await && holds(&cloud, &own).await);
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/enable"), json!({})).await.ok();
    let (path, body) = link("unlink-idp");
    cloud.post(&admin, &path, body).await.ok();
    assert_eq!(login(&cloud, &admin, &id, &mut node, "bob").await.status, 409);
    // Linked from the start.
    let pre = json!({"name": "carl", "idp_id": "corp", "idp_entity_id": "carl-7"});
    let carl = cloud.make(&admin, "user", pre).await;
    node.run("forget", json!({}));
    assert_eq!(login(&cloud, &admin, &id, &mut node, "carl-7").await.ok()["token"]["user"]["id"], json!(carl));
    // The provider goes; users that were there before it stay.
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/disable"), json!({})).await.ok();
    cloud.delete(&admin, &format!("/v3/identity_providers/{id}")).await.ok();
    cloud.token("bob", "bob@Pass1", Some("system")).await;
}
