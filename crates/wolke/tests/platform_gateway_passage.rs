//! `/api/s/<type>/…`: what existing command lines ask services, asked through the gateway and asked directly, with the same answers.

mod lab;

use http::Method;
use lab::browser::{Browser, platform, user};
use serde_json::{Value as Json, json};
use std::path::Path;
use testkit::replay::Recording;

/// What differs between two answers to the same question.
fn timeless(mut body: Json) -> Json {
    match &mut body {
        Json::Object(map) => {
            for key in ["request_id", "time", "expires_at", "issued_at", "audit_ids", "last_active_at", "next_sync_time"] {
                map.remove(key);
            }
            map.values_mut().for_each(|v| *v = timeless(v.take()));
        }
        Json::Array(items) => items.iter_mut().for_each(|v| *v = timeless(v.take())),
        _ => {}
    }
    body
}

/// Paths that recorded command lines read, of a service by its name in the recordings.
fn recorded(dir: &str, service: &str) -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&dir).expect("recordings").flatten() {
        let recording = Recording::parse(&std::fs::read_to_string(entry.path()).expect("a recording"));
        paths.extend(recording.with(service).filter(|e| e.request.method == "GET").map(|e| e.request.path.clone()));
    }
    paths.sort();
    paths.dedup();
    paths
}

#[tokio::test]
async fn platform_gateway_passage() {
    let (platform, mut admin) = platform(&[]).await;
    user(&mut admin, "webadmin", "project_owner").await;
    let token = admin.token("sysadmin").await;
    let ask = async |path: &str| {
        let answer = admin.client.get(&format!("{}{path}", platform.url())).token(&token).send_any().await.expect("an answer");
        let (status, kind) = (answer.status, answer.header("content-type").map(str::to_string));
        let bytes = answer.bytes(64 << 20).await.expect("a body");
        (status, kind, timeless(serde_json::from_slice(&bytes).unwrap_or_default()))
    };
    let own = |service: &str, paths: &[&str]| paths.iter().map(|p| (service.to_string(), p.to_string())).collect::<Vec<_>>();
    let mut all: Vec<(String, String)> =
        recorded("../keystone/tests/recorded", "keystone").into_iter().map(|p| ("identity".into(), p)).collect();
    all.extend(recorded("tests/recorded", "region").into_iter().map(|p| ("compute_v2".into(), p)));
    all.extend(own(
        "compute_v2",
        &[
            "/zones",
            "/servers?scope=system&limit=5",
            "/servers/nope",
            "/usages?scope=system",
            "/networks?details=true",
            "/hosts",
            "/nothing",
        ],
    ));
    all.extend(own("image", &["/v1/images/detail?limit=2&scope=system", "/v1/images/nope"]));
    all.extend(own("identity", &["/v3/users?search=%E4%BA%91%20a", "/v3/projects?filter=name.contains(%27sys%27)", "/v3/users/no%2Fbody"]));
    let (mut seen, mut good) = (0, 0);
    for (service, path) in &all {
        let mount = match service.as_str() {
            "compute_v2" => "/compute",
            "image" => "/image",
            _ => "/identity",
        };
        let direct = ask(&format!("{mount}{path}")).await;
        for passage in [format!("/api/s/{service}{path}"), format!("/api/s/{service}/r/region0{path}")] {
            assert_eq!(ask(&passage).await, direct, "{passage}");
        }
        (seen, good) = (seen + 1, good + usize::from(direct.0 == 200));
    }
    assert!(seen > 20 && good > 12, "{good} of {seen} were answered");

    // A whole errand of a script that knows no other address: log in, make, change, remove.
    let script = Browser::new(&platform.url());
    let call = async |method: Method, path: &str, body: Option<Json>| {
        let call = script.client.call(method, &format!("{}/api/s/compute_v2/r/region0{path}", platform.url())).token(&token);
        let answer = if let Some(body) = &body { call.json(body) } else { call }.send_any().await.expect("an answer");
        let status = answer.status;
        (status, answer.json().await.unwrap_or_default())
    };
    let (status, made) = call(Method::POST, "/keypairs", Some(json!({"keypair": {"name": "errand"}}))).await;
    assert!(status == 200 && made["keypair"]["name"] == "errand", "{status} {made}");
    let path = format!("/keypairs/{}", made["keypair"]["id"].as_str().expect("an id"));
    let (status, changed) = call(Method::PUT, &path, Some(json!({"keypair": {"description": "云"}}))).await;
    assert!(status == 200 && changed["keypair"]["description"] == "云", "{changed}");
    assert_eq!(call(Method::DELETE, &path, None).await.0, 200);
    assert_eq!(call(Method::GET, &path, None).await.0, 404);
}
