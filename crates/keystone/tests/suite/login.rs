//! Logins and tokens: every row of the failure table, scopes, chains, revocation, time.

use crate::kit::{ADMIN_PASSWORD, Cloud, Place, cloud, cloud_on, cloud_with, config, password_login, token_login};
use base::{Clock, Json, Timestamp};
use serde_json::json;
use std::time::Duration;
use store::Db;

async fn try_login(cloud: &Cloud, body: Json) -> (u16, String) {
    let answer = cloud.send("POST", "/v3/auth/tokens", None, None, Some(body)).await;
    assert_eq!(answer.subject.is_some(), answer.status == 200, "{}", answer.body);
    (answer.status, answer.body["class"].as_str().unwrap_or("").to_string())
}

pub async fn what_a_token_answer_holds() {
    let cloud = cloud().await;
    let answer = cloud.login("sysadmin", ADMIN_PASSWORD, Some("system")).await;
    let token = &answer.body["token"];
    assert_eq!(answer.body["id"].as_str(), answer.subject.as_deref());
    assert!(answer.subject.as_deref().is_some_and(|t| t.len() < 2048));
    for key in ["expires_at", "issued_at"] {
        let text = token[key].as_str().expect("a time");
        // One client reads exactly this form and refuses tokens that live a minute or less.
        assert!(text.len() == 27 && text.ends_with('Z') && text.as_bytes()[19] == b'.', "{text}");
    }
    assert_eq!(token["methods"], json!(["password"]));
    assert_eq!(token["is_domain"], false);
    assert_eq!(token["project"]["name"], "system");
    assert_eq!(token["project"]["domain"], json!({"id": "default", "name": "Default"}));
    assert_eq!(token["roles"][0]["name"], "admin");
    assert_eq!(token["policies"], json!({"system": ["sysadmin"]}));
    assert_eq!(token["context"], json!({"source": "cli", "ip": "127.0.0.1"}));
    let catalog = token["catalog"].as_array().expect("a catalogue");
    let mut types: Vec<&str> = catalog.iter().filter_map(|s| s["type"].as_str()).collect();
    types.sort_unstable();
    assert_eq!(types, ["compute_v2", "identity", "image"], "services without endpoints are not in it");
    let identity = catalog.iter().find(|s| s["type"] == "identity").expect("identity");
    assert!(identity["endpoints"].as_array().expect("endpoints").iter().all(|e| e["url"].as_str().is_some_and(|u| u.ends_with("/v3"))));
}

