//! Application credentials.

use crate::kit::{Answer, Cloud, cloud, cloud_with, config, token_login};
use base::{Clock, Json, Timestamp};
use serde_json::json;
use std::time::Duration;

pub async fn log_in(cloud: &Cloud, credential: Json) -> Answer {
    let body = json!({"auth": {"identity": {"methods": ["application_credential"], "application_credential": credential}}});
    cloud.send("POST", "/v3/auth/tokens", None, None, Some(body)).await
}

struct House {
    cloud: Cloud,
    admin: String,
    alice: String,
    /// Alice's token, with two roles in the project demo.
    token: String,
}

async fn house() -> House {
    of(cloud().await).await
}

async fn of(cloud: Cloud) -> House {
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    let alice = cloud.member(&admin, "alice", "demo", "project_owner").await;
    cloud.put(&admin, &format!("/v3/projects/demo/users/{alice}/roles/project_viewer"), json!({})).await.ok();
    let token = cloud.token("alice", "alice@Pass1", Some("demo")).await;
    House { cloud, admin, alice, token }
}

impl House {
    async fn try_make(&self, token: &str, wish: Json) -> Answer {
        self.cloud.post(token, &format!("/v3/users/{}/application_credentials", self.alice), json!({"application_credential": wish})).await
    }

    /// What is made, with its secret.
    async fn make(&self, wish: Json) -> Json {
        let answer = self.try_make(&self.token, wish).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["application_credential"].clone()
    }

