//! The record of logins and changes: who, when, from where, old and new; as files; and never a secret.

use crate::kit::{ADMIN_PASSWORD, Cloud, cloud, password_login, token_login};
use serde_json::{Value as Json, json};

impl Cloud {
    /// Records of an action, newest first.
    async fn records(&self, token: &str, filter: &str) -> Vec<Json> {
        let list = self.get(token, &format!("/v3/events?scope=system&limit=500&{filter}")).await.ok();
        list["events"].as_array().cloned().unwrap_or_default()
    }

    async fn export(&self, token: &str, query: &str) -> (u16, String) {
        let call = self.client.call(http::Method::GET, &format!("{}/v3/events/export?{query}", self.url)).token(token);
        let answer = call.send_any().await.expect("an answer");
        let status = answer.status;
        (status, String::from_utf8(answer.bytes(1 << 26).await.expect("a body").to_vec()).expect("text"))
    }
}

fn notes(record: &Json) -> Json {
    serde_json::from_str(record["notes"].as_str().unwrap_or("null")).expect("JSON in the notes")
}

pub async fn every_login_leaves_a_record() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    let alice = cloud.member(&admin, "alice", "demo", "project_viewer").await;
    let token = cloud.token("alice", "alice@Pass1", Some("demo")).await;

    let found = cloud.records(&admin, "action=login&obj_name=alice").await;
    let [login] = &found[..] else { panic!("one login: {found:?}") };
    assert_eq!((&login["user_id"], &login["user"], &login["tenant"]), (&json!(alice), &json!("alice"), &json!("demo")));
    assert_eq!((&login["ip"], &login["roles"], &login["obj_type"]), (&json!("127.0.0.1"), &json!("project_viewer"), &json!("user")));
    assert_eq!((&notes(login)["method"], &notes(login)["source"]), (&json!("password"), &json!("cli")));
    assert!(
        login["ops_time"].as_str().is_some_and(|t| !t.is_empty()) && login["request_id"].as_str().is_some_and(|r| !r.is_empty()),
        "{login}"
    );

    // Wrong passwords, an account that does not exist, a bad token: each with its reason, none with a name of a caller nobody proved to be.
    for (user, password, want) in [("alice", "wrong@Pass1", alice.as_str()), ("nobody", "wrong@Pass1", "")] {
        assert_eq!(cloud.login(user, password, None).await.status, 401);
        let found = cloud.records(&admin, &format!("action=login_fail&obj_name={user}")).await;
        let [refused] = &found[..] else { panic!("one refusal of {user}: {found:?}") };
        assert_eq!(refused["obj_id"].as_str().unwrap_or(""), want, "{refused}");
        assert_eq!((&refused["user_id"].as_str().unwrap_or(""), &notes(refused)["class"]), (&"", &json!("WrongPassword")), "{refused}");
    }
    let forged = cloud.send("POST", "/v3/auth/tokens", None, None, Some(token_login("rubbish", Json::Null))).await;
    assert_eq!(forged.status, 401);
    let refused = cloud.records(&admin, "action=login_fail").await;
    assert_eq!((refused.len(), &notes(&refused[0])["method"]), (3, &json!("token")));

    // Rescoping and leaving.
    cloud.send("POST", "/v3/auth/tokens", None, None, Some(token_login(&token, Json::Null))).await.ok();
    assert_eq!(cloud.records(&admin, "action=rescope").await.len(), 1);
    cloud.send("DELETE", "/v3/auth/tokens", Some(&token), Some(&token), None).await.ok();
    assert_eq!(cloud.records(&admin, "action=logout").await[0]["obj_name"], "alice");

    // Changes say what was and what is.
    cloud.put(&admin, "/v3/users/alice", json!({"user": {"email": "a@example.com"}})).await.ok();
    let change = &cloud.records(&admin, "action=update&obj_name=alice").await[0];
    assert_eq!(notes(change)["email"], json!({"old": "", "new": "a@example.com"}));
    assert_eq!((&change["user"], &change["ip"]), (&json!("sysadmin"), &json!("127.0.0.1")));

    // Everybody may look at what is his own; the rest is not there.
    cloud.member(&admin, "carol", "demo", "sys_adtadmin").await;
    let carol = cloud.token("carol", "carol@Pass1", Some("demo")).await;
    assert!(cloud.records(&carol, "action=login_fail").await.len() == 3, "the auditor sees all");
    let bob = cloud.make(&admin, "user", json!({"name": "bob", "password": "bob@Pass1"})).await;
    cloud.put(&admin, &format!("/v3/projects/demo/users/{bob}/roles/project_viewer"), json!({})).await.ok();
    let bob = cloud.token("bob", "bob@Pass1", Some("demo")).await;
    assert_eq!(cloud.get(&bob, "/v3/events?scope=system").await.status, 403);
}