pub async fn who_cannot_log_in() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let alice = cloud.member(&admin, "alice", "system", "project_viewer").await;
    let login = |user: &str, password: &str, project: Option<&str>| try_login(&cloud, password_login(user, password, project)).boxed();
    let refused = |code: u16, class: &str| (code, class.to_string());

    assert_eq!(login("alice", "alice@Pass1", Some("system")).await.0, 200);
    // An unknown user and a wrong password are not told apart.
    assert_eq!(login("alice", "wrong", None).await, refused(401, "WrongPassword"));
    assert_eq!(login("nobody", "wrong", None).await, refused(401, "WrongPassword"));
    assert_eq!(login("alice", "", None).await, refused(401, "WrongPassword"));
    assert_eq!(login("alice", &"x".repeat(5000), None).await, refused(401, "WrongPassword"));
    // So are an unknown project, one of others, and a disabled one.
    let demo = cloud.make(&admin, "project", json!({"name": "demo"})).await;
    assert_eq!(login("alice", "alice@Pass1", Some("nowhere")).await, refused(401, "UnauthorizedError"));
    assert_eq!(login("alice", "alice@Pass1", Some("demo")).await, refused(401, "UnauthorizedError"));
    cloud.put(&admin, &format!("/v3/projects/{demo}/users/{alice}/roles/project_viewer"), json!({})).await.ok();
    assert_eq!(login("alice", "alice@Pass1", Some("demo")).await.0, 200);
    cloud.put(&admin, &format!("/v3/projects/{demo}"), json!({"project": {"enabled": false}})).await.ok();
    assert_eq!(login("alice", "alice@Pass1", Some("demo")).await, refused(401, "UnauthorizedError"));

    cloud.post(&admin, "/v3/users/alice/disable", json!({})).await.ok();
    assert_eq!(login("alice", "alice@Pass1", None).await, refused(423, "UserDisabled"));
    assert_eq!(login("alice", "wrong", None).await, refused(401, "WrongPassword"), "only who knows the password learns it");
    cloud.post(&admin, "/v3/users/alice/enable", json!({})).await.ok();
    cloud.put(&admin, "/v3/users/alice", json!({"user": {"expired_at": "2020-01-01T00:00:00Z"}})).await.ok();
    assert_eq!(login("alice", "alice@Pass1", None).await, refused(401, "UnauthorizedError"));

    // A disabled domain shuts its users out.
    let other = cloud.make(&admin, "domain", json!({"name": "other"})).await;
    cloud.make(&admin, "user", json!({"name": "bob", "password": "bob@Pass1", "domain_id": other})).await;
    let bob = |domain: Json| json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "bob", "password": "bob@Pass1", "domain": domain}}}}});
    assert_eq!(try_login(&cloud, bob(json!({"name": "other"}))).await.0, 200);
    assert_eq!(try_login(&cloud, bob(json!({"id": other}))).await.0, 200);
    assert_eq!(try_login(&cloud, bob(json!({}))).await.0, 200, "the only bob there is");
    assert_eq!(try_login(&cloud, bob(json!({"name": "nowhere"}))).await, refused(401, "WrongPassword"));
    cloud.make(&admin, "user", json!({"name": "bob", "password": "bob@Pass1"})).await;
    // A name of two is nobody's without its domain.
    assert_eq!(try_login(&cloud, bob(json!({}))).await, refused(401, "WrongPassword"));
    cloud.put(&admin, &format!("/v3/domains/{other}"), json!({"domain": {"enabled": false}})).await.ok();
    assert_eq!(try_login(&cloud, bob(json!({"name": "other"}))).await, refused(423, "UserDisabled"));

    // Requests that are none.
    let identity = |identity: Json| try_login(&cloud, json!({"auth": {"identity": identity}})).boxed();
    assert_eq!(identity(json!({"methods": ["saml"]})).await, refused(400, "InputParameterError"));
    assert_eq!(identity(json!({"methods": ["password", "token"]})).await, refused(401, "UnauthorizedError"));
    assert_eq!(identity(json!({})).await, refused(401, "UnauthorizedError"));
    assert_eq!(identity(json!({"methods": ["password"]})).await, refused(400, "InputParameterError"));
    assert_eq!(identity(json!({"methods": ["token"], "token": {"id": "rubbish"}})).await, refused(401, "UnauthorizedError"));
    assert_eq!(try_login(&cloud, json!({"auth": 5})).await, refused(400, "InputParameterError"));
    assert_eq!(try_login(&cloud, json!([])).await, refused(400, "InputParameterError"));
}

use std::{future::Future, pin::Pin};
trait Boxed: Future + Sized {
    fn boxed<'a>(self) -> Pin<Box<dyn Future<Output = Self::Output> + 'a>>
    where
        Self: 'a,
    {
        Box::pin(self)
    }
}
impl<F: Future> Boxed for F {}

pub async fn too_many_wrong_passwords_lock() {
    let cloud = cloud_with(keystone::Config { password_error_lock_count: 2, ..config() }, Clock::real()).await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "user", json!({"name": "alice", "password": "alice@Pass1"})).await;
    let session = cloud.token("alice", "alice@Pass1", None).await;
    for (password, want) in [
        ("no", (401, "WrongPassword")),
        ("no", (401, "WrongPassword")),
        ("no", (429, "TooManyFailedAttempts")),
        ("alice@Pass1", (423, "UserLocked")),
        ("no", (423, "UserLocked")),
    ] {
        assert_eq!(cloud.login("alice", password, None).await.refusal(), want, "{password}");
    }
    assert_eq!(cloud.get(&session, "/v3/users/alice").await.status, 403, "the lock voids sessions");
    let shown = cloud.get(&admin, "/v3/users/alice").await.ok();
    assert_eq!((&shown["user"]["failed_auth_count"], &shown["user"]["enabled"]), (&json!(3), &json!(false)));
    cloud.post(&admin, "/v3/users/alice/enable", json!({})).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/users/alice").await.ok()["user"]["failed_auth_count"], 0);
    cloud.token("alice", "alice@Pass1", None).await;
    // The platform's own accounts are never locked out.
    for _ in 0..5 {
        assert_eq!(cloud.login("sysadmin", "no", None).await.refusal(), (401, "WrongPassword"));
    }
    cloud.admin().await;
}