    async fn token_of(&self, made: &Json) -> String {
        let answer = log_in(&self.cloud, json!({"id": made["id"], "secret": made["secret"]})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.subject.expect("a token")
    }
}

pub async fn what_a_program_works_with() {
    let h = house().await;
    let made = h.make(json!({"name": "backup", "description": "nightly", "roles": [{"name": "project_viewer"}], "expires_at": null})).await;
    assert_eq!(made["roles"].as_array().map(Vec::len), Some(1));
    assert_eq!((&made["user_id"], &made["unrestricted"]), (&json!(h.alice), &json!(false)));
    assert!(made.get("secret_hash").is_none());

    let answer = log_in(&h.cloud, json!({"id": made["id"], "secret": made["secret"]})).await;
    let token = &answer.body["token"];
    assert_eq!(token["methods"], json!(["application_credential"]));
    assert_eq!(token["project"]["name"], "demo");
    assert_eq!(token["roles"].as_array().map(Vec::len), Some(1));
    assert_eq!(token["roles"][0]["name"], "project_viewer");
    assert_eq!(token["audit_ids"][0], made["id"]);
    let token = answer.subject.expect("a token");
    h.cloud.get(&token, "/v3/projects/demo").await.ok();

    // By name, with the user it belongs to.
    let by_name = |secret: &Json| json!({"name": "backup", "user": {"name": "alice", "domain": {"id": "default"}}, "secret": secret});
    assert_eq!(log_in(&h.cloud, by_name(&made["secret"])).await.status, 200);
    for wrong in [
        by_name(&json!("not-the-secret-at-all")),
        by_name(&json!("")),
        json!({"id": made["id"], "secret": "not-the-secret-at-all"}),
        json!({"id": "nothing", "secret": made["secret"]}),
        json!({"name": "backup", "user": {"name": "bob", "domain": {"id": "default"}}, "secret": made["secret"]}),
    ] {
        assert_eq!(log_in(&h.cloud, wrong.clone()).await.refusal(), (401, "UnauthorizedError"), "{wrong}");
    }
    assert_eq!(log_in(&h.cloud, json!({"secret": "x"})).await.refusal(), (400, "InputParameterError"));

    // Listed without its secret; by its user and as a resource of its own.
    for path in [format!("/v3/users/{}/application_credentials", h.alice), "/v3/application_credentials?scope=user".to_string()] {
        let list = h.cloud.get(&h.token, &path).await.ok();
        assert_eq!(list["application_credentials"].as_array().map(Vec::len), Some(1), "{path}: {list}");
        assert!(!list.to_string().contains(made["secret"].as_str().expect("a secret")), "{path}");
    }
    let path = format!("/v3/users/{}/application_credentials/{}", h.alice, made["id"].as_str().expect("an id"));
    assert_eq!(h.cloud.get(&h.token, &path).await.ok()["application_credential"]["name"], "backup");
    assert_eq!(h.try_make(&h.token, json!({"name": "backup"})).await.refusal().0, 409, "the name is taken");

    // A role its owner loses is lost to it as well; then it is good for nothing.
    h.cloud.delete(&h.admin, "/v3/projects/demo/users/alice/roles/project_viewer").await.ok();
    assert_eq!(h.cloud.get(&token, "/v3/projects/demo").await.status, 403);
    assert_eq!(log_in(&h.cloud, json!({"id": made["id"], "secret": made["secret"]})).await.refusal(), (401, "UnauthorizedError"));
    h.cloud.put(&h.admin, "/v3/projects/demo/users/alice/roles/project_viewer", json!({})).await.ok();

    // Deleting it voids its tokens, those made from them too.
    let token = h.token_of(&made).await;
    let derived = h.cloud.send("POST", "/v3/auth/tokens", None, None, Some(token_login(&token, json!("unscoped")))).await;
    assert_eq!(derived.body["token"]["project"]["name"], "demo", "no detour out of its project");
    assert_eq!(derived.body["token"]["roles"].as_array().map(Vec::len), Some(1), "nor to more roles");
    let derived = derived.subject.expect("a token");
    let fresh = h.cloud.token("alice", "alice@Pass1", Some("demo")).await;
    assert_eq!(h.cloud.delete(&fresh, &path).await.status, 204);
    for token in [token, derived] {
        assert_eq!(h.cloud.get(&token, "/v3/projects/demo").await.status, 403);
    }
    assert_eq!(log_in(&h.cloud, json!({"id": made["id"], "secret": made["secret"]})).await.refusal(), (401, "UnauthorizedError"));
}

pub async fn what_it_is_kept_from() {
    let h = house().await;
    h.cloud.make(&h.token, "credential", json!({"type": "aksk", "blob": json!({"secret": "s".repeat(32), "expire": 0}).to_string()})).await;
    // Naming a user widens the list to that user's, as far as one may look.
    let key = json!({"type": "aksk", "blob": json!({"secret": "t".repeat(32)}).to_string()});
    let admins = h.cloud.post(&h.admin, "/v3/credentials", json!({ "credential": key })).await.ok()["credential"].clone();
    let keys_of = |user: &str| format!("/v3/credentials?type=aksk&user_id={user}");
    assert_eq!(h.cloud.get(&h.admin, &keys_of(&h.alice)).await.ok()["total"], 1);
    assert_eq!(h.cloud.get(&h.token, &keys_of(admins["user_id"].as_str().expect("an id"))).await.ok()["total"], Json::Null);
    let credential = h.make(json!({"name": "bound"})).await;
    let bound = h.token_of(&credential).await;
    let other = h.make(json!({"name": "other"})).await;
    let path_of = |made: &Json| format!("/v3/application_credentials/{}", made["id"].as_str().expect("an id"));
    let forbidden = [
        ("GET", "/v3/credentials".to_string(), json!({})),
        ("POST", "/v3/credentials".to_string(), json!({"credential": {"type": "aksk", "blob": "{}"}})),
        ("POST", format!("/v3/users/{}/application_credentials", h.alice), json!({"application_credential": {"name": "more"}})),
        ("POST", "/v3/application_credentials".to_string(), json!({"application_credential": {"name": "more"}})),
        ("DELETE", path_of(&other), json!({})),
        ("GET", format!("/v3/users/{}/credentials/OS-EC2", h.alice), json!({})),
        ("POST", format!("/v3/users/{}/credentials/OS-EC2", h.alice), json!({})),
        ("PUT", format!("/v3/users/{}", h.alice), json!({"user": {"email": "x@example.com"}})),
        (
            "POST",
            format!("/v3/users/{}/password", h.alice),
            json!({"user": {"password": "Other@Pass1", "original_password": "alice@Pass1"}}),
        ),
        ("POST", format!("/v3/users/{}/second_factor", h.alice), json!({"second_factor": {"password": "alice@Pass1"}})),
    ];
    for (method, path, body) in &forbidden {
        let answer = h.cloud.send(method, path, Some(&bound), None, Some(body.clone())).await;
        assert_eq!(answer.refusal(), (403, "ForbiddenError"), "{method} {path}");
    }
    h.cloud.get(&bound, "/v3/auth/catalog").await.ok();
    // Itself it may give up, as a program does that logs out for good.
    h.cloud.delete(&bound, &path_of(&credential)).await.ok();
    assert_eq!(h.cloud.get(&bound, "/v3/auth/catalog").await.status, 401);
    let free = h.token_of(&h.make(json!({"name": "free", "unrestricted": true})).await).await;
    h.cloud.get(&free, "/v3/credentials").await.ok();
    assert_eq!(h.try_make(&free, json!({"name": "by the other"})).await.status, 201);

    // Time: it ends, and its tokens do not outlive it.
    let clock = Clock::manual(Timestamp::parse("2026-02-03T04:00:00Z").expect("a time"));
    let h = of(cloud_with(config(), clock.clone()).await).await;
    let made = h.make(json!({"name": "short", "expires_at": "2026-02-03T05:00:00.000000"})).await;
    let answer = log_in(&h.cloud, json!({"id": made["id"], "secret": made["secret"]})).await;
    assert_eq!(answer.body["token"]["expires_at"], "2026-02-03T05:00:00.000000Z", "{}", answer.body);
    clock.advance(Duration::from_secs(3600));
    assert_eq!(log_in(&h.cloud, json!({"id": made["id"], "secret": made["secret"]})).await.refusal(), (401, "UnauthorizedError"));
    assert_eq!(h.try_make(&h.token, json!({"name": "late", "expires_at": "2026-02-03T04:30:00Z"})).await.refusal().0, 400);
}

pub async fn rules_of_its_requests() {
    let h = house().await;
    let wish = json!({"name": "reader", "unrestricted": true, "access_rules": [
        {"service": "identity", "method": "GET", "path": "/v3/projects"},
        {"service": "identity", "method": "get", "path": "/v3/projects/*"},
        {"service": "compute", "method": "GET", "path": "/servers/**"}]});
    let made = h.make(wish).await;
    let rule = &made["access_rules"][1];
    assert_eq!((&rule["method"], rule["id"].as_str().map(str::len)), (&json!("GET"), Some(32)));
    let token = h.token_of(&made).await;
    h.cloud.get(&token, "/v3/projects").await.ok();
    h.cloud.get(&token, "/v3/projects/demo").await.ok();
    assert_eq!(h.cloud.get(&token, "/v3/projects/demo/users").await.refusal(), (403, "ForbiddenError"));
    assert_eq!(h.cloud.get(&token, "/v3/users").await.refusal(), (403, "ForbiddenError"));
    assert_eq!(h.cloud.put(&token, "/v3/projects/demo", json!({"project": {"description": "x"}})).await.refusal(), (403, "ForbiddenError"));
    // Rules stay with whatever is made from the token, and other services see them in it.
    let derived =
        h.cloud.send("POST", "/v3/auth/tokens", None, None, Some(token_login(&token, json!("unscoped")))).await.subject.expect("a token");
    assert_eq!(h.cloud.get(&derived, "/v3/users").await.refusal(), (403, "ForbiddenError"));
    let claims = h.cloud.keystone.verifier.verify(&derived).expect("a token");
    let limits = claims.limits.as_ref().expect("limits");
    assert!(limits.allow("compute", "GET", &["servers", "a", "console"]) && !limits.allow("compute", "POST", &["servers"]));

    let rules = h.cloud.get(&h.token, &format!("/v3/users/{}/access_rules", h.alice)).await.ok();
    assert_eq!(rules["access_rules"].as_array().map(Vec::len), Some(3));
    let path = format!("/v3/users/{}/access_rules/{}", h.alice, rule["id"].as_str().expect("an id"));
    assert_eq!(h.cloud.get(&h.token, &path).await.ok()["access_rule"]["path"], "/v3/projects/*");
    assert_eq!(h.cloud.delete(&h.token, &path).await.refusal(), (403, "ForbiddenError"), "in use");

    for bad in [
        json!([{"service": "identity", "method": "GET"}]),
        json!([{"service": "identity", "method": "LOOK", "path": "/"}]),
        json!([{"service": "identity", "method": "GET", "path": "v3"}]),
        json!("all"),
    ] {
        assert_eq!(
            h.try_make(&h.token, json!({"name": "bad", "access_rules": bad})).await.refusal(),
            (400, "InputParameterError"),
            "{bad}"
        );
    }
    let many: Vec<Json> = (0..60).map(|i| json!({"service": "compute", "method": "GET", "path": format!("/servers/{i}")})).collect();
    assert_eq!(h.try_make(&h.token, json!({"name": "many", "access_rules": many})).await.refusal(), (400, "OutOfLimit"));
}

pub async fn who_may_make_them() {
    let h = house().await;
    let of_alice = format!("/v3/users/{}/application_credentials", h.alice);
    let wish = json!({"application_credential": {"name": "x"}});
    assert_eq!(h.cloud.post(&h.admin, &of_alice, wish.clone()).await.refusal(), (403, "ForbiddenError"), "not even the administrator");
    assert_eq!(h.cloud.send("POST", &of_alice, None, None, Some(wish.clone())).await.refusal(), (401, "UnauthorizedError"));
    let unscoped = h.cloud.token("alice", "alice@Pass1", None).await;
    assert_eq!(h.cloud.post(&unscoped, &of_alice, wish).await.refusal(), (400, "InvalidStatusError"));
    assert_eq!(
        h.try_make(&h.token, json!({"name": "x", "roles": [{"name": "admin"}]})).await.refusal(),
        (403, "ForbiddenError"),
        "not hers"
    );
    assert_eq!(h.try_make(&h.token, json!({"name": "x", "secret": "short"})).await.refusal(), (400, "WeakPasswordError"));
    let made = h.make(json!({"name": "own secret", "secret": "a-secret-of-my-own-choice"})).await;
    assert_eq!(made["secret"], "a-secret-of-my-own-choice");
    let id = made["id"].as_str().expect("an id");
    assert_eq!(
        h.cloud.put(&h.token, &format!("/v3/application_credentials/{id}"), json!({"application_credential": {"name": "y"}})).await.status,
        406
    );
    // Somebody else sees nothing of it; the administrator does, and may take it away.
    h.cloud.member(&h.admin, "bob", "demo", "project_owner").await;
    let bob = h.cloud.token("bob", "bob@Pass1", Some("demo")).await;
    assert_eq!(h.cloud.get(&bob, &format!("/v3/application_credentials/{id}")).await.status, 404);
    assert_eq!(h.cloud.get(&bob, &format!("/v3/users/{}/access_rules", h.alice)).await.refusal().0, 403);
    assert_eq!(h.cloud.delete(&h.admin, &format!("{of_alice}/{id}")).await.status, 204);
}
