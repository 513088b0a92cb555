//! What is known of images, and who may do what with them.

use crate::client::eventually;
use crate::house::{House, made, noise, qcow2};
use base::{Clock, Timestamp};
use serde_json::{Value as Json, json};
use std::time::Duration;

fn names(list: &Json) -> Vec<&str> {
    let mut names: Vec<&str> = list["images"].as_array().expect("a list").iter().map(|i| i["name"].as_str().expect("a name")).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn protection_bin_and_the_end() {
    let clock = Clock::manual(Timestamp::parse("2026-01-01").expect("a time"));
    let house = House::at(clock).await;
    let image = house.active("a", &qcow2("5M")).await;
    let id = image["id"].as_str().expect("an id");
    let path = format!("/v1/images/{id}");
    let refused = house.call("DELETE", &path).send().await;
    assert_eq!((refused.status, refused.class().as_str()), (403, "ProtectedResourceError"));

    assert_eq!(house.delete(id).await.status, 200);
    let binned = house.find(id).await.expect("in the bin");
    assert_eq!((&binned["status"], &binned["pending_deleted"]), (&json!("pending_delete"), &json!(true)));
    assert_eq!(binned["auto_delete_at"], "2026-01-04T00:00:00.000000Z");
    assert_eq!(house.call("GET", "/v1/images").send().await.json(), json!({"images": []}));
    assert_eq!(house.call("GET", &path).send().await.class(), "InvalidStatusError");
    assert_eq!(house.listing(), [id], "the bin keeps the bytes");

    assert_eq!(house.call("POST", &format!("{path}/cancel-delete")).json(&json!({})).send().await.image()["status"], "active");
    assert_eq!(house.call("GET", &path).send().await.status, 200);

    assert_eq!(house.call("DELETE", &path).send().await.status, 200);
    house.clock.advance(Duration::from_secs(3 * 86_400 - 1));
    assert_eq!(house.run("image-purge").await.get("deleted"), 0, "not a second early");
    house.clock.advance(Duration::from_secs(2));
    assert_eq!(house.run("image-purge").await.get("deleted"), 1);
    assert!(house.find(id).await.is_none());
    eventually("its file is gone", || async { house.listing().is_empty() }).await;
}

#[tokio::test]
async fn rights() {
    let house = House::start().await;
    let bytes = qcow2("1M");
    let image = house.by("alice", "POST", "/v1/images").header("X-Image-Meta-Name", "hers").image(&bytes).send().await.image();
    let id = image["id"].as_str().expect("an id");
    house.becomes(id, "active").await;
    let path = format!("/v1/images/{id}");

    // The guest.
    for (method, path) in
        [("GET", "/v1/images"), ("GET", path.as_str()), ("HEAD", path.as_str()), ("DELETE", path.as_str()), ("PUT", path.as_str())]
    {
        assert_eq!(house.by("", method, path).send().await.status, 403, "{method} {path}");
    }
    let upload = house.by("", "POST", "/v1/images").header("X-Image-Meta-Name", "x").image(&bytes).send().await;
    assert_eq!((upload.status, upload.class().as_str()), (403, "ForbiddenError"));
    assert_eq!(house.by("", "GET", "/v1/usages").send().await.status, 401);
    assert_eq!(house.listing(), [id]);

    // Another project: what one may not see is not there.
    for (method, path) in [("GET", path.clone()), ("HEAD", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}/probe"))] {
        assert_eq!(house.by("bob", method, &path).send().await.status, 404, "{method} {path}");
    }
    assert_eq!(house.by("bob", "PUT", &path).image(&bytes).send().await.status, 404);
    assert_eq!(house.by("bob", "GET", "/v1/images").send().await.json(), json!({"images": []}));

    // A member shares nothing with all.
    for (name, value) in [("X-Image-Meta-Is_public", "true"), ("X-Image-Meta-Is_standard", "true")] {
        let answer =
            house.by("alice", "POST", "/v1/images").header("X-Image-Meta-Name", "all").header(name, value).image(&bytes).send().await;
        assert_eq!((answer.status, answer.class().as_str()), (403, "ForbiddenError"), "{name}");
        assert_eq!(house.by("alice", "PUT", &path).header(name, value).send().await.status, 403, "{name}");
    }
    assert_eq!(house.by("alice", "POST", &format!("{path}/mark-standard")).json(&json!({"is_standard": true})).send().await.status, 403);

    // An administrator does: all may look and download, nobody else may change.
    let marked = house.call("POST", &format!("{path}/mark-standard")).json(&json!({"image": {"is_standard": true}})).send().await.image();
    assert_eq!((&marked["is_standard"], &marked["is_public"], &marked["public_scope"]), (&json!(true), &json!(true), &json!("system")));
    assert_eq!(names(&house.by("bob", "GET", "/v1/images").send().await.json()), ["hers"]);
    assert!(house.by("bob", "GET", &path).send().await.body == bytes);
    assert_eq!(house.by("bob", "PUT", &path).header("X-Image-Meta-Name", "his").send().await.status, 403);
    assert_eq!(house.by("bob", "DELETE", &path).send().await.status, 403);
    // Standard images stay shared and stay.
    assert_eq!(house.call("POST", &format!("{path}/private")).json(&json!({})).send().await.status, 403);
    assert_eq!(house.delete(id).await.class(), "ProtectedResourceError");
    house.call("POST", &format!("{path}/mark-standard")).json(&json!({"is_standard": false})).send().await.image();
    let private = house.call("POST", &format!("{path}/private")).json(&json!({})).send().await.image();
    assert_eq!(private["is_public"], false);
    assert_eq!(house.call("DELETE", &path).send().await.status, 200);
}

#[tokio::test]
async fn changes_by_headers_and_by_json() {
    let house = House::start().await;
    let image = house.active("a", &qcow2("64M")).await;
    let path = format!("/v1/images/{}", image["id"].as_str().expect("an id"));
    let call = house.call("PUT", &path).header("X-Image-Meta-Property-Os_type", "Windows").header("X-Image-Meta-Min_disk", "100");
    let changed = call.send().await.image();
    assert_eq!((&changed["properties"]["os_type"], &changed["min_disk"]), (&json!("Windows"), &json!(100)));
    let body = json!({"image": {"description": "line\nline", "properties": {"uefi_support": "true", "os_type": ""}, "protected": false}});
    let changed = house.call("PUT", &path).json(&body).send().await.image();
    assert_eq!((&changed["properties"], &changed["protected"]), (&json!({"uefi_support": "true"}), &json!(false)));
    let low = house.call("PATCH", &path).json(&json!({"image": {"min_disk": 63}})).send().await;
    assert_eq!((low.status, low.class().as_str()), (400, "OutOfRange"));
    // A line break in a field stays inside its header.
    let head = house.call("HEAD", &path).send().await;
    assert_eq!(head.header("x-image-meta-description").as_deref(), Some("line%0Aline"));
    assert_eq!(head.header("x-image-meta-property-uefi_support").as_deref(), Some("true"));
    // By name as by id.
    assert_eq!(house.call("HEAD", "/v1/images/a").send().await.header("x-image-meta-id"), head.header("x-image-meta-id"));
}

#[tokio::test]
async fn lists_filter_by_what_images_are() {
    let house = House::start().await;
    let upload = async |name: &str, bytes: &[u8], os: &str, arch: &str, uefi: &str| {
        let call = house.call("POST", "/v1/images").header("X-Image-Meta-Name", name).header("X-Image-Meta-Property-Os_type", os);
        let call = call.header("X-Image-Meta-Os_arch", arch).header("X-Image-Meta-Property-Uefi_support", uefi);
        let image = call.image(bytes).send().await.image();
        house.becomes(image["id"].as_str().expect("an id"), "active").await;
    };
    upload("linux", &qcow2("1M"), "Linux", "x86_64", "true").await;
    upload("linux-arm", &noise(100_000, 1), "Linux", "arm64", "false").await;
    upload("windows", &made("qemu-img create -q -f vmdk a 2M", "a"), "Windows", "x86_64", "").await;
    for (query, want) in [
        ("disk_formats=qcow2", &["linux"][..]),
        ("disk_formats.0=vmdk&disk_formats.1=raw", &["linux-arm", "windows"]),
        ("subFormats=qcow2", &["linux", "linux-arm", "windows"]),
        ("subFormats=vmdk", &["windows"]),
        ("uefi=true", &["linux"]),
        ("os_types=lin", &["linux", "linux-arm"]),
        ("os_types=lin&os_type_precise_match=true", &[]),
        ("os_types=Windows&os_type_precise_match=true", &["windows"]),
        ("os_archs=aarch64", &["linux-arm"]),
        ("is_data=true", &[]),
        ("protected=true&limit=2", &["linux-arm", "windows"]),
        ("search=linux", &["linux", "linux-arm"]),
        ("filter=disk_format.in(raw,vmdk)", &["linux-arm", "windows"]),
        ("status=active", &["linux", "linux-arm", "windows"]),
    ] {
        let list = house.call("GET", &format!("/v1/images?{query}")).send().await;
        assert_eq!((list.status, names(&list.json())), (200, want.to_vec()), "{query}");
    }
    let detail = house.call("GET", "/v1/images/detail?limit=1&details=false").send().await.json();
    assert_eq!((detail["images"][0]["tenant"].as_str(), detail["total"].as_u64()), (Some("system"), Some(3)));
    for word in ["tag-value-tree", "tag-value-pairs", "distinct-fields", "project-statistics", "domain-statistics"] {
        let answer = house.call("GET", &format!("/v1/images/{word}?key=user:env&field=status")).send().await;
        assert_eq!(answer.status, 200, "{word}: {answer:?}");
    }
    let statistics = house.call("GET", "/v1/images/statistics").send().await;
    assert_eq!(statistics.json()["image"]["count"], 3);

    let usage = house.call("GET", "/v1/usages?scope=system").send().await.json()["usage"].clone();
    assert_eq!((usage["all.img.total.count"].as_i64(), usage["all.img.qcow2.count"].as_i64()), (Some(3), Some(1)));
    assert_eq!(usage["all.img.raw.size"], 100_000);
    assert_eq!(house.by("alice", "GET", "/v1/usages").send().await.json()["usage"]["img.total.count"], 0);
    assert_eq!(house.by("alice", "GET", "/v1/usages?scope=system").send().await.status, 403);
}

#[tokio::test]
async fn giving_up_and_looking_again() {
    let house = House::start().await;
    let queued = house.call("POST", "/v1/images").json(&json!({"image": {"name": "from-host"}})).send().await.image();
    let path = format!("/v1/images/{}", queued["id"].as_str().expect("an id"));
    let act = async |path: &str, body: Json| house.call("POST", path).json(&body).send().await;
    assert_eq!(act(&format!("{path}/update-status"), json!({"status": "active"})).await.status, 400);
    let killed = act(&format!("{path}/update-status"), json!({"status": "killed", "reason": "host is gone"})).await.image();
    assert_eq!((&killed["status"], &killed["protected"]), (&json!("killed"), &json!(false)));
    assert_eq!(act(&format!("{path}/probe"), json!({})).await.class(), "InvalidStatusError");
    assert_eq!(house.call("DELETE", &path).send().await.status, 200);
    assert_eq!(house.call("HEAD", &path).send().await.status, 404, "what never was an image needs no recycle bin");

    let image = house.active("whole", &qcow2("5M")).await;
    let id = image["id"].as_str().expect("an id");
    act(&format!("/v1/images/{id}/probe"), json!({})).await.image();
    let again = house.becomes(id, "active").await;
    assert_eq!(again["checksum"], image["checksum"]);
    assert_eq!(act(&format!("/v1/images/{id}/nonsense"), json!({})).await.class(), "ActionNotFoundError");
}

#[tokio::test]
async fn quotas() {
    let house = House::with(|o| (o.check_quota, o.default_quota) = (true, 2)).await;
    let create = async |token: &str, name: &str| house.by(token, "POST", "/v1/images").json(&json!({"image": {"name": name}})).send().await;
    assert_eq!(create("alice", "a").await.status, 200);
    assert_eq!(create("alice", "b").await.status, 200);
    let over = create("alice", "c").await;
    assert_eq!((over.status, over.class().as_str()), (400, "OutOfQuotaError"));
    assert_eq!(create("bob", "c").await.status, 200, "the other project has its own");

    let mine = house.by("alice", "GET", "/v1/image_quotas").send().await.json()["image_quotas"].clone();
    let row = mine.as_array().expect("a list").iter().find(|r| r["type"] == "image").expect("a row").clone();
    assert_eq!((&row["image"], &row["usage.image"], &row["tenant"]), (&json!(2), &json!(2), &json!("red")));

    let raise = json!({"image_quotas": {"action": "add", "type": "image", "image": 1}});
    assert_eq!(house.by("alice", "POST", "/v1/image_quotas").json(&raise).send().await.status, 403);
    let raised = house.call("POST", "/v1/image_quotas/projects/red").json(&raise).send().await;
    assert_eq!(raised.status, 200, "{raised:?}");
    assert_eq!(create("alice", "c").await.status, 200);
    assert_eq!(create("alice", "d").await.class(), "OutOfQuotaError");
    let all = house.call("GET", "/v1/image_quotas/projects").send().await.json()["image_quotas"].clone();
    assert_eq!(all.as_array().map(Vec::len), Some(2), "{all}");
}