pub async fn unscoped_first_then_a_project() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let demo = cloud.make(&admin, "project", json!({"name": "demo"})).await;
    let alice = cloud.member(&admin, "alice", "demo", "project_owner").await;
    cloud.put(&admin, &format!("/v3/projects/system/users/{alice}/roles/project_viewer"), json!({})).await.ok();

    let unscoped = cloud.login("alice", "alice@Pass1", None).await;
    let token = &unscoped.body["token"];
    for key in ["catalog", "roles", "policies", "project"] {
        assert!(token.get(key).is_none(), "{key}: {token}");
    }
    let projects: Vec<&str> = token["projects"].as_array().expect("projects").iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(projects, ["demo", "system"]);
    let assigned = token["role_assignments"].as_array().expect("assignments");
    let owner = assigned.iter().find(|a| a["role"]["name"] == "project_owner").expect("the role");
    assert_eq!(owner["scope"]["project"]["id"], json!(demo));
    assert_eq!(owner["policies"], json!({"project": ["project-admin"]}));
    assert_eq!(owner["user"]["name"], "alice");

    let subject = unscoped.subject.expect("a token");
    let answer = cloud.send("POST", "/v3/auth/tokens", None, None, Some(token_login(&subject, json!({"project": {"id": demo}})))).await;
    assert_eq!(answer.body["token"]["project"]["name"], "demo");
    assert_eq!(answer.body["token"]["methods"], json!(["token"]));
    let (parent, child) = (&token["audit_ids"], &answer.body["token"]["audit_ids"]);
    assert_eq!((parent.as_array().map(Vec::len), child.as_array().map(Vec::len)), (Some(1), Some(2)));
    assert_eq!(parent[0], child[0], "the chain goes on");
    assert_eq!(answer.body["token"]["expires_at"], token["expires_at"], "a token made from a token does not live longer");
    assert_eq!(answer.body["token"]["context"], token["context"]);

    // Revoking the parent voids the child; the sibling login stays.
    let child = answer.subject.expect("a token");
    let sibling = cloud.token("alice", "alice@Pass1", Some("demo")).await;
    assert_eq!(cloud.get(&child, "/v3/projects/demo").await.status, 200);
    cloud.send("DELETE", "/v3/auth/tokens", Some(&subject), Some(&subject), None).await.ok();
    assert_eq!(cloud.get(&child, "/v3/projects/demo").await.status, 403);
    assert_eq!(try_login(&cloud, token_login(&child, json!({"project": {"id": demo}}))).await.0, 401);
    assert_eq!(cloud.get(&sibling, "/v3/projects/demo").await.status, 200);
    assert_eq!(cloud.get(&admin, "/v3/auth/tokens/invalid").await.ok()["tokens"], json!([subject]));
}

pub async fn scopes_of_openstack_and_domains() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let login = |scope: Json| {
        let mut body = password_login("sysadmin", ADMIN_PASSWORD, None);
        body["auth"]["scope"] = scope;
        cloud.send("POST", "/v3/auth/tokens", None, None, Some(body)).boxed()
    };
    assert_eq!(login(json!({"system": {"all": true}})).await.ok()["token"]["project"]["name"], "system");
    assert!(login(json!("unscoped")).await.ok()["token"].get("project").is_none());
    assert_eq!(
        login(json!({"project": {"name": "system", "domain": {"id": "Default"}}})).await.status,
        200,
        "a name under the key of the id"
    );
    // A role in a domain opens a domain token and no project.
    assert_eq!(login(json!({"domain": {"id": "default"}})).await.status, 401);
    cloud.put(&admin, "/v3/domains/default/users/sysadmin/roles/domainadmin", json!({})).await.ok();
    let answer = login(json!({"domain": {"name": "Default"}})).await;
    assert_eq!(answer.body["token"]["is_domain"], true);
    assert_eq!(answer.body["token"]["project"]["id"], "default");
    assert_eq!(answer.body["token"]["policies"], json!({"domain": ["domain-admin"]}));
    let token = answer.subject.expect("a token");
    assert_eq!(cloud.get(&token, "/v3/users?system=true").await.status, 200);
}

