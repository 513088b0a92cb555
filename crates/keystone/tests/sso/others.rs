//! OAuth 2 without identity tokens, and CAS.

use super::{SECRET, cloud, node::Node, parameter};
use crate::kit::{Answer, Cloud};
use base::Json;
use serde_json::json;

async fn made(cloud: &Cloud, admin: &str, name: &str, driver: &str, config: Json) -> String {
    let body = json!({"name": name, "driver": driver, "auto_create_user": true, "config": {driver: config}});
    let made = cloud.post(admin, "/v3/identity_providers", json!({"identity_provider": body})).await.ok();
    made["identity_provider"]["id"].as_str().expect("an id").to_string()
}

async fn begin(cloud: &Cloud, admin: &str, id: &str, back: &str) -> String {
    let path = format!("/v3/identity_providers/{id}/sso-redirect-uri?redirect_uri={}", http::path::encode(back));
    cloud.get(admin, &path).await.ok()["identity_provider"]["uri"].as_str().expect("an address").to_string()
}

async fn ask(cloud: &Cloud, method: &str, id: &str, key: &str, said: Json) -> Answer {
    let body = json!({"auth": {"identity": {"methods": [method], "id": id, key: said}}});
    cloud.send("POST", "/v3/auth/tokens", None, None, Some(body)).await
}

pub async fn a_code_and_an_address() {
    let mut node = Node::start(&[]);
    node.person("ann", json!({"name": "Ann Example"}));
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let at = |path: &str| format!("{}{path}", node.issuer);
    let config = json!({"app_id": "wolke-post", "secret": SECRET, "auth_url": at("/auth"), "token_url": at("/token"), "userinfo_url": at("/me"),
        "scopes": ["openid", "profile"]});
    let id = made(&cloud, &admin, "plain", "oauth2", config).await;
    let landing = node.landing.clone();
    let uri = begin(&cloud, &admin, &id, &landing).await;
    let back = node.walk(&uri, &landing, "ann");
    let said = json!({"code": parameter(&back, "code"), "state": parameter(&back, "state")});
    let told = ask(&cloud, "oauth2", &id, "oauth2", said.clone()).await.ok();
    assert_eq!((&told["token"]["user"]["name"], &told["token"]["user"]["displayname"]), (&json!("ann"), &json!("Ann Example")));
    assert_eq!(ask(&cloud, "oauth2", &id, "oauth2", said).await.refusal(), (401, "InvalidCredentialError"));
    assert_eq!(ask(&cloud, "oauth2", &id, "oauth2", json!({"code": "made up"})).await.refusal(), (401, "InvalidCredentialError"));
    assert_eq!(ask(&cloud, "oidc", &id, "oidc_auth", json!({"code": "x"})).await.status, 400);
    // What a template does not know must be said.
    for (template, key) in [("bingoiam_oauth2", "auth_url"), ("feishu_oauth2", "app_id")] {
        let body = json!({"identity_provider": {"name": "x", "template": template, "config": {"oauth2": {}}}});
        let refused = cloud.post(&admin, "/v3/identity_providers", body).await;
        assert!(refused.status == 400 && refused.body["details"].as_str().is_some_and(|d| d.contains(key)), "{}", refused.body);
    }
}

pub async fn a_ticket() {
    let mut node = Node::start(&[]);
    let server =
        node.run("cas", json!({"user": "ann", "attributes": {"mail": ["ann@example.org"], "memberOf": ["devs", "all"]}}))["url"].clone();
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let config = json!({"cas_server_url": server, "groups_attribute": "memberOf"});
    let id = made(&cloud, &admin, "campus", "cas", config).await;
    let landing = node.landing.clone();
    let uri = begin(&cloud, &admin, &id, &landing).await;
    let back = node.walk(&uri, &landing, "ann");
    let said = |ticket: &str, service: &str| json!({"id": ticket, "service": service});
    let ticket = parameter(&back, "ticket");
    let told = ask(&cloud, "cas", &id, "cas_ticket", said(&ticket, &landing)).await.ok();
    assert_eq!((&told["token"]["user"]["name"], &told["token"]["user"]["email"]), (&json!("ann"), &json!("ann@example.org")));
    let user = told["token"]["user"]["id"].as_str().expect("an id");
    assert_eq!(cloud.get(&admin, &format!("/v3/users/{user}")).await.ok()["user"]["group_count"], 2);
    // Once, for this service, and only what the server gave out.
    assert_eq!(ask(&cloud, "cas", &id, "cas_ticket", said(&ticket, &landing)).await.status, 401);
    let back = node.walk(&uri, &landing, "ann");
    assert_eq!(ask(&cloud, "cas", &id, "cas_ticket", said(&parameter(&back, "ticket"), "https://other.example/")).await.status, 401);
    assert_eq!(ask(&cloud, "cas", &id, "cas_ticket", said("ST-made-up", &landing)).await.status, 401);
    // Something else than CAS is refused before it is kept.
    let body = json!({"identity_provider": {"name": "x", "driver": "cas", "config": {"cas": {"cas_server_url": node.landing}}}});
    assert_eq!(cloud.post(&admin, "/v3/identity_providers", body).await.status, 502);
}
