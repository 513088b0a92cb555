//! Bytes coming in: from a request body or from a source we fetch, into a file, up to the state `saved`.
//!
//! The work runs in a task of its own, so that it ends properly when its client is gone. What a broken upload leaves:
//! - the row came with the upload (`POST` with a body): nothing, as if it had never been asked for, and its name is free again;
//! - the row was there before (`PUT`, copy from a source): the row, `killed`, with the reason in its events, unprotected so that it can go.

use crate::{Busy, Glance, files::Upload, rows};
use api_image::Status;
use base::{Ctx, Error, Result, err};
use diskimage::Facts;
use futures_util::StreamExt;
use http::{ByteStream, Bytes};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::{Cond, set, work};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

/// How often the row of a long upload says how far it is.
const TICK: Duration = Duration::from_secs(5);
/// A refused client is listened to for a while, so that it reads the refusal instead of a broken connection.
const LINGER_BYTES: u64 = 64 << 20;
const LINGER: Duration = Duration::from_secs(5);

impl Glance {
    /// One of the places for a stream; waits for it a while, unless too many wait already.
    pub(crate) async fn place(&self) -> Result<OwnedSemaphorePermit> {
        struct Waiting<'a>(&'a Glance);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.options.waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(err!(TooManyRequests, "{} image transfers are waiting already; try again later", self.options.waiting));
        }
        let _waiting = Waiting(self);
        // The others may take hours: whoever waits longer hears so instead of nothing.
        let place = tokio::time::timeout(self.options.patience, self.streams.clone().acquire_owned()).await;
        let late = |_| err!(TooManyRequests, "{} image transfers are under way and none has ended; try again later", self.options.streams);
        place.map_err(late)?.map_err(Error::internal)
    }

    /// Takes in the bytes of an image in state `saving`. The receiver is told when the image is `saved`, or why not; what follows goes on
    /// without anybody listening.
    pub(crate) fn receive(
        self: &Arc<Self>,
        ctx: Ctx,
        busy: Busy,
        expect: Option<u64>,
        stream: ByteStream,
    ) -> oneshot::Receiver<Result<()>> {
        let (told, tell) = oneshot::channel();
        let glance = self.clone();
        tokio::spawn(async move {
            let id = busy.id.clone();
            // Asked again after its end by the lingering below.
            let mut stream: ByteStream = Box::pin(stream.fuse());
            match glance.fill(&ctx, &id, expect, &mut stream).await {
                Ok(()) => {
                    let _ = told.send(Ok(()));
                    glance.settle_logged(busy).await;
                }
                Err(e) => {
                    tracing::info!(image = id, error = %e, cause = e.context(), "an upload failed");
                    if let Err(e) = glance.broken(&ctx, &id, &e.to_string()).await {
                        tracing::warn!(image = id, error = %e, cause = e.context(), "a failed upload is left for the next run of the upkeep");
                    }
                    drop(busy);
                    linger(stream).await;
                    let _ = told.send(Err(e));
                }
            }
        });
        tell
    }

    async fn fill(&self, ctx: &Ctx, id: &str, expect: Option<u64>, stream: &mut ByteStream) -> Result<()> {
        let _place = self.place().await?;
        let mut upload = self.files.begin(id, expect)?;
        self.pump(id, expect, stream, &mut upload).await?;
        let received = upload.finish().await?;
        let size = i64::try_from(received.size).map_err(Error::internal)?;
        let done = rows::transition(self.db(), ctx, id, &[Status::Saving], Status::Saved, "", |row| {
            row.set("size", size);
            row.set("upload_creates", false);
            describe(row, &received.facts);
        });
        if done.await?.is_none() {
            self.files.remove(id)?;
            bail_gone()?;
        }
        Ok(())
    }

    /// Moves the pieces, and tells the row from time to time.
    async fn pump(&self, id: &str, expect: Option<u64>, stream: &mut ByteStream, upload: &mut Upload) -> Result<()> {
        let mut tick = tokio::time::interval_at(Instant::now() + TICK, TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                piece = stream.next() => match piece {
                    Some(piece) => upload.push(piece?).await?,
                    None => return Ok(()),
                },
                // A client may stop sending and wait: the refusal must not wait for it.
                () = upload.given_up() => upload.push(Bytes::new()).await?,
                _ = tick.tick() => {
                    let size = upload.written() as i64;
                    let percent = expect.filter(|n| *n > 0).map_or(0, |n| (size as u64).saturating_mul(100) / n) as i64;
                    let here = Cond::eq("id", id).and(Cond::eq("status", Status::Saving)).and(Cond::eq("deleted", false));
                    let here = &here;
                    let found = self.db().tx(|tx| work(async move {
                        tx.update("images", here.clone(), vec![set("size", size), set("progress", percent)]).await
                    }));
                    if found.await? == 0 {
                        // Deleted or killed meanwhile: no use in the rest.
                        return bail_gone();
                    }
                }
            }
        }
    }

    /// Clears up after an upload that will not be completed.
    pub(crate) async fn broken(&self, ctx: &Ctx, id: &str, reason: &str) -> Result<()> {
        let Some(row) = rows::alive(self.db(), id).await? else { return self.files.remove(id) };
        let to = if row.flag("upload_creates") { Status::Deleted } else { Status::Killed };
        let ended = rows::transition(self.db(), ctx, id, &[Status::Saving], to, reason, |row| {
            row.set("size", 0);
            row.set("disable_delete", false);
        });
        if ended.await?.is_some() { self.files.remove(id) } else { Ok(()) }
    }
}

fn bail_gone<T>() -> Result<T> {
    Err(err!(InvalidStatus, "the image was deleted or given up while its bytes arrived"))
}

/// What the header says, into the row. The client's word for the format was a hint; its minimum may only be larger.
pub(crate) fn describe(row: &mut base::Row, facts: &Facts) {
    let need = i64::try_from(facts.min_disk_mb()).unwrap_or(i64::MAX);
    row.set("disk_format", facts.format.name());
    row.set("virtual_size", i64::try_from(facts.virtual_size).unwrap_or(i64::MAX));
    row.set("min_disk", row.int("min_disk").max(need));
    row.set("encrypt_status", if facts.encrypted { "encrypted" } else { "" });
}

/// Listens for a while to bytes nobody wants.
pub(crate) async fn linger(mut stream: ByteStream) {
    let drain = async {
        let mut left = LINGER_BYTES;
        while let Some(Ok(piece)) = stream.next().await {
            let n = Bytes::len(&piece) as u64;
            match left.checked_sub(n) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whatever came of it, the refusal is sent now.
    let _ = tokio::time::timeout(LINGER, drain).await;
}