pub async fn verifying_and_revoking() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    cloud.member(&admin, "alice", "system", "project_viewer").await;
    cloud.member(&admin, "bob", "system", "project_viewer").await;
    let alice = cloud.token("alice", "alice@Pass1", Some("system")).await;
    let bob = cloud.token("bob", "bob@Pass1", Some("system")).await;
    let service = cloud.token("regionadmin", crate::kit::SERVICE_PASSWORD, Some("system")).await;
    let verify = |token: Option<&str>, subject: Option<&str>| {
        let (token, subject) = (token.map(str::to_string), subject.map(str::to_string));
        let cloud = &cloud;
        async move { cloud.send("GET", "/v3/auth/tokens", token.as_deref(), subject.as_deref(), None).await }
    };
    let answer = verify(Some(&service), Some(&alice)).await;
    assert_eq!(answer.subject.as_deref(), Some(alice.as_str()));
    assert!(answer.body.get("id").is_none(), "only an issue answers it");
    assert_eq!(answer.body["token"]["user"]["name"], "alice");
    assert!(answer.body["token"]["catalog"].is_array());
    assert_eq!(verify(Some(&alice), Some(&alice)).await.status, 200, "one's own");
    assert_eq!(verify(Some(&bob), Some(&alice)).await.refusal(), (403, "ForbiddenError"));
    assert_eq!(verify(None, Some(&alice)).await.refusal(), (401, "UnauthorizedError"));
    assert_eq!(verify(Some("rubbish"), Some(&alice)).await.refusal(), (401, "UnauthorizedError"));
    assert_eq!(verify(Some(&service), Some("rubbish")).await.refusal(), (401, "InvalidCredentialError"));
    assert_eq!(verify(Some(&service), None).await.refusal(), (400, "InputParameterError"));

    let revoke = |token: &str, subject: &str| {
        let (token, subject) = (token.to_string(), subject.to_string());
        let cloud = &cloud;
        async move { cloud.send("DELETE", "/v3/auth/tokens", Some(&token), Some(&subject), None).await }
    };
    assert_eq!(revoke(&bob, &alice).await.refusal(), (403, "ForbiddenError"));
    revoke(&admin, &alice).await.ok();
    assert_eq!(verify(Some(&service), Some(&alice)).await.refusal(), (401, "InvalidCredentialError"), "at once");
    revoke(&bob, &bob).await.ok();
    assert_eq!(verify(Some(&bob), Some(&bob)).await.refusal(), (401, "UnauthorizedError"));
    assert_eq!(cloud.get(&admin, "/v3/auth/tokens/invalid").await.ok()["tokens"].as_array().map(Vec::len), Some(2));
    let guest = cloud.send("GET", "/v3/auth/tokens/invalid", None, None, None).await;
    assert_eq!(guest.refusal(), (401, "UnauthorizedError"));
}

