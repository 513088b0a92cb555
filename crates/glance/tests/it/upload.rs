//! Bytes coming in.

use crate::client::eventually;
use crate::house::{House, made, md5, noise, qcow2};
use serde_json::json;

#[tokio::test]
async fn one_request_makes_an_active_image() {
    let house = House::start().await;
    let bytes = qcow2("100M");
    let call = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "系统 a").header("X-Image-Meta-Disk-Format", "qcow2");
    let call =
        call.header("X-Image-Meta-Property-Os_type", "Linux").header("X-Image-Meta-Os_arch", "amd64").header("X-Image-Meta-Min_disk", "50");
    let image = call.image(&bytes).send().await.image();
    assert!(["saved", "active"].contains(&image["status"].as_str().expect("a status")), "{image}");
    assert_eq!((image["name"].as_str(), image["size"].as_u64()), (Some("系统 a"), Some(bytes.len() as u64)));
    let id = image["id"].as_str().expect("an id");
    let image = house.becomes(id, "active").await;
    assert_eq!(image["checksum"], md5(&bytes));
    assert_eq!(image["min_disk"], 100, "the image needs more than was asked for");
    assert_eq!(image["os_arch"], "x86_64");
    assert_eq!(image["properties"], json!({"os_type": "Linux"}));
    assert_eq!((&image["protected"], &image["disable_delete"]), (&json!(true), &json!(true)));
    assert_eq!(house.listing(), [id]);
    let answer = house.call("GET", &format!("/v1/images/{id}")).send().await;
    assert_eq!((answer.status, answer.body), (200, bytes));
}

#[tokio::test]
async fn chunks_and_two_steps_give_the_same_image() {
    let house = House::start().await;
    let bytes = qcow2("20M");
    let chunked = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "chunked").chunked().image(&bytes).send().await.image();
    let queued = house
        .call("POST", "/v1/images")
        .json(&json!({"image": {"name": "two-steps", "properties": {"os_type": "Linux"}}}))
        .send()
        .await
        .image();
    assert_eq!((&queued["status"], &queued["disk_format"], &queued["size"]), (&json!("queued"), &json!("raw"), &json!(0)));
    let id = queued["id"].as_str().expect("an id");
    let put = house.call("PUT", &format!("/v1/images/{id}")).header("X-Image-Meta-Min_ram", "256").image(&bytes).send().await.image();
    assert_eq!(put["min_ram"], 256);
    let (a, b) = (house.becomes(chunked["id"].as_str().expect("an id"), "active").await, house.becomes(id, "active").await);
    for key in ["checksum", "disk_format", "min_disk", "size", "fast_hash"] {
        assert_eq!(a[key], b[key], "{key}");
    }
    assert_eq!(b["properties"]["os_type"], "Linux");
    // Once there, bytes stay.
    let again = house.call("PUT", &format!("/v1/images/{id}")).image(&bytes).send().await;
    assert_eq!((again.status, again.class().as_str()), (400, "InvalidStatusError"));
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_nothing() {
    let house = House::start().await;
    let open = async |method: &str, path: String| {
        let call = house.call(method, &path).header("X-Image-Meta-Name", "broken").header("Content-Type", "application/octet-stream");
        let mut open = call.open(Some(40 << 20)).await;
        open.write(&noise(10 << 20, 3)).await;
        open
    };
    // The row came with the upload: it goes with it, and its name is free.
    let first = open("POST", "/v1/images".into()).await;
    eventually("the upload is under way", || async { house.listing().iter().any(|n| n.ends_with(".part")) }).await;
    let rows = house.call("GET", "/v1/images?name=broken").send().await.json();
    assert_eq!(rows["images"][0]["status"], "saving", "{rows}");
    let id = rows["images"][0]["id"].as_str().expect("an id").to_string();
    first.reset();
    house.gone(&id).await;
    eventually("no file is left", || async { house.listing().is_empty() }).await;

    // The row was there before: it stays, killed, and can be deleted at once.
    let queued = house.call("POST", "/v1/images").json(&json!({"image": {"name": "broken"}})).send().await.image();
    let id = queued["id"].as_str().expect("an id").to_string();
    let second = open("PUT", format!("/v1/images/{id}")).await;
    house.becomes(&id, "saving").await;
    eventually("the upload is under way", || async { house.listing().iter().any(|n| n.ends_with(".part")) }).await;
    second.reset();
    let killed = house.becomes(&id, "killed").await;
    assert_eq!(killed["protected"], false);
    eventually("no file is left", || async { house.listing().is_empty() }).await;
    assert_eq!(house.call("DELETE", &format!("/v1/images/{id}")).send().await.status, 200);
    house.gone(&id).await;
    let events = house.call("GET", &format!("/v1/events?obj_id={id}&limit=20")).send().await.json().to_string();
    assert!(events.contains("saving=>killed"), "the reason is on record: {events}");
}

