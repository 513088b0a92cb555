//! Access keys as EC2 and S3 clients use them.

use crate::kit::{Answer, Cloud, SERVICE_PASSWORD, cloud};
use auth::sigv4;
use base::{Json, Timestamp};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use serde_json::json;

pub struct Keys {
    pub cloud: Cloud,
    pub service: String,
    pub alice: String,
    pub id: String,
    pub access: String,
    pub secret: String,
}

pub async fn keys() -> Keys {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    let id = cloud.member(&admin, "alice", "demo", "project_owner").await;
    let alice = cloud.token("alice", "alice@Pass1", Some("demo")).await;
    let made = cloud.post(&alice, &format!("/v3/users/{id}/credentials/OS-EC2"), json!({"tenant_id": "demo"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let text = |key: &str| made.body["credential"][key].as_str().expect("a text").to_string();
    let service = cloud.token("regionadmin", SERVICE_PASSWORD, Some("system")).await;
    let (access, secret) = (text("access"), text("secret"));
    Keys { cloud, service, alice, id, access, secret }
}

pub async fn keys_in_the_form_of_ec2() {
    let k = keys().await;
    let path = format!("/v3/users/{}/credentials/OS-EC2", k.id);
    let list = k.cloud.get(&k.alice, &path).await.ok();
    assert_eq!(list["credentials"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["credentials"][0]["secret"], json!(k.secret));
    let one = k.cloud.get(&k.alice, &format!("{path}/{}", k.access)).await.ok();
    assert_eq!((&one["credential"]["access"], &one["credential"]["user_id"]), (&json!(k.access), &json!(k.id)));
    let credential = k.cloud.get(&k.alice, &format!("/v3/credentials/{}", k.access)).await.ok();
    assert_eq!(credential["credential"]["type"], "aksk", "the same thing");

    let admin = k.cloud.admin().await;
    k.cloud.member(&admin, "bob", "demo", "project_owner").await;
    let bob = k.cloud.token("bob", "bob@Pass1", Some("demo")).await;
    assert_eq!(k.cloud.get(&bob, &format!("{path}/{}", k.access)).await.status, 404);
    assert_eq!(k.cloud.delete(&bob, &format!("{path}/{}", k.access)).await.status, 404);
    assert_eq!(k.cloud.delete(&k.alice, &format!("{path}/{}", k.access)).await.status, 204);
    assert_eq!(k.cloud.get(&k.alice, &format!("{path}/{}", k.access)).await.status, 404);
}

fn stamp(at: Timestamp) -> String {
    let digits: String = at.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{}Z", &digits[..15])
}

/// A request signed in its headers, as a service that received it hands it on.
pub fn in_headers(k: &Keys, at: Timestamp) -> Json {
    let (stamp, hash) = (stamp(at), sigv4::sha256(b""));
    let day = &stamp[..8];
    let canonical = format!("GET\n/\nAction=DescribeInstances\nhost:ec2.example.com\nx-amz-date:{stamp}\n\nhost;x-amz-date\n{hash}");
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{day}/region0/ec2/aws4_request\n{}", sigv4::sha256(canonical.as_bytes()));
    let signature = hex::encode(hmac::sign(&sigv4::signing_key(&k.secret, day, "region0", "ec2"), text.as_bytes()));
    let credential = format!("{}/{day}/region0/ec2/aws4_request", k.access);
    json!({"access": k.access, "signature": signature, "host": "ec2.example.com", "verb": "GET", "path": "/", "params": {"Action": "DescribeInstances"},
        "headers": {"Host": "ec2.example.com", "X-Amz-Date": stamp,
            "Authorization": format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature={signature}")},
        "body_hash": hash})
}

/// The same, signed in its query.
pub fn in_query(k: &Keys, at: Timestamp, expires: i64) -> Json {
    let (stamp, hash) = (stamp(at), sigv4::UNSIGNED);
    let day = &stamp[..8];
    let scope = format!("{}%2F{day}%2Fregion0%2Fs3%2Faws4_request", k.access);
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date={stamp}&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host"
    );
    let canonical = format!("GET\n/bucket/a%20file\n{query}\nhost:s3.example.com\n\nhost\n{hash}");
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{day}/region0/s3/aws4_request\n{}", sigv4::sha256(canonical.as_bytes()));
    let signature = hex::encode(hmac::sign(&sigv4::signing_key(&k.secret, day, "region0", "s3"), text.as_bytes()));
    let mut params: serde_json::Map<String, Json> = sigv4::parameters(&query).into_iter().map(|(k, v)| (k, v.into())).collect();
    params.insert("X-Amz-Signature".into(), signature.clone().into());
    json!({"access": k.access, "signature": signature, "host": "s3.example.com", "verb": "GET", "path": "/bucket/a%20file", "params": params,
        "headers": {"host": "s3.example.com"}, "body_hash": hash})
}

/// Version 2, in the query.
fn version_2(k: &Keys, at: Timestamp) -> Json {
    let time = at.to_string();
    let mut params = json!({"AWSAccessKeyId": k.access, "Action": "DescribeInstances", "SignatureMethod": "HmacSHA256", "SignatureVersion": "2", "Timestamp": time});
    let query = format!(
        "AWSAccessKeyId={}&Action=DescribeInstances&SignatureMethod=HmacSHA256&SignatureVersion=2&Timestamp={}",
        k.access,
        time.replace(':', "%3A")
    );
    let text = format!("POST\nec2.example.com\n/services\n{query}");
    let signature = STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, k.secret.as_bytes()), text.as_bytes()));
    params["Signature"] = signature.clone().into();
    json!({"access": k.access, "signature": signature, "host": "ec2.example.com", "verb": "POST", "path": "/services", "params": params, "headers": {}})
}

pub async fn ask(k: &Keys, path: &str, request: Json) -> Answer {
    k.cloud.post(&k.service, path, json!({ "credentials": request })).await
}

pub async fn requests_somebody_signed() {
    let k = keys().await;
    let now = k.cloud.clock.now();
    for (form, request) in [("headers", in_headers(&k, now)), ("query", in_query(&k, now, 600)), ("version 2", version_2(&k, now))] {
        let answer = ask(&k, "/v3/ec2tokens", request.clone()).await;
        assert_eq!(answer.status, 200, "{form}: {}", answer.body);
        let token = &answer.body["token"];
        assert_eq!((&token["user"]["name"], &token["project"]["name"]), (&json!("alice"), &json!("demo")), "{form}");
        k.cloud.get(&answer.subject.expect("a token"), "/v3/projects/demo").await.ok();
        // Whatever was signed counts as it was signed.
        for (key, value) in [("verb", "DELETE"), ("path", "/elsewhere"), ("access", "nobody")] {
            let mut changed = request.clone();
            changed[key] = value.into();
            assert_eq!(ask(&k, "/v3/ec2tokens", changed).await.refusal(), (401, "UnauthorizedError"), "{form} {key}");
        }
        let mut changed = request.clone();
        changed["params"]["Action"] = "TerminateInstances".into();
        assert_eq!(ask(&k, "/v3/ec2tokens", changed).await.refusal(), (401, "UnauthorizedError"), "{form}");
        // Only services may ask.
        let answer = k.cloud.send("POST", "/v3/ec2tokens", None, None, Some(json!({"ec2Credentials": request}))).await;
        assert_eq!(answer.refusal(), (401, "UnauthorizedError"), "{form}");
        assert_eq!(
            k.cloud.post(&k.alice, "/v3/ec2tokens", json!({"credentials": request})).await.refusal(),
            (403, "ForbiddenError"),
            "{form}"
        );
    }
    for bad in [json!({}), json!({"access": k.access}), json!({"access": 5}), json!("text")] {
        let status = ask(&k, "/v3/ec2tokens", bad.clone()).await.status;
        assert!(status == 400 || status == 401, "{bad}: {status}");
    }
}

pub async fn texts_somebody_signed() {
    let k = keys().await;
    let now = k.cloud.clock.now();
    let stamp = stamp(now);
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{}/region0/s3/aws4_request\n{}", &stamp[..8], "0".repeat(64));
    let signature = hex::encode(hmac::sign(&sigv4::signing_key(&k.secret, &stamp[..8], "region0", "s3"), text.as_bytes()));
    let request = |text: &str, signature: &str| json!({"access": k.access, "token": STANDARD.encode(text), "signature": signature});
    assert_eq!(ask(&k, "/v3/s3tokens", request(&text, &signature)).await.ok()["token"]["user"]["name"], "alice");
    assert_eq!(ask(&k, "/v3/s3tokens", request(&text.replace('0', "1"), &signature)).await.refusal(), (401, "UnauthorizedError"));

    let until = now.plus_secs(300).micros() / 1_000_000;
    let text = format!("GET\n\n\n{until}\n/bucket/key");
    let signature = STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, k.secret.as_bytes()), text.as_bytes()));
    assert_eq!(ask(&k, "/v3/s3tokens", request(&text, &signature)).await.ok()["token"]["project"]["name"], "demo");
    assert_eq!(ask(&k, "/v3/s3tokens", request(&text, "AAAA")).await.refusal(), (401, "UnauthorizedError"));
}