pub async fn what_voids_tokens() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    let group = cloud.make(&admin, "group", json!({"name": "team"})).await;
    cloud.put(&admin, &format!("/v3/projects/demo/groups/{group}/roles/project_editor"), json!({})).await.ok();
    let fresh = |name: &'static str| {
        let (cloud, admin) = (&cloud, &admin);
        async move {
            cloud.member(admin, name, "demo", "project_viewer").await;
            cloud.put(admin, &format!("/v3/groups/team/users/{name}"), json!({})).await.ok();
            let password = format!("{name}@Pass1");
            let token = cloud.token(name, &password, Some("demo")).await;
            assert_eq!(cloud.get(&token, "/v3/projects/demo").await.status, 200);
            token
        }
    };
    let void = |token: String, why: &'static str| {
        let cloud = &cloud;
        async move { assert_eq!(cloud.get(&token, "/v3/projects/demo").await.refusal(), (403, "ForbiddenError"), "{why}") }
    };

    let token = fresh("u1").await;
    cloud.post(&admin, "/v3/users/u1/disable", json!({})).await.ok();
    void(token, "disabled").await;

    let token = fresh("u2").await;
    cloud.delete(&admin, "/v3/users/u2").await.ok();
    void(token, "deleted").await;

    let token = fresh("u3").await;
    cloud.put(&token, "/v3/users/u3", json!({"user": {"password": "Another@Pass3"}})).await.ok();
    void(token, "a new password").await;
    cloud.token("u3", "Another@Pass3", Some("demo")).await;

    let token = fresh("u4").await;
    cloud.delete(&admin, "/v3/projects/demo/users/u4/roles/project_viewer").await.ok();
    void(token, "a role taken away").await;
    let token = cloud.token("u4", "u4@Pass1", Some("demo")).await;
    cloud.delete(&admin, "/v3/groups/team/users/u4").await.ok();
    void(token, "out of the group").await;
    assert_eq!(cloud.login("u4", "u4@Pass1", Some("demo")).await.status, 401, "nothing is left in the project");

    let token = fresh("u5").await;
    cloud.delete(&admin, "/v3/projects/demo/groups/team/roles/project_editor").await.ok();
    void(token, "the group's role taken away").await;

    let token = fresh("u6").await;
    cloud.put(&admin, "/v3/projects/demo", json!({"project": {"enabled": false}})).await.ok();
    void(token, "the project disabled").await;
}

