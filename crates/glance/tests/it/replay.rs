//! What a real client was seen to exchange with the service it was made for: ours answers the same requests with the same status, envelope,
//! field names and types. More fields are allowed, fewer are not.

use crate::client::Answer;
use crate::house::{House, qcow2};
use base::Json;
use serde_json::json;
use std::path::Path;

struct Recorded {
    request: Json,
    response: Json,
}

fn recorded(name: &str) -> Vec<Recorded> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name);
    let json: Json = serde_json::from_str(&std::fs::read_to_string(path).expect("in the tree")).expect("JSON");
    let one = |e: &Json| Recorded { request: e["request"].clone(), response: e["response"].clone() };
    json["exchanges"].as_array().expect("a list").iter().map(one).collect()
}

async fn replay(house: &House, recorded: &Recorded, path: &str, body: &[u8]) -> Answer {
    let request = &recorded.request;
    let mut call = house.call(request["method"].as_str().expect("a method"), path);
    for (name, value) in
        request["headers"].as_object().expect("headers").iter().filter(|(n, _)| !matches!(n.as_str(), "content-length" | "content-type"))
    {
        call = call.header(name, value.as_str().expect("text"));
    }
    let call = if body.is_empty() { call.header("Content-Type", "application/json") } else { call.image(body) };
    let answer = call.send().await;
    assert_eq!(i64::from(answer.status), recorded.response["status"].as_i64().expect("a status"), "{path}");
    for (name, _) in recorded.response["headers"].as_object().expect("headers") {
        assert!(answer.header(name).is_some(), "{path}: the header {name} is missing");
    }
    answer
}

/// Every recorded key is there with a value of the same type.
fn same_shape(recorded: &Json, ours: &Json, at: &str) {
    match (recorded, ours) {
        (Json::Object(recorded), Json::Object(ours)) => {
            for (key, value) in recorded {
                same_shape(value, ours.get(key).unwrap_or_else(|| panic!("{at}.{key} is missing")), &format!("{at}.{key}"));
            }
        }
        (Json::Array(recorded), Json::Array(ours)) => {
            assert_eq!(recorded.is_empty(), ours.is_empty(), "{at}");
            for (i, (recorded, ours)) in recorded.iter().zip(ours).enumerate() {
                same_shape(recorded, ours, &format!("{at}[{i}]"));
            }
        }
        (recorded, ours) => assert_eq!(std::mem::discriminant(recorded), std::mem::discriminant(ours), "{at}: {recorded} and {ours}"),
    }
}

#[tokio::test]
async fn list_upload_list_download() {
    session(House::start().await).await;
}

#[tokio::test]
async fn list_upload_list_download_on_postgres() {
    session(House::on(store::testing::postgres().await, base::Clock::real(), |_| {}).await).await;
}

async fn session(house: House) {
    let empty = &recorded("26-image-list-empty.json")[0];
    let answer = replay(&house, empty, empty.request["path"].as_str().expect("a path"), b"").await;
    assert_eq!(answer.json(), empty.response["body"], "an empty list has nothing else");

    let bytes = qcow2("64M");
    let upload = &recorded("27-image-upload.json")[0];
    let answer = replay(&house, upload, "/v1/images", &bytes).await;
    same_shape(&upload.response["body"], &answer.json(), "upload");
    let id = answer.image()["id"].as_str().expect("an id").to_string();
    house.becomes(&id, "active").await;

    let list = &recorded("28-image-list.json")[0];
    let answer = replay(&house, list, list.request["path"].as_str().expect("a path"), b"").await;
    same_shape(&list.response["body"], &answer.json(), "list");
    let (want, have) = (&list.response["body"]["images"][0], &answer.json()["images"][0]);
    for key in [
        "status",
        "disk_format",
        "min_disk",
        "size",
        "name",
        "protected",
        "can_delete",
        "is_public",
        "is_standard",
        "public_scope",
        "properties",
        "progress",
    ] {
        assert_eq!(have[key], want[key], "{key}");
    }

    let download = recorded("53-image-download.json");
    let head = replay(&house, &download[0], "/v1/images/tiny", b"").await;
    assert_eq!(head.header("content-length").as_deref(), Some("0"));
    for (name, want) in download[0].response["headers"].as_object().expect("headers") {
        let have = head.header(name).expect("checked above");
        let kind = |text: &str| serde_json::from_str::<Json>(text).unwrap_or(json!(""));
        let (want, have) = (kind(want.as_str().expect("text")), kind(&have));
        // Hexadecimal texts may look like numbers; booleans must be booleans.
        assert_eq!(want.is_boolean(), have.is_boolean(), "{name}: {want} and {have}");
    }
    let get = replay(&house, &download[1], &format!("/v1/images/{id}"), b"").await;
    assert!(get.body == bytes);

    // And away again, through the bin.
    let end = house.call("POST", &format!("/v1/images/{id}/mark-standard")).json(&json!({"is_standard": false})).send().await;
    assert_eq!(end.status, 200);
    assert_eq!(house.delete(&id).await.status, 200);
    assert_eq!(house.call("DELETE", &format!("/v1/images/{id}")).send().await.status, 200);
    house.gone(&id).await;
    crate::client::eventually("its file is gone", || async { house.listing().is_empty() }).await;
}
