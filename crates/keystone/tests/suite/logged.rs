//! Every attack leaves a line in the log, and every try to get in a record: who reads them afterwards finds what was tried, by whom, from where.
//! (Guesses, repeated codes and old signatures have theirs in `logins::attacks`, directories and providers with their own tests.)

use crate::kit::{ADMIN_PASSWORD, Cloud, cloud_with, config, password_login, token_login};
use api_identity::Secret;
use base::{Clock, Json, Timestamp};
use serde_json::json;
use std::time::Duration;
use telemetry::testing::Watch;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn records(cloud: &Cloud, token: &str, action: &str) -> Vec<Json> {
    let list = cloud.get(token, &format!("/v3/events?scope=system&limit=500&action={action}")).await.ok();
    list["events"].as_array().cloned().unwrap_or_default()
}

fn reason(record: &Json) -> Json {
    serde_json::from_str::<Json>(record["notes"].as_str().unwrap_or("null")).expect("JSON in the notes")["class"].take()
}

/// What a connection answers to bytes as they are.
async fn raw(cloud: &Cloud, text: &str) -> String {
    let mut stream = TcpStream::connect(cloud.url.trim_start_matches("http://")).await.expect("connected");
    stream.write_all(text.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A connection that is cut is an answer as well.
    let _cut = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

pub async fn tokens_that_are_not_ours() {
    let watch = Watch::start();
    let clock = Clock::manual(Timestamp::parse("2026-02-03T04:05:00Z").expect("a time"));
    let cloud = cloud_with(config(), clock.clone()).await;
    let elsewhere = cloud_with(keystone::Config { secret_key: Secret::new("6b".repeat(32)), ..config() }, clock.clone()).await;
    let admin = cloud.admin().await;
    let (head, tail) = admin.split_at(admin.len() / 2);
    let other = if tail.starts_with('A') { 'B' } else { 'A' };
    let changed = format!("{head}{other}{}", &tail[1..]);
    let mut tried = 0;
    for (what, token, line) in [
        ("of another platform", elsewhere.admin().await, "signed with an unknown or retired key"),
        ("altered", changed, "the signature does not fit"),
        ("cut off", admin[..admin.len() - 20].to_string(), "token refused"),
        ("made up", "rubbish".into(), "not a token of this installation"),
    ] {
        watch.told(&["token refused"]);
        assert_eq!(cloud.get(&token, "/v3/users").await.refusal(), (403, "ForbiddenError"), "{what}: a guest");
        assert_eq!(watch.told(&["token refused", line]), 1, "{what}");
        assert!(watch.told(&["not allowed", "identity/users/list"]) == 1, "{what}");
        // As a way in it is a login that was refused.
        let refused = cloud.send("POST", "/v3/auth/tokens", None, None, Some(token_login(&token, Json::Null))).await;
        tried += 1;
        assert_eq!(refused.status, 401, "{what}: {}", refused.body);
        assert_eq!(watch.told(&["login refused"]), 1, "{what}");
        let found = records(&cloud, &admin, "login_fail").await;
        assert_eq!(found.len(), tried, "{what}");
        assert_eq!((&found[0]["ip"], &reason(&found[0])), (&json!("127.0.0.1"), &refused.body["class"]), "{what}: {}", found[0]);
    }
    clock.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(cloud.get(&admin, "/v3/users").await.status, 403);
    assert_eq!(watch.told(&["token refused", "expired"]), 1);
    let admin = cloud.admin().await;
    cloud.send("DELETE", "/v3/auth/tokens", Some(&admin), Some(&admin), None).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/users").await.status, 403);
    assert_eq!(watch.told(&["token refused", "revoked"]), 1);
}

pub async fn fields_and_rights_of_others() {
    let watch = Watch::start();
    let cloud = cloud_with(config(), Clock::real()).await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    cloud.member(&admin, "boss", "demo", "domainadmin").await;
    cloud.member(&admin, "bob", "demo", "project_viewer").await;
    let (boss, bob) = (cloud.token("boss", "boss@Pass1", Some("demo")).await, cloud.token("bob", "bob@Pass1", Some("demo")).await);

    // Fields that are not the caller's to set: which, by whom.
    watch.told(&["columns this caller cannot set"]);
    let planted = json!({"name": "mule", "password": "Mule@Pass1", "failed_auth_count": 9, "last_login_ip": "9.9.9.9"});
    cloud.post(&boss, "/v3/users", json!({ "user": planted })).await.ok();
    assert_eq!(watch.told(&["columns this caller cannot set", "failed_auth_count", "last_login_ip", "user=\"boss\""]), 1);

    // Rights that are not the caller's: which, at which scope, by whom, under which request.
    for (method, path, permission) in [
        ("POST", "/v3/users", "identity/users/create"),
        ("DELETE", "/v3/projects/demo", "identity/projects/delete"),
        ("PUT", "/v3/projects/demo/users/bob/roles/admin", "identity/projects/perform/join"),
    ] {
        watch.told(&["not allowed"]);
        let refused = cloud.send(method, path, Some(&bob), None, Some(json!({"user": {"name": "x"}}))).await;
        assert_eq!(refused.status, 403, "{permission}: {}", refused.body);
        let number = refused.body["request_id"].as_str().expect("a number");
        let lines = watch.told(&["not allowed", "user=\"bob\"", number]);
        assert!(lines >= 1, "{permission}: no line with {number}");
    }
}

pub async fn headers_that_stand_twice() {
    let watch = Watch::start();
    let cloud = cloud_with(config(), Clock::real()).await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    cloud.member(&admin, "bob", "demo", "project_viewer").await;
    let bob = cloud.token("bob", "bob@Pass1", Some("demo")).await;
    let body = password_login("sysadmin", ADMIN_PASSWORD, None).to_string();
    for (what, lines, body) in [
        ("GET /v3/users", format!("X-Auth-Token: {bob}\r\nX-Auth-Token: {admin}"), ""),
        ("GET /v3/users", format!("Authorization: Bearer {bob}\r\nAuthorization: Bearer {admin}"), ""),
        ("GET /v3/auth/tokens", format!("X-Auth-Token: {bob}\r\nX-Subject-Token: {bob}\r\nX-Subject-Token: {admin}"), ""),
        ("POST /v3/auth/tokens", format!("Content-Length: {}\r\nTransfer-Encoding: chunked", body.len()), &body),
    ] {
        let answer = raw(&cloud, &format!("{what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n\r\n{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what} {lines}: {answer:.200}");
        assert!(!answer.to_lowercase().contains("x-subject-token:"), "{what} {lines}: {answer}");
        if lines.matches("oken:").count() > 1 || lines.contains("Bearer") {
            watch.expect("a header stands more than once");
        }
    }
}