pub async fn records_as_files() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let (status, text) = cloud.export(&admin, "format=jsonl").await;
    let records: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).expect("an object per line")).collect();
    let total = cloud.db.read();
    let stored = store::Read::count(&mut &*total, "events", store::Cond::True).await.expect("a count");
    assert_eq!((status, records.len() as i64), (200, stored));
    assert!(records.windows(2).all(|w| w[0]["id"].as_i64() > w[1]["id"].as_i64()), "newest first, each once");
    let (_, text) = cloud.export(&admin, "format=csv&action=login").await;
    let lines: Vec<&str> = text.trim_end().split("\r\n").collect();
    assert!(lines[0].starts_with("id,obj_type,obj_id,obj_name,action,notes,ops_time,user_id,user,"), "{}", lines[0]);
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[1].contains(",sysadmin,") && lines[1].contains("127.0.0.1"), "{}", lines[1]);
    assert_eq!(
        cloud
            .export(&admin, "format=csv&limit=3")
            .await
            .1
            .trim_end()
            .split("\r\n")
            .filter(|l| l.starts_with(|c: char| c.is_ascii_digit()))
            .count(),
        3
    );
    assert_eq!(cloud.export(&admin, "format=xls").await.0, 400);
    assert_eq!(cloud.send("GET", "/v3/events/export", None, None, None).await.status, 401);
    // A name that a spreadsheet would run.
    cloud.login("=cmd|' /C calc'!A0", "wrong@Pass1", None).await;
    let (_, text) = cloud.export(&admin, "format=csv&action=login_fail").await;
    assert!(text.contains(",'=cmd|' /C calc'!A0,"), "{text}");
}

pub async fn no_secret_in_any_record() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let alice = cloud.make(&admin, "user", json!({"name": "alice", "password": "First@Secret1"})).await;
    cloud.put(&admin, &format!("/v3/projects/system/users/{alice}/roles/project_owner"), json!({})).await.ok();
    let token = cloud.token("alice", "First@Secret1", Some("system")).await;
    cloud.put(&admin, "/v3/users/alice", json!({"user": {"password": "Second@Secret2"}})).await.ok();
    cloud.login("alice", "Third@Secret3", None).await;
    let token_again = cloud.token("alice", "Second@Secret2", Some("system")).await;
    let body = json!({"user": {"password": "Fourth@Secret4", "original_password": "Second@Secret2"}});
    cloud.post(&token_again, "/v3/users/alice/password", body).await.ok();
    let blob = json!({"secret": "fifth-secret-key-material", "expire": 0}).to_string();
    let key = cloud.make(&admin, "credential", json!({"name": "k", "type": "aksk", "blob": blob})).await;
    cloud.delete(&admin, &format!("/v3/credentials/{key}")).await.ok();
    cloud.send("POST", "/v3/auth/tokens", None, None, Some(password_login("Sixth@Secret6", "x", None))).await;
    let (_, text) = cloud.export(&admin, "format=jsonl").await;
    let hashes = store::Read::texts(&mut &cloud.db, "users", "password_hash", store::Cond::ne("password_hash", "")).await.expect("hashes");
    let mut secrets: Vec<String> =
        ["First@Secret1", "Second@Secret2", "Third@Secret3", "Fourth@Secret4", "fifth-secret-key", ADMIN_PASSWORD].map(String::from).into();
    secrets.extend([token, token_again, admin]);
    secrets.extend(hashes);
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in the records");
    }
    // The name of a login is no secret: that it was tried is what a record is for.
    assert!(text.contains("Sixth@Secret6"));
}
