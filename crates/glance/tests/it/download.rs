//! Bytes going out.

use crate::house::{House, make, md5, noise, qcow2};
use serde_json::json;

#[tokio::test]
async fn ranges() {
    let house = House::start().await;
    let bytes = noise(1_000_000, 4);
    let image = house.active("a", &bytes).await;
    let path = format!("/v1/images/{}", image["id"].as_str().expect("an id"));
    let get = async |range: &str| house.call("GET", &path).header("Range", range).send().await;

    for (range, from, to) in [
        ("bytes=0-9", 0, 10),
        ("bytes=999990-", 999_990, 1_000_000),
        ("bytes=-5", 999_995, 1_000_000),
        ("bytes=300000-700000", 300_000, 700_001),
    ] {
        let part = get(range).await;
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(part.header("content-range"), Some(format!("bytes {from}-{}/1000000", to - 1)));
        assert_eq!(part.header("content-length"), Some((to - from).to_string()));
        assert!(part.body == bytes[from..to], "{range}");
    }
    let beyond = get("bytes=1000000-").await;
    assert_eq!((beyond.status, beyond.header("content-range").as_deref()), (416, Some("bytes */1000000")));
    assert_eq!(beyond.class(), "OutOfRange");
    let several = get("bytes=0-1,5-6").await;
    assert_eq!((several.status, several.body.len()), (200, bytes.len()));

    // Resumed only while it is the same image.
    let whole = house.call("GET", &path).send().await;
    let tag = whole.header("etag").expect("a tag");
    assert_eq!((tag.as_str(), whole.header("accept-ranges").as_deref()), (format!("\"{}\"", md5(&bytes)).as_str(), Some("bytes")));
    let same = house.call("GET", &path).header("Range", "bytes=5-").header("If-Range", &tag).send().await;
    let other = house.call("GET", &path).header("Range", "bytes=5-").header("If-Range", "\"other\"").send().await;
    assert_eq!((same.status, other.status), (206, 200));

    // What the client has is not sent again.
    for (header, value) in [("If-None-Match", tag.as_str()), ("X-Image-Meta-Checksum", md5(&bytes).as_str())] {
        let answer = house.call("GET", &path).header(header, value).send().await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{header}");
    }
}

#[tokio::test]
async fn copies_in_other_formats() {
    let house = House::start().await;
    let dir = tempfile::tempdir().expect("a scratch directory");
    let mut raw = noise(2 << 20, 8);
    raw.resize(8 << 20, 0);
    let image = house.active("raw", &raw).await;
    let id = image["id"].as_str().expect("an id");
    assert_eq!((&image["disk_format"], &image["min_disk"]), (&json!("raw"), &json!(8)));

    let formats = house.call("GET", &format!("/v1/images/{id}/subformats")).send().await.image();
    let formats: Vec<_> = formats.as_array().expect("a list").iter().map(|f| (f["format"].as_str(), f["status"].as_str())).collect();
    assert_eq!(formats, [(Some("raw"), Some("active")), (Some("qcow2"), Some("active"))]);

    let head = house.call("HEAD", &format!("/v1/images/{id}?format=qcow2&scope=system")).send().await;
    assert_eq!(head.header("x-image-meta-disk_format").as_deref(), Some("qcow2"));
    let copy = house.call("GET", &format!("/v1/images/{id}?format=qcow2&scope=system")).send().await;
    assert_eq!(copy.status, 200);
    assert_eq!(head.header("x-image-meta-checksum"), Some(md5(&copy.body)));
    assert_eq!(head.header("x-image-meta-size"), Some(copy.body.len().to_string()));
    assert_eq!(copy.header("x-image-meta-name").as_deref(), Some("raw"));

    // The copy holds the same disk.
    std::fs::write(dir.path().join("copy.qcow2"), &copy.body).expect("written");
    make(dir.path(), "qemu-img convert -f qcow2 -O raw copy.qcow2 back.raw");
    assert!(std::fs::read(dir.path().join("back.raw")).expect("made") == raw, "the copy is another disk");

    let own = house.call("GET", &format!("/v1/images/{id}?format=raw")).send().await;
    assert!(own.body == raw, "its own format is the image itself");
    let none = house.call("GET", &format!("/v1/images/{id}?format=vhd")).send().await;
    assert_eq!((none.status, none.class().as_str()), (404, "ImageNotFoundError"));

    // They go together.
    assert_eq!(house.listing().len(), 2);
    assert_eq!(house.delete(id).await.status, 200);
    assert_eq!(house.call("DELETE", &format!("/v1/images/{id}?override_pending_delete=true")).send().await.status, 200);
    crate::client::eventually("both files are gone", || async { house.listing().is_empty() }).await;
}

