//! The service as a process of its own, killed at bad moments; and how much memory it takes.

use crate::client::{Answer, Call, eventually};
use crate::house::{listing, md5, noise};
use base::Json;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

struct Alone {
    child: Child,
    addr: SocketAddr,
    images: PathBuf,
}

impl Alone {
    fn start(dir: &Path) -> Alone {
        Alone::with(dir, None)
    }

    /// With a program in the place of qemu-img.
    fn with(dir: &Path, qemu_img: Option<&Path>) -> Alone {
        // Examples are built with the tests, two levels beside them.
        let exe = std::env::current_exe().expect("a path");
        let program = exe.parent().and_then(Path::parent).expect("a target directory").join("examples/alone");
        let mut child = Command::new(program)
            .arg(dir)
            .arg("0")
            .args(qemu_img)
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo builds the example with the tests");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says where it serves");
        Alone { child, addr: line.trim().parse().expect("an address"), images: dir.join("images") }
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn call(&self, method: &str, path: &str) -> Call {
        Call::new(self.addr, method, path, "any")
    }

    async fn list(&self) -> Vec<Json> {
        let answer = self.call("GET", "/v1/images").send().await;
        answer.json()["images"].as_array().expect("a list").clone()
    }

    async fn becomes(&self, name: &str, status: &str) -> Json {
        let find = || async { self.list().await.into_iter().find(|i| i["name"] == name) };
        eventually(&format!("{name} is {status}"), || async { find().await.is_some_and(|i| i["status"] == status) }).await;
        find().await.expect("it was there")
    }

    async fn upload(&self, name: &str, bytes: &[u8]) -> Answer {
        self.call("POST", "/v1/images").header("X-Image-Meta-Name", name).image(bytes).send().await
    }

    /// Most memory it ever had, KiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("a peak");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // Killed already, or killed now: either way it is ours.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn killed_while_images_arrive() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let alone = Alone::start(dir.path());
    let queued = alone.call("POST", "/v1/images").json(&json!({"image": {"name": "by-put"}})).send().await.image();
    let id = queued["id"].as_str().expect("an id");
    let piece = noise(5 << 20, 1);
    let mut post = alone
        .call("POST", "/v1/images")
        .header("X-Image-Meta-Name", "by-post")
        .header("Content-Type", "application/octet-stream")
        .open(Some(1 << 30))
        .await;
    post.write(&piece).await;
    let mut put =
        alone.call("PUT", &format!("/v1/images/{id}")).header("Content-Type", "application/octet-stream").open(Some(1 << 30)).await;
    put.write(&piece).await;
    eventually("both are under way", || async { listing(&alone.images).len() == 2 }).await;
    alone.kill();

    let alone = Alone::start(dir.path());
    eventually("no file is left", || async { listing(&alone.images).is_empty() }).await;
    let killed = alone.becomes("by-put", "killed").await;
    assert_eq!(killed["protected"], false);
    eventually("the other row is gone", || async { alone.list().await.len() == 1 }).await;
    // Its name is free.
    assert_eq!(alone.upload("by-post", &piece).await.status, 200);
}

#[tokio::test]
async fn killed_between_saved_and_active() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let bytes = noise(24 << 20, 2);
    // Makes no copy, and takes as long for it as there is something to wait for.
    let (slow, wait) = (dir.path().join("slow"), dir.path().join("wait"));
    std::fs::write(&wait, "").expect("written");
    std::fs::write(&slow, format!("#!/bin/sh\nwhile [ -e '{}' ]; do sleep 0.05; done\nexit 1\n", wait.display())).expect("written");
    std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let alone = Alone::with(dir.path(), Some(&slow));
    assert_eq!(alone.upload("a", &bytes).await.status, 200);
    // Wherever it is now: checksum, or the copy in qcow2.
    let state = alone.list().await[0]["status"].clone();
    alone.kill();
    std::fs::remove_file(&wait).expect("it was there");
    assert!(["saved", "converting"].contains(&state.as_str().expect("a word")), "{state}: killed too late to show anything");

    let alone = Alone::start(dir.path());
    let image = alone.becomes("a", "active").await;
    assert_eq!(image["checksum"], md5(&bytes));
    let id = image["id"].as_str().expect("an id");
    let formats = alone.call("GET", &format!("/v1/images/{id}/subformats")).send().await.image();
    assert_eq!(formats[1]["status"], "active", "{formats}");
    assert_eq!(listing(&alone.images), [id.to_string(), format!("{id}.qcow2")]);
}

#[tokio::test]
async fn big_images_take_no_memory() {
    const SIZE: usize = 200 << 20;
    let dir = tempfile::tempdir().expect("a scratch directory");
    let alone = Alone::start(dir.path());
    let before = alone.peak();
    let piece = noise(1 << 20, 3);
    let call = alone.call("POST", "/v1/images").header("X-Image-Meta-Name", "big").header("X-Image-Meta-Disk_format", "raw");
    let mut open = call.header("Content-Type", "application/octet-stream").open(Some(SIZE as u64)).await;
    for _ in 0..SIZE >> 20 {
        open.write(&piece).await;
    }
    let image = open.answer().await.image();
    let path = format!("/v1/images/{}", image["id"].as_str().expect("an id"));
    // Its copy is squeezed out of noise: looked at only until the bytes are known.
    eventually("the checksum is there", || async { alone.list().await[0]["checksum"].is_string() }).await;
    eventually("it can be downloaded", || async { alone.call("GET", &path).header("Range", "bytes=0-0").send().await.status == 206 }).await;
    let whole = alone.call("GET", &path).send().await;
    assert_eq!(md5(&whole.body), alone.list().await[0]["checksum"]);
    let grown = alone.peak() - before;
    assert!(grown < 48 << 10, "200 MiB in and out took {grown} KiB of memory");
}