#[tokio::test]
async fn an_image_deleted_while_it_arrives_is_given_up() {
    let house = House::start().await;
    let call = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "unwanted").header("Content-Type", "application/octet-stream");
    let mut open = call.open(None).await;
    open.chunk(&noise(1 << 20, 9)).await;
    eventually("the upload is under way", || async { house.listing().iter().any(|n| n.ends_with(".part")) }).await;
    let id = house.call("GET", "/v1/images?name=unwanted").send().await.json()["images"][0]["id"].as_str().expect("an id").to_string();
    assert_eq!(house.delete(&id).await.status, 200);
    house.gone(&id).await;
    open.write(b"0\r\n\r\n").await;
    let answer = open.answer().await;
    assert_eq!((answer.status, answer.class().as_str()), (400, "InvalidStatusError"));
    eventually("no file is left", || async { house.listing().is_empty() }).await;
}

#[tokio::test]
async fn what_cannot_be_an_image_is_refused_and_leaves_nothing() {
    let house = House::start().await;
    let dir = tempfile::tempdir().expect("a scratch directory");
    let overlay = {
        crate::house::make(dir.path(), "qemu-img create -q -f qcow2 base.qcow2 10M");
        crate::house::make(dir.path(), "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 overlay");
        std::fs::read(dir.path().join("overlay")).expect("made")
    };
    let data_file = made("qemu-img create -q -f qcow2 -o data_file=d.raw a 10M", "a");
    let mut gzip = vec![0x1f, 0x8b, 8];
    gzip.extend(noise(300_000, 5));
    for (bytes, word) in
        [(overlay.clone(), "base.qcow2"), (data_file, "d.raw"), (gzip, "gunzip"), (qcow2("10M")[..150_000].to_vec(), "cut short")]
    {
        let answer = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "bad").image(&bytes).send().await;
        assert_eq!((answer.status, answer.class().as_str()), (400, "InvalidFormatError"), "{word}");
        let details = answer.json()["details"].as_str().expect("details").to_string();
        assert!(details.contains(word), "{details}");
        assert_eq!(house.call("GET", "/v1/images").send().await.json(), json!({"images": []}));
        eventually("no file is left", || async { house.listing().is_empty() }).await;
    }
    // Refused by its head: the rest of a gigabyte is not waited for.
    let call = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "bad").header("Content-Type", "application/octet-stream");
    let mut open = call.open(Some(1 << 30)).await;
    open.write(&overlay).await;
    assert_eq!(open.answer().await.class(), "InvalidFormatError");
}

#[tokio::test]
async fn the_bytes_decide_the_format() {
    let house = House::start().await;
    let dir = tempfile::tempdir().expect("a scratch directory");
    std::fs::create_dir(dir.path().join("tree")).expect("made");
    std::fs::write(dir.path().join("tree/file"), b"hello").expect("made");
    crate::house::make(dir.path(), "genisoimage -quiet -o cd.iso tree");
    let iso = std::fs::read(dir.path().join("cd.iso")).expect("made");
    for (declared, bytes, found) in [
        ("raw", qcow2("10M"), "qcow2"),
        ("qcow2", noise(100_000, 1), "raw"),
        ("raw", iso, "iso"),
        ("qcow2", made("qemu-img create -q -f vmdk a 10M", "a"), "vmdk"),
    ] {
        let name = format!("{declared}-{found}");
        let call = house.call("POST", "/v1/images").header("X-Image-Meta-Name", &name).header("X-Image-Meta-Disk_format", declared);
        let image = call.image(&bytes).send().await.image();
        assert_eq!(image["disk_format"], found, "{name}");
        house.becomes(image["id"].as_str().expect("an id"), "active").await;
    }
    let odd = house
        .call("POST", "/v1/images")
        .header("X-Image-Meta-Name", "odd")
        .header("X-Image-Meta-Disk_format", "docker")
        .image(b"x")
        .send()
        .await;
    assert_eq!((odd.status, odd.class().as_str()), (400, "InputParameterError"));
}

