//! The second factor.

use crate::kit::{Answer, Cloud, cloud_with, config, password_login};
use auth::totp;
use base::{Clock, Json, Timestamp};
use serde_json::json;
use std::time::Duration;

pub struct Desk {
    pub cloud: Cloud,
    pub clock: Clock,
    pub admin: String,
    pub alice: String,
}

pub async fn desk() -> Desk {
    desk_with(config()).await
}

pub async fn desk_with(config: keystone::Config) -> Desk {
    let clock = Clock::manual(Timestamp::parse("2026-02-03T04:05:00Z").expect("a time"));
    let cloud = cloud_with(config, clock.clone()).await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    let alice = cloud.member(&admin, "alice", "demo", "project_owner").await;
    Desk { cloud, clock, admin, alice }
}

/// The code a generator app would show.
pub fn code(secret: &str, clock: &Clock) -> String {
    totp::code(&unbase32(secret), totp::step(clock.now()), totp::DIGITS, totp::Hash::Sha1)
}

fn unbase32(text: &str) -> Vec<u8> {
    let (mut bits, mut held, mut out) = (0u32, 0, Vec::new());
    for c in text.bytes() {
        let value = if c.is_ascii_uppercase() { c - b'A' } else { c - b'2' + 26 };
        bits = bits << 5 | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}

pub fn login_with(code: &str) -> Json {
    let mut body = password_login("alice", "alice@Pass1", Some("demo"));
    body["auth"]["identity"]["methods"] = json!(["password", "totp"]);
    body["auth"]["identity"]["totp"] = json!({"user": {"passcode": code}});
    body
}

impl Desk {
    pub async fn log_in(&self, code: &str) -> Answer {
        self.cloud.send("POST", "/v3/auth/tokens", None, None, Some(login_with(code))).await
    }

    fn path(&self, rest: &str) -> String {
        format!("/v3/users/{}/second_factor{rest}", self.alice)
    }

    async fn post(&self, token: &str, rest: &str, body: Json) -> Answer {
        self.cloud.post(token, &self.path(rest), json!({ "second_factor": body })).await
    }

    /// Turns it on; the secret and the recovery codes.
    pub async fn turn_on(&self) -> (String, Vec<String>) {
        let token = self.cloud.token("alice", "alice@Pass1", Some("demo")).await;
        let begun = self.post(&token, "", json!({"password": "alice@Pass1"})).await.ok();
        let secret = begun["second_factor"]["secret"].as_str().expect("a secret").to_string();
        let uri = begun["second_factor"]["uri"].as_str().expect("an address");
        assert_eq!(uri, format!("otpauth://totp/Wolke:alice?secret={secret}&issuer=Wolke&algorithm=SHA1&digits=6&period=30"));
        // Not before it is confirmed.
        self.cloud.token("alice", "alice@Pass1", Some("demo")).await;
        assert_eq!(self.post(&token, "/confirm", json!({"passcode": "000000"})).await.refusal(), (401, "InvalidCredentialError"));
        let on = self.post(&token, "/confirm", json!({"passcode": code(&secret, &self.clock)})).await.ok();
        let codes = on["second_factor"]["recovery_codes"].as_array().expect("codes").iter().filter_map(|c| c.as_str().map(str::to_string));
        let codes: Vec<String> = codes.collect();
        assert_eq!(codes.len(), 10);
        self.clock.advance(Duration::from_secs(30));
        (secret, codes)
    }
}

pub async fn from_the_secret_to_a_login() {
    let d = desk().await;
    let before = d.cloud.token("alice", "alice@Pass1", Some("demo")).await;
    assert_eq!(d.cloud.get(&before, &d.path("")).await.ok()["second_factor"], json!({"enabled": false, "recovery_codes": 0}));
    let (secret, _) = d.turn_on().await;
    assert_eq!(d.cloud.get(&before, "/v3/projects/demo").await.status, 403, "what the password alone opened is shut");

    let password_only = d.cloud.login("alice", "alice@Pass1", Some("demo")).await;
    assert_eq!(password_only.refusal(), (401, "SecondFactorRequired"));
    assert!(password_only.subject.is_none());
    // Who does not know the password learns nothing of the factor.
    assert_eq!(d.cloud.login("alice", "wrong", Some("demo")).await.refusal(), (401, "WrongPassword"));
    let mut wrong = login_with(&code(&secret, &d.clock));
    wrong["auth"]["identity"]["password"]["user"]["password"] = "wrong".into();
    assert_eq!(d.cloud.send("POST", "/v3/auth/tokens", None, None, Some(wrong)).await.refusal(), (401, "WrongPassword"));
    assert_eq!(d.log_in("123").await.refusal(), (401, "InvalidCredentialError"));

    let answer = d.log_in(&code(&secret, &d.clock)).await;
    assert_eq!(answer.body["token"]["methods"], json!(["password", "totp"]), "{}", answer.body);
    let token = answer.subject.expect("a token");
    assert_eq!(d.cloud.get(&token, &d.path("")).await.ok()["second_factor"], json!({"enabled": true, "recovery_codes": 10}));
    // OpenStack's clients name the user once more.
    d.clock.advance(Duration::from_secs(30));
    let mut named = login_with(&code(&secret, &d.clock));
    named["auth"]["identity"]["totp"]["user"] = json!({"name": "bob", "domain": {"id": "default"}, "passcode": code(&secret, &d.clock)});
    assert_eq!(d.cloud.send("POST", "/v3/auth/tokens", None, None, Some(named.clone())).await.refusal(), (401, "InvalidCredentialError"));
    named["auth"]["identity"]["totp"]["user"]["name"] = "alice".into();
    assert_eq!(d.cloud.send("POST", "/v3/auth/tokens", None, None, Some(named)).await.status, 200);
    // A code for somebody who has no factor is a mistake of the client.
    let mut none = password_login("sysadmin", crate::kit::ADMIN_PASSWORD, None);
    none["auth"]["identity"]["methods"] = json!(["totp", "password"]);
    none["auth"]["identity"]["totp"] = json!({"user": {"passcode": "123456"}});
    assert_eq!(d.cloud.send("POST", "/v3/auth/tokens", None, None, Some(none)).await.refusal(), (401, "InvalidCredentialError"));

    // Turned off with a code, and on again with another secret.
    d.clock.advance(Duration::from_secs(30));
    assert_eq!(d.post(&token, "/remove", json!({"passcode": "000000"})).await.refusal(), (401, "InvalidCredentialError"));
    d.post(&token, "/remove", json!({"passcode": code(&secret, &d.clock)})).await.ok();
    d.cloud.token("alice", "alice@Pass1", Some("demo")).await;
    let (other, _) = d.turn_on().await;
    assert_ne!(secret, other);
}

pub async fn recovery_codes_count_once() {
    let watch = telemetry::testing::Watch::start();
    let d = desk().await;
    let (secret, codes) = d.turn_on().await;
    let token = d.log_in(&codes[0]).await.subject.expect("a token");
    assert_eq!(d.log_in(&codes[0]).await.refusal(), (401, "InvalidCredentialError"), "once");
    assert_eq!(d.log_in(&codes[1].to_uppercase().replace('-', " ")).await.status, 200, "as people type them");
    assert_eq!(d.cloud.get(&token, &d.path("")).await.ok()["second_factor"]["recovery_codes"], 8);
    let again = d.post(&token, "/recovery-codes", json!({"passcode": code(&secret, &d.clock)})).await.ok();
    let fresh = again["second_factor"]["recovery_codes"][0].as_str().expect("a code").to_string();
    assert_eq!(d.log_in(&codes[2]).await.refusal(), (401, "InvalidCredentialError"), "the old ones are void");
    assert_eq!(d.log_in(&fresh).await.status, 200);
    watch.expect("a recovery code was used");
    // Nothing of them can be read.
    for path in ["/v3/credentials?scope=system&details=true", "/v3/users/alice"] {
        let text = d.cloud.get(&d.admin, path).await.ok().to_string();
        assert!(!text.contains(&fresh) && !text.contains(&secret), "{path}");
    }
}

pub async fn what_a_token_alone_cannot_do() {
    let d = desk().await;
    let (secret, _) = d.turn_on().await;
    let token = d.log_in(&code(&secret, &d.clock)).await.subject.expect("a token");
    let list = d.cloud.get(&token, "/v3/credentials?type=totp").await.ok();
    let factor = &list["credentials"][0];
    assert!(factor.get("blob").is_none(), "a token must not read the secret: {factor}");
    let id = factor["id"].as_str().expect("an id");
    assert_eq!(d.cloud.delete(&token, &format!("/v3/credentials/{id}")).await.refusal(), (403, "ProtectedResourceError"));
    d.cloud.post(&token, &format!("/v3/credentials/{id}/disable"), json!({})).await.ok();
    assert_eq!(d.cloud.login("alice", "alice@Pass1", None).await.refusal(), (401, "SecondFactorRequired"), "it is asked for all the same");
    assert_eq!(d.post(&token, "", json!({"password": "alice@Pass1"})).await.refusal(), (409, "ConflictError"));
    assert_eq!(d.cloud.delete(&token, &d.path("")).await.refusal(), (403, "ForbiddenError"));
    // Nor can a token without the password begin one.
    let bob = d.cloud.member(&d.admin, "bob", "demo", "project_owner").await;
    let token = d.cloud.token("bob", "bob@Pass1", Some("demo")).await;
    let path = format!("/v3/users/{bob}/second_factor");
    assert_eq!(d.cloud.post(&token, &path, json!({"password": "guess"})).await.refusal(), (401, "WrongPassword"));
    assert_eq!(d.cloud.post(&token, &path, json!({})).await.refusal(), (400, "MissingParameterError"));
    assert_eq!(d.cloud.post(&token, &d.path(""), json!({"password": "bob@Pass1"})).await.refusal(), (403, "ForbiddenError"));
    // One that a web gateway keeps is asked for by the gateway.
    d.cloud.make(&token, "credential", json!({"type": "totp", "blob": json!({"totp": "x".repeat(20), "timestamp": 1}).to_string()})).await;
    d.cloud.token("bob", "bob@Pass1", Some("demo")).await;
}

pub async fn an_administrator_removes_it() {
    let d = desk().await;
    d.turn_on().await;
    d.cloud.member(&d.admin, "bob", "demo", "project_owner").await;
    let bob = d.cloud.token("bob", "bob@Pass1", Some("demo")).await;
    assert_eq!(d.cloud.delete(&bob, &d.path("")).await.refusal().0, 403);
    d.cloud.delete(&d.admin, &d.path("")).await.ok();
    d.cloud.token("alice", "alice@Pass1", Some("demo")).await;
    // The older way does it as well.
    d.clock.advance(Duration::from_secs(30));
    d.turn_on().await;
    d.cloud.post(&d.admin, "/v3/users/alice/reset-credentials", json!({"type": "totp"})).await.ok();
    d.cloud.token("alice", "alice@Pass1", Some("demo")).await;
}
