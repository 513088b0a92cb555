//! What must not let anybody in, and what must not throw anybody out.

use super::{ask, begin, change, cloud, config, corp, holds, kit, login, node::Node, parameter, request};
use base::{Clock, Json};
use serde_json::json;
use std::time::Duration;

pub async fn tokens_that_are_wrong() {
    let mut node = Node::start(&[]);
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let id = corp(&cloud, &admin, config(&node), json!({"auto_create_user": true})).await;
    login(&cloud, &admin, &id, &mut node, "ann").await.ok();
    let mut tried = 0;
    for how in ["nonce", "aud", "azp", "iss", "exp", "iat", "none", "hs256", "signature", "stranger", "absent"] {
        node.forge(Some(how));
        let refused = login(&cloud, &admin, &id, &mut node, "ann").await;
        assert_eq!(refused.refusal(), (401, "InvalidCredentialError"), "{how}: {}", refused.body);
        // Written down, with whose word it was that is not believed.
        let list = cloud.get(&admin, "/v3/events?scope=system&action=login_fail&limit=100").await.ok();
        let notes: Json = serde_json::from_str(list["events"][0]["notes"].as_str().expect("notes")).expect("JSON");
        assert_eq!((&notes["method"], &notes["provider"], &notes["class"]), (&json!("oidc"), &json!(id), &refused.body["class"]), "{how}");
        tried += 1;
        assert_eq!(list["events"].as_array().map(Vec::len), Some(tried), "{how}");
    }
    node.forge(None);
    login(&cloud, &admin, &id, &mut node, "ann").await.ok();

    // New keys are found, more than once; the old ones are not believed any more.
    for kid in ["k2", "k3"] {
        node.run("rotate", json!({ "kid": kid }));
        login(&cloud, &admin, &id, &mut node, "ann").await.ok();
    }
    // Only what was agreed on with this issuer.
    let narrow = json!({"config": {"oidc": {"algorithms": ["ES256"]}}});
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/config"), narrow).await.ok();
    assert_eq!(login(&cloud, &admin, &id, &mut node, "ann").await.status, 401);
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/config"), json!({"config": {"oidc": {"algorithms": []}}})).await.ok();

    // A code with somebody else's state, with another address, with no state where one was made here.
    let landing = node.landing.clone();
    let mut back = async || {
        let uri = begin(&cloud, &admin, &id, &node, "").await;
        let back = node.walk(&uri, &landing, "ann");
        (parameter(&back, "code"), parameter(&back, "state"))
    };
    let ((code, state), (_, other)) = (back().await, back().await);
    for body in [
        request(&id, &code, &landing, "made up"),
        request(&id, &code, "http://127.0.0.1:1/elsewhere", &state),
        request(&id, &code, &landing, &other),
        request(&id, &back().await.0, &landing, ""),
        request(&id, "made up", &landing, &back().await.1),
    ] {
        let refused = ask(&cloud, body).await;
        assert_eq!(refused.refusal(), (401, "InvalidCredentialError"), "{}", refused.body);
    }
    let wrong = json!({"auth": {"identity": {"methods": ["saml"], "id": id, "saml_auth": {"response": "x"}}}});
    assert!(matches!(ask(&cloud, wrong).await.status, 400 | 401));

    // Begun too long ago.
    let clock = Clock::manual(Clock::real().now());
    let slow = kit::cloud_with(keystone::Config { sso_http_on_loopback: true, ..kit::config() }, clock.clone()).await;
    let admin = slow.admin().await;
    let id = corp(&slow, &admin, config(&node), json!({"auto_create_user": true})).await;
    let uri = begin(&slow, &admin, &id, &node, "").await;
    let back = node.walk(&uri, &landing, "ann");
    clock.advance(Duration::from_secs(601));
    assert_eq!(ask(&slow, request(&id, &parameter(&back, "code"), &landing, &parameter(&back, "state"))).await.status, 401);
}

