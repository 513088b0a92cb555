//! One upload on its way into a file.
//!
//! ```text
//! handler ──pieces, bounded──▶ writer thread ──▶ <name>.part ──rename──▶ <name>
//!                                  │ bytes written so far
//!                                  └──────────▶ digest thread, reads behind the writer, low priority
//! ```
//!
//! The digests follow through the page cache instead of standing in the way, because MD5 is slower than a network and a disk: the client is
//! answered when its bytes are stored, the checksum comes when it is ready. Memory is bounded by the pieces in flight. Dropping an upload
//! leaves nothing.

use super::digest::Follower;
use super::{Files, failed, full, part};
use base::{Error, Result, err};
use diskimage::{Facts, HEAD_LEN};
use http::Bytes;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces between the handler and the writer. A piece is what one read of the network gave: some hundred KiB at most.
const PIECES: usize = 16;
/// How often the room left is looked at, bytes.
const LOOK: u64 = 64 << 20;

enum Piece {
    Data(Bytes),
    /// The sender is done; without this word the upload broke off.
    End,
}

/// What has arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Bytes.
    pub size: u64,
    pub facts: Facts,
}

pub struct Upload {
    pieces: mpsc::Sender<Piece>,
    writer: Option<JoinHandle<Result<Received>>>,
    written: Arc<AtomicU64>,
}

impl Upload {
    pub(super) fn begin(files: &Files, name: &str, expect: Option<u64>) -> Result<Upload> {
        let bounds = files.0.bounds;
        if expect.is_some_and(|n| n > bounds.image) {
            return Err(too_large(bounds.image));
        }
        if expect.unwrap_or(0) >= files.room()? {
            return Err(full());
        }
        let path = files.path(name)?;
        let temp = part(&path);
        // Whoever owned an older one is gone: rows admit one upload at a time.
        let file =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(&temp).map_err(|e| failed(e, &temp))?;
        let (pieces, inbox) = mpsc::channel(PIECES);
        let written = Arc::new(AtomicU64::new(0));
        let job = Writer { files: files.clone(), name: name.to_string(), file, written: written.clone(), expect };
        let writer = tokio::task::spawn_blocking(move || {
            let out = job.run(inbox);
            if out.is_err() {
                // Gone already when the rename had happened.
                let _ = fs::remove_file(&temp);
            }
            out
        });
        Ok(Upload { pieces, writer: Some(writer), written })
    }

    /// Hands over the next piece; waits while the disk is behind.
    ///
    /// # Errors
    /// What made the writer give up: a refused format, a full disk, the size limit.
    pub async fn push(&mut self, piece: Bytes) -> Result<()> {
        if self.pieces.send(Piece::Data(piece)).await.is_ok() {
            return Ok(());
        }
        Err(self.outcome().await.err().unwrap_or_else(|| Error::internal("the writer of an image ended before its upload")))
    }

    /// Waits until the writer gives up, which it may do between two pieces.
    pub async fn given_up(&self) {
        self.pieces.closed().await;
    }

    /// Ends the upload: the file is complete under its name, and its digests are under way.
    pub async fn finish(mut self) -> Result<Received> {
        // A writer that is gone says why below.
        let _ = self.pieces.send(Piece::End).await;
        self.outcome().await
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    async fn outcome(&mut self) -> Result<Received> {
        match self.writer.take() {
            Some(writer) => writer.await.map_err(Error::internal)?,
            None => Err(Error::internal("an upload was used after its end")),
        }
    }
}

struct Writer {
    files: Files,
    name: String,
    file: File,
    written: Arc<AtomicU64>,
    expect: Option<u64>,
}

impl Writer {
    fn run(mut self, mut inbox: mpsc::Receiver<Piece>) -> Result<Received> {
        let path = self.files.path(&self.name)?;
        let temp = part(&path);
        let follower = Follower::start(self.file.try_clone().map_err(|e| failed(e, &temp))?)?;
        let (mut size, mut next_look) = (0u64, LOOK);
        let mut head = Vec::with_capacity(HEAD_LEN);
        loop {
            let data = match inbox.blocking_recv() {
                Some(Piece::Data(data)) => data,
                Some(Piece::End) => break,
                None => return Err(err!(BadRequest, "the upload broke off after {} bytes; send the image again", size)),
            };
            size += data.len() as u64;
            if size > self.files.0.bounds.image {
                return Err(too_large(self.files.0.bounds.image));
            }
            if head.len() < HEAD_LEN {
                head.extend_from_slice(&data[..data.len().min(HEAD_LEN - head.len())]);
                // What cannot become an image is refused before gigabytes of it have come.
                if let Some(refusal) = diskimage::early(&head) {
                    return Err(refusal.into());
                }
            }
            self.file.write_all(&data).map_err(|e| failed(e, &temp))?;
            self.written.store(size, Ordering::Relaxed);
            follower.reached(size);
            if size >= next_look {
                next_look = size + LOOK;
                if self.files.room()? == 0 {
                    return Err(full());
                }
            }
        }
        if let Some(expect) = self.expect.filter(|n| *n != size) {
            return Err(err!(BadRequest, "{} bytes were announced and {} came; send the image again", expect, size));
        }
        let facts = diskimage::inspect(&self.file)?;
        self.place(&temp, &path)?;
        let handle = tokio::runtime::Handle::current();
        let digests = handle.spawn_blocking(move || follower.finish(size));
        self.files.lock_digests().insert(self.name.clone(), digests);
        Ok(Received { size, facts })
    }

    fn place(&self, temp: &Path, path: &Path) -> Result<()> {
        fs::rename(temp, path).map_err(|e| failed(e, path))
    }
}

fn too_large(limit: u64) -> Error {
    err!(TooLargeEntity, "an image may have at most {} bytes; make it smaller, for example with qemu-img convert -c", limit)
}
