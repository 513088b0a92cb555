//! The login door as a command line and a browser use it together.

use super::{cloud, config, corp, holds, node::Node, parameter};
use crate::kit::{Answer, Cloud, cloud_with, token_login};
use base::{Clock, Json};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use std::time::Duration;

/// Lets the catalogue say where the service is: that is where browsers are sent.
async fn published(cloud: &Cloud, admin: &str) {
    let all = cloud.get(admin, "/v3/endpoints?limit=0").await.ok();
    let ours = all["endpoints"].as_array().expect("a list").iter().find(|e| e["service_type"] == "identity" && e["interface"] == "public");
    let id = ours.and_then(|e| e["id"].as_str()).expect("an endpoint").to_string();
    cloud.put(admin, &format!("/v3/endpoints/{id}"), json!({"endpoint": {"url": format!("{}/v3", cloud.url)}})).await.ok();
}

async fn form(cloud: &Cloud, path: &str, pairs: &[(&str, &str)]) -> Answer {
    let text = pairs.iter().map(|(k, v)| format!("{k}={}", http::path::encode(v))).collect::<Vec<_>>().join("&");
    let call = cloud.client.post(&format!("{}{path}", cloud.url)).header("content-type", "application/x-www-form-urlencoded").bytes(text);
    let answer = call.send_any().await.expect("an answer");
    let (status, subject) = (answer.status, answer.header("x-subject-token").map(str::to_string));
    let bytes = answer.bytes(1 << 20).await.expect("a body");
    Answer { status, subject, body: serde_json::from_slice(&bytes).unwrap_or(Json::Null) }
}

const TOKEN: &str = "/v3/auth/door/token";
const VERIFIER: &str = "a verifier of a command line, long enough to be one of RFC 7636";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, VERIFIER.as_bytes()))
}

/// Waits until the page says so, and answers all it says.
fn says(node: &mut Node, words: &str) -> String {
    let page = node.run("text", json!({ "contains": words }))["text"].as_str().expect("a text").to_string();
    assert!(page.contains(words), "{words}: {page}");
    page
}

fn type_in(node: &mut Node, pairs: &[(&str, &str)]) {
    for (name, value) in pairs {
        node.run("fill", json!({"selector": format!("input[name={name}]"), "value": value}));
    }
}

pub async fn a_browser_on_the_same_machine() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    published(&cloud, &admin).await;
    let mut node = Node::start(&[format!("{}/v3/auth/door/callback", cloud.url)]);
    let landing = node.landing.clone();
    corp(&cloud, &admin, config(&node), json!({"auto_create_user": true})).await;
    cloud.member(&admin, "bob", "system", "project_viewer").await;
    let begin = |state: &str| {
        let (back, challenge) = (http::path::encode(&landing), challenge());
        format!(
            "{}/v3/auth/door/browser?redirect_uri={back}&state={state}&code_challenge={challenge}&code_challenge_method=S256",
            cloud.url
        )
    };

    // With a password; a wrong one is told on the page, in its language.
    let page = node.run("goto", json!({"url": begin("one")}));
    let policy = page["headers"]["content-security-policy"].as_str().expect("a policy").to_string();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    type_in(&mut node, &[("user", "bob"), ("password", "wrong")]);
    node.run("click", json!({"selector": "form button"}));
    says(&mut node, "wrong user name or password");
    type_in(&mut node, &[("user", "bob"), ("password", "bob@Pass1")]);
    node.run("click", json!({"selector": "form button"}));
    says(&mut node, "You are logged in as bob");
    let cookies = node.run("cookies", json!({}))["cookies"].clone();
    let ours = cookies.as_array().expect("cookies").iter().find(|c| c["name"] == "wolke_door").expect("ours").clone();
    assert_eq!((&ours["httpOnly"], &ours["sameSite"]), (&json!(true), &json!("Lax")));
    let back =
        node.run("click", json!({"selector": "button[value=allow]", "until": landing}))["url"].as_str().expect("an address").to_string();
    assert_eq!(parameter(&back, "state"), "one");
    let code = parameter(&back, "code");
    let pairs = |verifier: &'static str, code: &str| {
        [("grant_type", "authorization_code"), ("code", code), ("code_verifier", verifier), ("redirect_uri", &landing)]
            .map(|(k, v)| (k, v.to_string()))
    };
    let ask = async |verifier: &'static str, code: &str| {
        let pairs = pairs(verifier, code);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
        form(&cloud, TOKEN, &pairs).await
    };
    let given = ask(VERIFIER, &code).await;
    let token = given.subject.clone().expect("a token");
    assert_eq!((&given.body["user"], &given.body["token_type"]), (&json!("bob"), &json!("Bearer")));
    let inside = cloud.send("POST", "/v3/auth/tokens", None, None, Some(token_login(&token, json!({"project": {"name": "system"}})))).await;
    assert_eq!(inside.status, 200, "{}", inside.body);
    assert_eq!(ask(VERIFIER, &code).await.body["error"], "invalid_grant", "once");

    // A code that came into other hands: the verifier is missing, and then it is worth nothing for anybody.
    node.run("goto", json!({"url": begin("two")}));
    let back =
        node.run("click", json!({"selector": "button[value=allow]", "until": landing}))["url"].as_str().expect("an address").to_string();
    let code = parameter(&back, "code");
    assert_eq!(ask("another", &code).await.body["error"], "invalid_grant");
    assert_eq!(ask(VERIFIER, &code).await.body["error"], "invalid_grant");
    node.run("goto", json!({"url": begin("three")}));
    let back =
        node.run("click", json!({"selector": "button[value=deny]", "until": landing}))["url"].as_str().expect("an address").to_string();
    assert_eq!((parameter(&back, "error").as_str(), parameter(&back, "code").as_str()), ("access_denied", ""));

    // At a provider, from a browser that knows nothing yet.
    node.run("forget", json!({}));
    node.run("goto", json!({"url": begin("four")}));
    node.run("click", json!({"selector": "a.button", "until": format!("{}/interaction", node.issuer)}));
    type_in(&mut node, &[("login", "ann"), ("password", "anything")]);
    node.run("click", json!({"selector": "button[type=submit]", "until": format!("{}/v3/auth/door?", cloud.url)}));
    says(&mut node, "You are logged in as ann (corp)");
    let back =
        node.run("click", json!({"selector": "button[value=allow]", "until": landing}))["url"].as_str().expect("an address").to_string();
    let given = ask(VERIFIER, &parameter(&back, "code")).await;
    let token = given.subject.expect("a token");
    assert!(holds(&cloud, &token).await);
    // The command line's token ends with the provider's word as well.
    cloud.post(&admin, "/v3/identity_providers/corp/disable", json!({})).await.ok();
    assert!(!holds(&cloud, &token).await);

    // Addresses that are no command line of this machine, forms of other pages, and frames.
    for uri in ["http://evil.example/", "http://127.0.0.1:80@evil.example/", "https://127.0.0.1:80/"] {
        let path = format!(
            "/v3/auth/door/browser?redirect_uri={}&code_challenge={}&code_challenge_method=S256",
            http::path::encode(uri),
            challenge()
        );
        assert_eq!(cloud.send("GET", &path, None, None, None).await.status, 400, "{uri}");
    }
    let forged = form(&cloud, "/v3/auth/door/decide", &[("d", "x"), ("csrf", "y"), ("decision", "allow")]).await;
    assert_eq!(forged.status, 403, "{}", forged.body);
    let forged = form(&cloud, "/v3/auth/door/login", &[("user", "bob"), ("password", "bob@Pass1"), ("domain", "Default")]).await;
    assert_eq!(forged.status, 403, "{}", forged.body);
}