pub async fn ends_that_are_wrong() {
    let mut node = Node::start(&[]);
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let id = corp(&cloud, &admin, config(&node), json!({"auto_create_user": true})).await;
    let token = login(&cloud, &admin, &id, &mut node, "ann").await.subject.expect("a token");
    let url = format!("{}/v3/auth/sso/{id}/backchannel-logout", cloud.url);
    let post = async |logout: &str| {
        let form = format!("logout_token={}", http::path::encode(logout));
        let call = cloud.client.post(&url).header("content-type", "application/x-www-form-urlencoded").bytes(form);
        call.send_any().await.expect("an answer").status
    };
    let mut make = |wish: Json| node.run("logout_token", wish)["token"].as_str().expect("a token").to_string();
    for wish in [
        json!({"claims": {"sub": "ann", "aud": "another"}}),
        json!({"claims": {"sub": "ann", "iss": "https://another.example.org"}}),
        json!({"claims": {"sub": "ann", "iat": 1000}}),
        json!({"claims": {"sub": "ann", "nonce": "n"}}),
        json!({"claims": {"sub": "ann", "events": {}}}),
        json!({"claims": {"sub": "ann"}, "without": ["jti"]}),
        json!({"claims": {"sub": "ann"}, "alg": "none"}),
        json!({"claims": {"sub": "ann"}, "alg": "HS256"}),
        json!({}),
    ] {
        assert_eq!(post(&make(wish.clone())).await, 400, "{wish}");
    }
    assert_eq!(post("made up").await, 400);
    assert!(holds(&cloud, &token).await);
    // Somebody else's end is not ann's.
    assert_eq!(post(&make(json!({"claims": {"sub": "bob"}}))).await, 200);
    assert!(holds(&cloud, &token).await);
    let right = make(json!({"claims": {"sub": "ann"}}));
    assert_eq!(post(&right).await, 200);
    assert!(!holds(&cloud, &token).await);
    // Sent again, it ends nothing new.
    let token = login(&cloud, &admin, &id, &mut node, "ann").await.subject.expect("a token");
    assert_eq!(post(&right).await, 400);
    assert!(holds(&cloud, &token).await);
}

pub async fn configurations_that_are_wrong() {
    let node = Node::start(&[]);
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let with = |more: Json| {
        let mut all = config(&node);
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"identity_provider": {"name": "corp", "driver": "oidc", "config": {"oidc": all}}})
    };
    for (more, word) in [
        (json!({"client_id": ""}), "client_id"),
        (json!({"endpoint": ""}), "endpoint"),
        (json!({"endpoint": "http://id.example.org"}), "endpoint"),
        (json!({"endpoint": "https://169.254.169.254"}), "endpoint"),
        (json!({"endpoint": format!("{}/other", node.issuer)}), "corp"),
        (json!({"endpoint": "http://127.0.0.1:1"}), "cannot be asked"),
        (json!({"algorithms": ["HS256"]}), "algorithms"),
        (json!({"algorithms": ["none"]}), "algorithms"),
        (json!({"default_role_id": "nothing"}), "default_role_id"),
        (json!({"client_secrte": SECRET_TYPO}), "client_secrte"),
        (json!({"timeout_secs": 0}), "timeout_secs"),
    ] {
        let refused = cloud.post(&admin, "/v3/identity_providers", with(more.clone())).await;
        let told = refused.body["details"].as_str().unwrap_or_default();
        assert!(refused.status >= 400 && (told.contains(word) || word == "corp"), "{more}: {}", refused.body);
        assert!(!refused.body.to_string().contains(SECRET_TYPO), "{}", refused.body);
    }
    // Plain HTTP, where nobody has allowed it.
    let strict = kit::cloud().await;
    let admin_there = strict.admin().await;
    let refused = strict.post(&admin_there, "/v3/identity_providers", with(json!({}))).await;
    assert!(
        refused.status == 400 && refused.body["details"].as_str().is_some_and(|d| d.contains("sso_http_on_loopback")),
        "{}",
        refused.body
    );

    let id = corp(&cloud, &admin, config(&node), json!({})).await;
    let open = cloud.get(&admin, &format!("/v3/identity_providers/{id}/config")).await.ok();
    assert!(!open.to_string().contains("client's secret"), "{open}");
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/default-sso"), json!({"enable": true})).await.ok();
    let listed = cloud.get(&admin, "/v3/identity_providers?sso_domain=all").await.ok();
    assert_eq!((&listed["identity_providers"][0]["name"], &listed["identity_providers"][0]["is_default"]), (&json!("corp"), &json!(true)));
    change(&cloud, &admin, &id, json!({"auto_create_user": true})).await;
    let template = json!({"identity_provider": {"name": "x", "driver": "ldap", "template": "dex_oidc", "config": {"ldap": {}}}});
    assert_eq!(cloud.post(&admin, "/v3/identity_providers", template).await.status, 400);
}

const SECRET_TYPO: &str = "a secret in the wrong place";
