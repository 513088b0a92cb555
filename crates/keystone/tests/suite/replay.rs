//! Recorded exchanges of existing clients: the same requests, answers of the same shape.

use crate::kit::{ADMIN_PASSWORD, Cloud, cloud};
use base::Json;
use serde_json::json;
use testkit::replay::{Exchange, Names, Recording, shape_diff};

/// Counters of other services' objects: those services are not asked yet.
const NOT_SERVED: [&str; 3] = ["ext_resource", "ext_resources_last_update", "ext_resources_next_update"];

/// Plays the exchanges in their order; the token of each login stands for the recorded one from then on.
async fn play(cloud: &Cloud, recording: &str, names: &mut Names, skip: &[&str]) {
    let recording = Recording::parse(recording);
    for exchange in recording.with("keystone").filter(|e| !skip.iter().any(|s| e.request.path.starts_with(s))) {
        let Exchange { request, response, .. } = exchange;
        let header = |name: &str| request.headers.get(name).map(|v| names.apply(v));
        let body = (!request.body.is_null()).then(|| names.apply_json(&request.body));
        let path = names.apply(&request.path);
        let (token, subject) = (header("x-auth-token"), header("x-subject-token"));
        let answer = cloud.send(&request.method, &path, token.as_deref(), subject.as_deref(), body).await;
        let what = format!("{}: {} {}", recording.command, request.method, request.path);
        assert_eq!(answer.status, response.status, "{what}: {}", answer.body);
        let mut expected = response.body.clone();
        forget(&mut expected);
        let diff = shape_diff(&expected, &answer.body);
        assert!(diff.is_empty(), "{what}: {diff:#?}\n{}", answer.body);
        if let (Some(recorded), Some(ours)) = (response.headers.get("x-subject-token"), &answer.subject) {
            names.put(recorded, ours);
            assert_eq!(answer.body["id"].as_str().unwrap_or(ours), ours, "{what}: the body names the token of the header");
        }
        names.learn("id", &response.body, &answer.body);
    }
}

fn forget(json: &mut Json) {
    match json {
        Json::Object(map) => {
            map.retain(|key, _| !NOT_SERVED.contains(&key.as_str()));
            // The rules inside a policy are its value, not its shape.
            if let Some(policy) = map.get_mut("blob").and_then(|b| b.get_mut("policy")) {
                *policy = json!({});
            }
            if let Some(Json::Array(trees)) = map.get_mut("policies").and_then(|p| p.get_mut("system")) {
                trees.iter_mut().filter(|t| t.is_object()).for_each(|t| *t = json!({}));
            }
            map.values_mut().for_each(forget);
        }
        Json::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

fn recorded_passwords() -> Names {
    let mut names = Names::default();
    names.put("Peer@sysadmin1", ADMIN_PASSWORD);
    names.put("Peer@service1", crate::kit::SERVICE_PASSWORD);
    names
}

pub async fn command_line_client() {
    let cloud = cloud().await;
    for recording in [
        include_str!("../recorded/01-endpoint-list.json"),
        include_str!("../recorded/02-service-list.json"),
        include_str!("../recorded/03-region-list.json"),
        include_str!("../recorded/04-user-list.json"),
        include_str!("../recorded/05-user-show.json"),
        include_str!("../recorded/08-role-list.json"),
        include_str!("../recorded/09-policy-list.json"),
        include_str!("../recorded/55-error-401-bad-password.json"),
    ] {
        play(&cloud, recording, &mut recorded_passwords(), &[]).await;
    }
}

pub async fn a_service_that_checks_a_token() {
    let cloud = cloud().await;
    let mut names = recorded_passwords();
    let recording = include_str!("../recorded/10-zone-create.json");
    // The service's own login is not in the recording.
    names.put("ce170ae80832f673defa3bd23f272396986cb66f7b37ca6b4fc11161563b0a2e", &cloud.admin().await);
    play(&cloud, recording, &mut names, &[]).await;
}

pub async fn web_login() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let user = cloud.make(&admin, "user", json!({"name": "webadmin", "password": "Web@admin123"})).await;
    cloud.put(&admin, &format!("/v3/projects/system/users/{user}/roles/admin"), json!({})).await.ok();
    let mut names = recorded_passwords();
    names.put("945fcec80ee994195183c8e137d460514d4136b9b3de5d9c7bd22371734055bb", &admin);
    play(&cloud, include_str!("../recorded/70-apigateway-web-login.json"), &mut names, &["/v3/identity_providers"]).await;
}