#[tokio::test]
async fn without_the_converter_the_image_is_still_there() {
    let house = House::with(|o| o.qemu_img = "/nowhere/qemu-img".into()).await;
    let image = house.active("raw", &noise(100_000, 2)).await;
    let id = image["id"].as_str().expect("an id");
    let formats = house.call("GET", &format!("/v1/images/{id}/subformats")).send().await.image();
    assert_eq!(formats[1]["status"], "save_fail", "{formats}");
    house.warned("install the package qemu-utils");
    let copy = house.call("GET", &format!("/v1/images/{id}?format=qcow2")).send().await;
    assert_eq!((copy.status, copy.class().as_str()), (400, "InvalidStatusError"));
    assert_eq!(house.call("GET", &format!("/v1/images/{id}")).send().await.status, 200);
    assert_eq!(house.listing(), [id]);
}

#[tokio::test]
async fn only_what_is_there_can_be_had() {
    let house = House::start().await;
    let queued = house.call("POST", "/v1/images").json(&json!({"image": {"name": "empty"}})).send().await.image();
    let answer = house.call("GET", &format!("/v1/images/{}", queued["id"].as_str().expect("an id"))).send().await;
    assert_eq!((answer.status, answer.class().as_str()), (400, "InvalidStatusError"));
    let answer = house.call("GET", "/v1/images/nothing").send().await;
    assert_eq!((answer.status, answer.class().as_str()), (404, "ResourceNotFoundError"));
    let answer = house.call("HEAD", "/v1/images/nothing").send().await;
    assert_eq!((answer.status, answer.body.len()), (404, 0));

    // A download that is left in the middle keeps no place: with one place the next still gets it.
    let house = House::with(|o| o.streams = 1).await;
    let bytes = noise(30 << 20, 6);
    let image = house.active("big", &bytes).await;
    let path = format!("/v1/images/{}", image["id"].as_str().expect("an id"));
    for _ in 0..3 {
        let mut open = house.call("GET", &path).open(Some(0)).await;
        assert_eq!(open.head().await.0, 200);
        open.reset();
    }
    let whole = house.call("GET", &path).send().await;
    assert!(whole.body == bytes);
}

#[tokio::test]
async fn a_place_that_does_not_come_free_is_not_waited_for_for_ever() {
    let house = House::with(|o| (o.streams, o.patience) = (1, std::time::Duration::from_millis(300))).await;
    let bytes = noise(30 << 20, 6);
    let image = house.active("big", &bytes).await;
    let path = format!("/v1/images/{}", image["id"].as_str().expect("an id"));
    let mut open = house.call("GET", &path).open(Some(0)).await;
    assert_eq!(open.head().await.0, 200);
    let late = house.call("GET", &path).send().await;
    assert_eq!((late.status, late.class().as_str()), (429, "TooManyRequests"));
    let late = house.call("POST", "/v1/images").header("x-image-meta-name", "late").image(&qcow2("5M")).send().await;
    assert_eq!(late.status, 429);
    open.reset();
}

#[tokio::test]
async fn a_lost_file_is_noticed_and_found_again() {
    let house = House::start().await;
    let image = house.active("a", &qcow2("5M")).await;
    let id = image["id"].as_str().expect("an id");
    let (path, aside) = (house.glance.files().path(id).expect("a path"), house.dir.path().join("aside"));
    std::fs::rename(&path, &aside).expect("moved");
    let answer = house.call("GET", &format!("/v1/images/{id}")).send().await;
    assert_eq!((answer.status, answer.class().as_str()), (499, "ServiceAbnormal"));
    assert_eq!(house.run("image-verify").await.get("lost"), 1);
    house.warned("an image file is missing");
    assert_eq!(house.find(id).await.expect("a row")["status"], "queued");
    std::fs::write(&path, b"something else").expect("written");
    assert_eq!(house.run("image-verify").await.get("found"), 0);
    std::fs::rename(&aside, &path).expect("moved back");
    assert_eq!(house.run("image-verify").await.get("found"), 1);
    assert_eq!(house.find(id).await.expect("a row")["status"], "active");
}
