//! Digests of image files: the checksum of the wire (MD5), SHA-256, and the sampled `fast_hash` (spec 21 §12.3).

use base::{Error, Result};
use md5::{Digest, Md5};
use rustix::process::setpriority_process;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Read at once.
const BLOCK: usize = 1 << 20;
/// Sampled: one block of this size in [`SAMPLE_EVERY`].
const SAMPLE: u64 = 32 << 10;
const SAMPLE_EVERY: u64 = 128;
/// Priority below those who serve.
const NICE: i32 = 10;

/// Digests of a whole file, hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    pub md5: String,
    pub sha256: String,
    pub fast_hash: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Growing(u64),
    Complete(u64),
    /// The upload is gone; nobody wants an answer.
    Off,
}

/// Computes the digests of a file that is being written, on a thread of its own.
pub struct Follower {
    stage: Arc<(Mutex<Stage>, Condvar)>,
    thread: Option<thread::JoinHandle<io::Result<Option<Digests>>>>,
}

impl Follower {
    pub fn start(file: File) -> Result<Follower> {
        let stage = Arc::new((Mutex::new(Stage::Growing(0)), Condvar::new()));
        let watched = stage.clone();
        let thread = thread::Builder::new().name("image-digest".into()).spawn(move || {
            // Linux keeps priorities by thread: "none" is this one. Only politeness; a system that forbids it gets the digests all the same.
            let _ = setpriority_process(None, NICE);
            follow(&file, &watched)
        });
        Ok(Follower { stage, thread: Some(thread.map_err(Error::internal)?) })
    }

    /// So many bytes can be read.
    pub fn reached(&self, size: u64) {
        self.set(Stage::Growing(size));
    }

    /// The file is complete; waits for the digests.
    pub fn finish(mut self, size: u64) -> Result<Digests> {
        self.set(Stage::Complete(size));
        let thread = self.thread.take().ok_or_else(|| Error::internal("the digests of an image were asked for twice"))?;
        let digests = thread.join().map_err(|_| Error::internal("the digest thread panicked"))?;
        digests.map_err(Error::internal)?.ok_or_else(|| Error::internal("the digest thread was called off"))
    }

    fn set(&self, stage: Stage) {
        *lock(&self.stage.0) = stage;
        self.stage.1.notify_one();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.set(Stage::Off);
            // One block at most; afterwards nobody holds the file, and a full disk has its room again.
            let _ = thread.join();
        }
    }
}

fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

fn follow(file: &File, stage: &(Mutex<Stage>, Condvar)) -> io::Result<Option<Digests>> {
    let (mut md5, mut sha256) = (Md5::new(), Sha256::new());
    let mut buf = vec![0u8; BLOCK];
    let mut at = 0u64;
    loop {
        // Whole blocks while the file grows: no wake-up for every piece.
        let guard = stage.1.wait_while(lock(&stage.0), |s| matches!(s, Stage::Growing(n) if *n < at + BLOCK as u64));
        let (readable, complete) = match *guard.unwrap_or_else(PoisonError::into_inner) {
            Stage::Off => return Ok(None),
            Stage::Growing(n) => (n, false),
            Stage::Complete(n) => (n, true),
        };
        if at == readable && complete {
            break;
        }
        let n = (readable - at).min(BLOCK as u64) as usize;
        file.read_exact_at(&mut buf[..n], at)?;
        md5.update(&buf[..n]);
        sha256.update(&buf[..n]);
        at += n as u64;
    }
    Ok(Some(Digests { md5: hex::encode(md5.finalize()), sha256: hex::encode(sha256.finalize()), fast_hash: fast_hash(file, at)? }))
}

/// Digests of a complete file.
pub fn digest(file: &File) -> io::Result<Digests> {
    let stage = (Mutex::new(Stage::Complete(file.metadata()?.len())), Condvar::new());
    follow(file, &stage)?.ok_or_else(|| io::Error::other("called off"))
}

/// Every 128th block of 32 KiB through four digests, which are then added byte by byte; the whole file when it has fewer blocks.
pub fn fast_hash(file: &File, size: u64) -> io::Result<String> {
    let (mut md5, mut sha1, mut sha256, mut sha512) = (Md5::new(), Sha1::new(), Sha256::new(), Sha512::new());
    let mut feed = |buf: &[u8]| {
        md5.update(buf);
        sha1.update(buf);
        sha256.update(buf);
        sha512.update(buf);
    };
    let samples = size / SAMPLE / SAMPLE_EVERY;
    let mut buf = vec![0u8; SAMPLE as usize];
    if samples == 0 {
        let mut at = 0;
        while at < size {
            let n = (size - at).min(SAMPLE) as usize;
            file.read_exact_at(&mut buf[..n], at)?;
            feed(&buf[..n]);
            at += n as u64;
        }
    }
    for i in 0..samples {
        file.read_exact_at(&mut buf, i * SAMPLE_EVERY * SAMPLE)?;
        feed(&buf);
    }
    let (md5, sha1, sha256, sha512) = (md5.finalize(), sha1.finalize(), sha256.finalize(), sha512.finalize());
    let sum = |i: usize| md5[i].wrapping_add(sha1[i]).wrapping_add(sha256[i]).wrapping_add(sha512[i]);
    Ok(hex::encode((0..16).map(sum).collect::<Vec<u8>>()))
}