pub async fn tokens_run_out_and_keys_change() {
    let clock = Clock::manual(Timestamp::parse("2026-02-03T04:05:06.789Z").expect("a time"));
    let place = Place::new().await;
    let open = || Db::open_with(&place.url, clock.clone());
    let cloud = cloud_on(open().await.expect("a database"), config(), clock.clone()).await;
    let admin = cloud.admin().await;
    let ends = cloud.get(&admin, "/v3/auth/keys").await.ok();
    assert_eq!(ends["keys"].as_array().map(Vec::len), Some(1));
    let answer = cloud.login("sysadmin", ADMIN_PASSWORD, Some("system")).await;
    assert_eq!(answer.body["token"]["expires_at"], "2026-02-04T04:05:06.789000Z");
    clock.advance(Duration::from_secs(86_399));
    assert_eq!(cloud.get(&admin, "/v3/users").await.status, 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(cloud.get(&admin, "/v3/users").await.refusal(), (403, "ForbiddenError"));
    assert_eq!(try_login(&cloud, token_login(&admin, json!("unscoped"))).await.0, 401);

    // An account that ends sooner ends its tokens with it.
    let admin = cloud.admin().await;
    cloud.make(&admin, "user", json!({"name": "guest", "password": "guest@Pass1", "expired_at": "2026-02-04T06:00:00Z"})).await;
    assert_eq!(cloud.login("guest", "guest@Pass1", None).await.body["token"]["expires_at"], "2026-02-04T06:00:00.000000Z");
    drop(cloud);

    // A month later: the next key is published first, and signs an hour after; tokens of the old one stay good.
    clock.advance(Duration::from_secs(31 * 86_400));
    let cloud = cloud_on(open().await.expect("a database"), config(), clock.clone()).await;
    let old = cloud.admin().await;
    let key = |token: &str| token.split('.').next().expect("a key id").to_string();
    assert_eq!(cloud.get(&old, "/v3/auth/keys").await.ok()["keys"].as_array().map(Vec::len), Some(2));
    clock.advance(Duration::from_secs(3700));
    let again = cloud_on(open().await.expect("a database"), config(), clock.clone()).await;
    let new = again.admin().await;
    assert_ne!(key(&old), key(&new));
    for token in [&old, &new] {
        assert_eq!(again.get(token, "/v3/users").await.status, 200);
        assert_eq!(cloud.get(token, "/v3/users").await.status, 200, "another replica knows both");
    }
}

pub async fn access_keys() {
    let watch = telemetry::testing::Watch::start();
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let demo = cloud.make(&admin, "project", json!({"name": "demo"})).await;
    cloud.member(&admin, "alice", "demo", "project_owner").await;
    let alice = cloud.token("alice", "alice@Pass1", Some("demo")).await;
    let secret = "abcdefghijklmnopqrstuvwxyz012345";
    let key = cloud.make(&alice, "credential", json!({"type": "aksk", "blob": json!({"secret": secret, "expire": 0}).to_string()})).await;
    let signed = |secret: &str, at: Timestamp| {
        let (day, request) = string_to_sign(at);
        let signature = sign(secret, &day, &request);
        let inner = json!({"algorithm": "AWS4-HMAC-SHA256", "access_key": key, "location": "cn-beijing", "signed_headers": ["host"],
            "sign_date": at.to_string(), "request": request, "signature": signature});
        json!({"auth": {"identity": {"methods": ["aksk"], "access_key_secret": inner.to_string()}, "scope": {"project": {"name": "system"}}}})
    };
    let now = cloud.clock.now();
    let answer = cloud.send("POST", "/v3/auth/tokens", None, None, Some(signed(secret, now))).await;
    let subject = answer.subject.clone().expect("a token");
    let token = answer.ok()["token"].clone();
    assert_eq!(token["project"]["id"], json!(demo), "the key's project, not the one asked for");
    assert_eq!(token["access_key"], json!({"access_key": key, "secret": secret, "expire": 0}));
    assert_eq!(token["audit_ids"][0], json!(key));
    assert_eq!(try_login(&cloud, signed("wrong-secret-wrong-secret", now)).await.0, 401);
    assert_eq!(try_login(&cloud, signed(secret, now.plus_secs(-1000))).await.0, 401, "caught and replayed later");
    let mut moved = signed(secret, now.plus_secs(-1000));
    let inner = moved["auth"]["identity"]["access_key_secret"].as_str().expect("a text").to_string();
    let mut inner: Json = serde_json::from_str(&inner).expect("json");
    inner["sign_date"] = json!(now.to_string());
    moved["auth"]["identity"]["access_key_secret"] = json!(inner.to_string());
    assert_eq!(try_login(&cloud, moved).await.0, 401, "a new date beside the old signature");
    watch.expect("the date of the signature is too far from now");

    // Disabling blocks new logins; deleting kills the tokens as well, those made from them too.
    let derived = cloud.send("POST", "/v3/auth/tokens", None, None, Some(token_login(&subject, json!("unscoped")))).await;
    assert_eq!(derived.body["token"]["project"]["id"], json!(demo), "no detour out of the key's project");
    let derived = derived.subject.expect("a token");
    cloud.post(&alice, &format!("/v3/credentials/{key}/disable"), json!({})).await.ok();
    assert_eq!(try_login(&cloud, signed(secret, now)).await.0, 401);
    assert_eq!(cloud.get(&subject, "/v3/projects/demo").await.status, 200);
    cloud.delete(&alice, &format!("/v3/credentials/{key}")).await.ok();
    assert_eq!(cloud.get(&subject, "/v3/projects/demo").await.status, 403);
    assert_eq!(cloud.get(&derived, "/v3/projects/demo").await.status, 403);
}

fn string_to_sign(at: Timestamp) -> (String, String) {
    let compact: String = at.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let stamp = format!("{}Z", &compact[..15]);
    let day = stamp[..8].to_string();
    (day.clone(), format!("AWS4-HMAC-SHA256\n{stamp}\n{day}/cn-beijing/s3/aws4_request\n{}", "0".repeat(64)))
}

fn sign(secret: &str, day: &str, request: &str) -> String {
    use ring::hmac::{HMAC_SHA256, Key, sign};
    let mut key = Key::new(HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    for step in [day, "cn-beijing", "s3", "aws4_request"] {
        key = Key::new(HMAC_SHA256, sign(&key, step.as_bytes()).as_ref());
    }
    hex::encode(sign(&key, request.as_bytes()))
}
