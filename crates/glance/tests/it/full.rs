//! A disk that fills up: a small file system in memory, mounted for the test (which runs as root).

use crate::client::eventually;
use crate::house::{House, noise};
use std::path::{Path, PathBuf};
use std::process::Command;

struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path, size: &str) -> Mount {
        std::fs::create_dir_all(at).expect("made");
        let out = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(at).output().expect("util-linux");
        assert!(out.status.success(), "this test must run as root: {}", String::from_utf8_lossy(&out.stderr));
        Mount(at.to_path_buf())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let out = Command::new("umount").arg("-l").arg(&self.0).output().expect("util-linux");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let small = dir.path().join("small");
    let _mount = Mount::new(&small, "24m");
    let house = House::with(|o| {
        o.dir = small.join("images");
        o.target_formats.clear();
    })
    .await;
    // Announced: refused before a byte is stored.
    let call = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "announced").header("Content-Type", "application/octet-stream");
    let answer = call.open(Some(30 << 20)).await;
    let answer = answer.answer().await;
    assert_eq!((answer.status, answer.class().as_str()), (507, "OutOfResource"));
    // Not announced: refused when it is full.
    let bytes = noise(30 << 20, 2);
    let answer = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "chunked").chunked().image(&bytes).send().await;
    assert_eq!((answer.status, answer.class().as_str()), (507, "OutOfResource"));
    eventually("all of it is gone", || async { house.listing().is_empty() }).await;
    let list = house.call("GET", "/v1/images").send().await.json();
    assert_eq!(list, serde_json::json!({"images": []}));
    // What fits is taken, and the next that does not leaves it alone.
    let image = house.active("fits", &bytes[..16 << 20]).await;
    let answer = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "second").chunked().image(&bytes).send().await;
    assert_eq!(answer.status, 507);
    house.warned("the image store is full");
    let back = house.call("GET", &format!("/v1/images/{}", image["id"].as_str().expect("an id"))).send().await;
    assert!(back.body == bytes[..16 << 20]);
}
