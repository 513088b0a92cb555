//! The image store alone.

use crate::client::eventually;
use crate::house::{listing, noise};
use glance::files::{Bounds, Files};
use http::Bytes;
use std::fs;
use std::path::Path;
use std::process::Command;

const BOUNDS: Bounds = Bounds { image: 64 << 20, reserve: 0 };

fn open(dir: &Path) -> Files {
    Files::open(dir, BOUNDS).expect("a directory of ours")
}

async fn put(files: &Files, name: &str, bytes: &[u8], piece: usize) -> base::Result<glance::files::Received> {
    let mut upload = files.begin(name, Some(bytes.len() as u64))?;
    for piece in bytes.chunks(piece) {
        upload.push(Bytes::copy_from_slice(piece)).await?;
    }
    upload.finish().await
}

/// The first word a program prints about a file.
fn sum(program: &str, path: &Path) -> String {
    let out = Command::new(program).arg(path).output().expect("coreutils are installed");
    String::from_utf8(out.stdout).expect("text").split(' ').next().expect("a sum").to_string()
}

#[tokio::test]
async fn digests_are_those_of_the_bytes() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let files = open(dir.path());
    // Around the block the digests read at once, and around the block of the sampled digest.
    for (i, len) in [1, 511, 32 << 10, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (4 << 20) + 5, 9 << 20].into_iter().enumerate() {
        let bytes = noise(len, i as u64 + 7);
        let name = format!("image-{i}");
        let received = put(&files, &name, &bytes, 70_001).await.expect("it is taken");
        assert_eq!(received.size, len as u64);
        let begun = files.digests(&name).await.expect("digests");
        let again = files.digests(&name).await.expect("digests");
        assert_eq!(begun, again, "while it grew and afterwards, {len} bytes");
        let path = files.path(&name).expect("a path");
        assert_eq!((begun.md5, begun.sha256), (sum("md5sum", &path), sum("sha256sum", &path)), "{len} bytes");
        assert_eq!(begun.fast_hash, sampled(&bytes), "{len} bytes");
        assert_eq!(fs::read(path).expect("the file"), bytes);
    }
}

/// The sampled digest by its description, on a slice.
fn sampled(bytes: &[u8]) -> String {
    use sha2::Digest;
    let blocks: Vec<&[u8]> = bytes.chunks_exact(32 << 10).collect();
    let count = blocks.len() / 128;
    let data = if count == 0 { bytes.to_vec() } else { (0..count).flat_map(|i| blocks[i * 128]).copied().collect() };
    let all = [
        md5::Md5::digest(&data).to_vec(),
        sha1::Sha1::digest(&data).to_vec(),
        sha2::Sha256::digest(&data).to_vec(),
        sha2::Sha512::digest(&data).to_vec(),
    ];
    let byte = |i: usize| all.iter().fold(0u8, |sum, d| sum.wrapping_add(d[i]));
    hex::encode((0..16).map(byte).collect::<Vec<u8>>())
}

#[tokio::test]
async fn what_breaks_off_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let files = open(dir.path());
    let mut upload = files.begin("a", None).expect("room");
    upload.push(Bytes::from(noise(3 << 20, 1))).await.expect("taken");
    assert_eq!(listing(dir.path()), ["a.part"]);
    drop(upload);
    eventually("the unfinished file is gone", || async { listing(dir.path()).is_empty() }).await;

    // Shorter than announced.
    let mut upload = files.begin("b", Some(100)).expect("room");
    upload.push(Bytes::from(vec![0; 99])).await.expect("taken");
    assert_eq!(upload.finish().await.expect_err("short").class().http(), 400);
    // Longer than allowed, announced or not.
    assert_eq!(files.begin("c", Some(BOUNDS.image + 1)).err().expect("too long").class().http(), 413);
    let piece = Bytes::from(vec![0; 8 << 20]);
    let mut upload = files.begin("c", None).expect("room");
    let mut refused = None;
    for _ in 0..10 {
        refused = upload.push(piece.clone()).await.err();
        if refused.is_some() {
            break;
        }
    }
    let refused = match refused {
        Some(e) => e,
        None => upload.finish().await.expect_err("too long"),
    };
    assert_eq!(refused.class().http(), 413);
    eventually("all of it is gone", || async { listing(dir.path()).is_empty() }).await;
}

#[tokio::test]
async fn a_crash_is_cleared_up_and_two_owners_are_refused() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    fs::write(dir.path().join("whole"), b"x").expect("written");
    fs::write(dir.path().join("half.part"), b"x").expect("written");
    fs::write(dir.path().join("half.qcow2.part"), b"x").expect("written");
    let files = open(dir.path());
    assert_eq!(listing(dir.path()), ["whole"]);
    assert_eq!(Files::open(dir.path(), BOUNDS).err().expect("one owner").class().http(), 409);
    drop(files);
    open(dir.path());
}

#[tokio::test]
async fn names_stay_inside_the_directory() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let files = open(dir.path());
    for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\0b", ".lock", "x.part", "ü", &"a".repeat(129)] {
        assert!(files.path(name).is_err(), "{name:?}");
        assert!(files.begin(name, None).is_err(), "{name:?}");
        assert!(files.remove(name).is_err(), "{name:?}");
    }
    assert!(files.path("0a1b-2c.qcow2").is_ok());
}