#[tokio::test]
async fn many_at_once() {
    let house = House::start().await;
    let house = &house;
    let uploads = (0..8u64).map(|i| async move {
        let bytes = noise(3_000_000 + i as usize, i + 1);
        let image = house.active(&format!("image-{i}"), &bytes).await;
        assert_eq!(image["checksum"], md5(&bytes), "image {i}");
        let id = image["id"].as_str().expect("an id");
        let back = house.call("GET", &format!("/v1/images/{id}")).send().await;
        assert!(back.body == bytes, "image {i} came back changed");
    });
    futures_util::future::join_all(uploads).await;
    // The raw images and their copies.
    assert_eq!(house.listing().len(), 16);
}

#[tokio::test]
async fn one_name_once() {
    let house = House::start().await;
    let bytes = qcow2("1M");
    house.upload("twin", &bytes).await;
    let second = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "twin").image(&bytes).send().await;
    assert_eq!((second.status, second.class().as_str()), (409, "DuplicateNameError"));
    // Another project has its own names.
    let other = house.by("alice", "POST", "/v1/images").header("X-Image-Meta-Name", "twin").image(&bytes).send().await;
    assert_eq!(other.status, 200, "{other:?}");
    let nameless = house.call("POST", "/v1/images").image(&bytes).send().await;
    assert_eq!((nameless.status, nameless.class().as_str()), (400, "MissingParameterError"));
    assert_eq!(house.listing().len(), 2);
}

#[tokio::test]
async fn hostile_headers_are_refused() {
    let house = House::start().await;
    for (name, value) in [
        ("X-Image-Meta-Name", "a%2Fb"),
        ("X-Image-Meta-Name", "a%0Ab"),
        ("X-Image-Meta-Min_disk", "-1"),
        ("X-Image-Meta-Min_disk", "99999999999999999999"),
        ("X-Image-Meta-Min_ram", "much"),
        ("X-Image-Meta-Metadata", "[1,2]"),
        ("X-Image-Meta-Protected", "perhaps"),
        ("X-Image-Meta-Encrypt_key_id", "key"),
    ] {
        let call = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "fine").header(name, value);
        let status = call.image(b"x").send().await.status;
        assert!((400..=406).contains(&status), "{name}: {value} gave {status}");
    }
    // Neither the state nor the owner nor the service's own words are a client's to set.
    let call =
        house.by("alice", "POST", "/v1/images?__upload=body").header("X-Image-Meta-Name", "mine").header("X-Image-Meta-Status", "active");
    let image = call.header("X-Image-Meta-Checksum", "0").header("X-Image-Meta-Size", "7").json(&json!({"image": {}})).send().await.image();
    assert_eq!((&image["status"], &image["size"], &image["tenant"]), (&json!("queued"), &json!(0), &json!("red")));
    assert_eq!(image.get("checksum"), None);
}

/// A refusal that comes before the bytes were wanted still reaches a client that is in the middle of sending them.
#[tokio::test]
async fn a_refused_client_hears_why() {
    let house = House::start().await;
    // More than the sockets hold, so that somebody has to read on; little enough to be read in time on a busy machine.
    let bytes = noise(12 << 20, 1);
    let answer = house.by("", "POST", "/v1/images").header("X-Image-Meta-Name", "a").image(&bytes).send().await;
    assert_eq!((answer.status, answer.class().as_str()), (403, "ForbiddenError"));
    house.upload("taken", &qcow2("1M")).await;
    let answer = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "taken").chunked().image(&bytes).send().await;
    assert_eq!((answer.status, answer.class().as_str()), (409, "DuplicateNameError"));
}