pub async fn a_device_with_a_code() {
    // The service's clock goes on when it is told: how long pages take on a busy machine is no part of this.
    let clock = Clock::manual(Clock::real().now());
    let cloud = cloud_with(crate::kit::config(), clock.clone()).await;
    let admin = cloud.admin().await;
    published(&cloud, &admin).await;
    let mut node = Node::start(&[]);
    cloud.member(&admin, "bob", "system", "project_viewer").await;
    let begun = form(&cloud, "/v3/auth/door/device", &[("client_id", "wolke")]).await.ok();
    let word = |key: &str| begun[key].as_str().expect("a text").to_string();
    assert_eq!((&begun["interval"], &begun["expires_in"]), (&json!(5), &json!(600)));
    let device = word("device_code");
    let poll =
        async || form(&cloud, TOKEN, &[("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", &device)]).await;
    let pending = poll().await;
    assert_eq!((pending.status, &pending.body["error"]), (400, &json!("authorization_pending")));
    assert_eq!(poll().await.body["error"], "slow_down");

    // The code is typed in; the page shows it again after the login, with where it came from.
    node.run("goto", json!({"url": word("verification_uri")}));
    type_in(&mut node, &[("user_code", &word("user_code").to_lowercase())]);
    node.run("click", json!({"selector": "form button"}));
    type_in(&mut node, &[("user", "bob"), ("password", "bob@Pass1")]);
    node.run("click", json!({"selector": "form button"}));
    let page = says(&mut node, "It asked from the address");
    assert!(page.contains(&word("user_code")) && page.contains("127.0.0.1"), "{page}");
    node.run("click", json!({"selector": "button[value=allow]"}));
    says(&mut node, "is logged in");
    assert_eq!(poll().await.body["error"], "slow_down", "the interval has not passed yet");
    clock.advance(Duration::from_secs(5));
    let given = poll().await;
    assert_eq!(given.status, 200, "{}", given.body);
    let token = given.subject.clone().expect("a token");
    assert_eq!(given.body["access_token"], json!(token));
    assert!(holds(&cloud, &token).await);
    assert_eq!(poll().await.body["error"], "expired_token", "once");

    // A wrong code, and a refusal.
    node.run("goto", json!({"url": format!("{}?user_code=BBBB-BBBB", word("verification_uri"))}));
    says(&mut node, "not known");
    let second = form(&cloud, "/v3/auth/door/device", &[]).await.ok();
    node.run("goto", json!({"url": second["verification_uri_complete"]}));
    node.run("click", json!({"selector": "button[value=deny]"}));
    says(&mut node, "Nobody was let in");
    let pairs =
        [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", second["device_code"].as_str().expect("a code"))];
    assert_eq!(form(&cloud, TOKEN, &pairs).await.body["error"], "access_denied");
}
