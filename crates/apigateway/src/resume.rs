//! Image files in pieces, so that a line that breaks costs a piece and not the file. The image service takes one body: here it is kept open while the
//! browser comes back, and pieces go straight through, never into memory or onto a disk of ours.
//!
//! ```text
//! POST imageutils/uploads {size, name…} ─▶ {id, offset}
//! PUT  imageutils/uploads/{id}?offset=N  bytes ─▶ {offset}, at the end the image
//! GET  imageutils/uploads/{id} ─▶ {offset, size}        DELETE: given up
//! ```
//!
//! The image service waits half a minute for its body; a browser may be away for ten, so long as it takes to load a page anew and choose the file
//! again. Meanwhile the service is given a byte now and then, of a few that are held back for that. Pieces go to the process that began.

use crate::{Gateway, backend::queue, door::Visit, login::object, on, proxy};
use base::{Clock, Error, Json, Result, Timestamp, err, hex_id};
use futures_util::StreamExt;
use http::{Bytes, Method, Reply, Request, Response, Router, StatusCode};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::AtomicI64, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{self, mpsc},
    task::JoinHandle,
};

/// Open transfers of one user.
const MOST: usize = 8;
/// Nobody came back for so long, seconds.
const PATIENCE: i64 = 600;
/// How often the image service hears something while nobody comes: three times as often as it must.
const BEAT: Duration = Duration::from_secs(10);
/// Transfers of everybody that wait for their page at most, a quarter of the image service's places: when there are more, it lets go of those it does
/// not hear from.
const KEPT: usize = 16;
/// Bytes held back for that: one for each beat of the longest wait.
const RESERVE: usize = 64;

/// Transfers that are under way.
#[derive(Clone, Default)]
pub struct Uploads(Arc<Mutex<HashMap<String, Arc<Upload>>>>);

struct Upload {
    user: String,
    size: u64,
    /// When a piece came last, microseconds.
    used: AtomicI64,
    /// Held by whoever brings a piece.
    way: sync::Mutex<Way>,
}

/// The body of the request to the image service.
struct Way {
    /// Bytes that have come, those held back among them.
    offset: u64,
    held: Bytes,
    /// None when all is sent.
    put: Option<mpsc::Sender<Result<Bytes>>>,
    answer: Option<JoinHandle<Result<(u16, Json)>>>,
}

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    let one = "/api/{ver}/imageutils/uploads/{id}";
    router
        .post("/api/{ver}/imageutils/uploads", on(gateway, |g, r| async move { begin(&g, r).await }))
        .get(one, on(gateway, |g, r| async move { show(&g, r).await }))
        .put(one, on(gateway, |g, r| async move { piece(&g, r).await }))
        .delete(one, on(gateway, |g, r| async move { give_up(&g, r).await }))
}

impl Uploads {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Upload>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the user himself; anybody else's does not exist.
    fn find(&self, id: &str, user: &str) -> Result<Arc<Upload>> {
        let found = self.all().get(id).filter(|u| u.user == user).cloned();
        found.ok_or_else(|| err!(NotFound, "this transfer is over; begin it again"))
    }

    /// Takes a transfer in; of many that one user begins at once, as many as he may have.
    fn put(&self, id: &str, upload: Upload) -> Result<Weak<Upload>> {
        let mut all = self.all();
        if all.values().filter(|u| u.user == upload.user).count() >= MOST {
            return Err(err!(OutOfLimit, "{} transfers are open already; finish one or give it up", MOST));
        }
        let upload = Arc::new(upload);
        let weak = Arc::downgrade(&upload);
        all.insert(id.to_string(), upload);
        Ok(weak)
    }

    fn take(&self, id: &str) {
        self.all().remove(id);
    }

    /// Forgets what nobody came back for. The image service sees a body that breaks off, and keeps nothing of it.
    pub fn sweep(&self, now: Timestamp) {
        self.all().retain(|_, u| now.micros() - u.used.load(Ordering::Relaxed) < PATIENCE * 1_000_000);
    }
}

impl Way {
    /// Sends bytes on, all but the last few unless the file of `size` bytes is whole by them. False when the image service takes none any more.
    async fn pass(&mut self, bytes: Bytes, size: u64) -> bool {
        let Some(put) = &self.put else { return false };
        // Whoever is dropped here has sent nothing and counted nothing.
        let Ok(mut places) = put.reserve_many(2).await else { return false };
        self.offset += bytes.len() as u64;
        let keep = if self.offset < size { RESERVE } else { 0 };
        let mut rest = bytes;
        if rest.len() < keep {
            rest = [&self.held[..], &rest[..]].concat().into();
            self.held = Bytes::new();
        }
        let tail = rest.split_off(rest.len().saturating_sub(keep));
        for piece in [std::mem::replace(&mut self.held, tail), rest].into_iter().filter(|p| !p.is_empty()) {
            if let Some(place) = places.next() {
                place.send(Ok(piece));
            }
        }
        true
    }

    /// One byte of those held back, so that the image service sees a slow sender and not a dead one.
    fn drip(&mut self) {
        if let Some(place) = self.put.as_ref().and_then(|put| put.try_reserve().ok()).filter(|_| !self.held.is_empty()) {
            place.send(Ok(self.held.split_to(1)));
        }
    }
}

/// Keeps a transfer that nobody brings pieces to, as long as somebody may come back.
async fn keep(uploads: Uploads, id: String, upload: Weak<Upload>, clock: Clock) {
    let mut over = 0;
    loop {
        tokio::time::sleep(BEAT).await;
        let Some(upload) = upload.upgrade() else { return };
        uploads.sweep(clock.now());
        // Whoever brings a piece now keeps it himself.
        let Ok(mut way) = upload.way.try_lock() else { continue };
        if way.put.as_ref().is_some_and(mpsc::Sender::is_closed) {
            // Refused, or given up by the image service: the page may still come for the reason, and then its place is free.
            over += 1;
            if over > 6 {
                return uploads.take(&id);
            }
        } else if uploads.all().len() > KEPT {
            continue;
        }
        if way.put.is_none() || uploads.find(&id, &upload.user).is_err() {
            return;
        }
        way.drip();
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Some(put) = self.put.take() {
            // An end without it would pass for a whole file.
            let _full = put.try_send(Err(err!(Timeout, "nobody went on with the transfer")));
        }
        if let Some(answer) = self.answer.take() {
            answer.abort();
        }
    }
}

async fn begin(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let mut visit = gateway.enter(request).await?;
    let mut fields = object(&mut visit.request).await?;
    let size = fields.remove("size").and_then(|s| s.as_u64()).filter(|s| *s > 0);
    let size = size.ok_or_else(|| err!(MissingParameter, "{} is missing", "size"))?;
    let now = gateway.clock.now();
    gateway.uploads.sweep(now);
    let url = format!("{}/images", gateway.services.endpoint("image", "").await?);
    let mut call = gateway.services.streaming.call(Method::POST, &url).ctx(&visit.ctx).header("content-type", "application/octet-stream");
    for (name, value) in api_image::headers::write(&fields) {
        call = call.header(&name, &String::from_utf8_lossy(&value));
    }
    let (put, take) = mpsc::channel(4);
    let call = call.stream(queue(take), Some(size));
    let answer = tokio::spawn(async move {
        let answer = call.send_any().await?;
        Ok((answer.status, answer.json().await?))
    });
    let way = Way { offset: 0, held: Bytes::new(), put: Some(put), answer: Some(answer) };
    let upload = Upload { user: visit.session.user_id.clone(), size, used: AtomicI64::new(now.micros()), way: sync::Mutex::new(way) };
    let id = hex_id();
    let kept = gateway.uploads.put(&id, upload)?;
    tokio::spawn(keep(gateway.uploads.clone(), id.clone(), kept, gateway.clock.clone()));
    Ok(Response::json(&json!({"id": id, "offset": 0, "size": size})))
}

async fn held(gateway: &Gateway, request: Request) -> Result<(Visit, String, Arc<Upload>)> {
    proxy::version(&request)?;
    let visit = gateway.enter(request).await?;
    let id = visit.request.param("id").to_string();
    let upload = gateway.uploads.find(&id, &visit.session.user_id)?;
    Ok((visit, id, upload))
}

async fn show(gateway: &Gateway, request: Request) -> Reply {
    let (_, _, upload) = held(gateway, request).await?;
    let way = upload.way.lock().await;
    Ok(Response::json(&json!({"offset": way.offset, "size": upload.size})))
}

async fn piece(gateway: &Gateway, request: Request) -> Reply {
    let (mut visit, id, upload) = held(gateway, request).await?;
    // The piece before may not have noticed yet that its line is broken: it is waited for.
    let mut way = upload.way.lock().await;
    let offset: u64 = visit.request.query.text("offset").and_then(|o| o.parse().ok()).unwrap_or(u64::MAX);
    if offset != way.offset {
        return Err(err!(Conflict, "the transfer goes on at {}, not at {}", way.offset, offset));
    }
    let more = || err!(InputParameter, "the file is larger than the {} bytes that were announced", upload.size);
    let length: u64 = visit.request.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    if offset.saturating_add(length) > upload.size {
        return Err(more());
    }
    let mut body = visit.request.stream();
    loop {
        let bytes = match tokio::time::timeout(BEAT, body.next()).await {
            Ok(Some(bytes)) => bytes?,
            Ok(None) => break,
            Err(_) => {
                way.drip();
                continue;
            }
        };
        if way.offset + bytes.len() as u64 > upload.size {
            return Err(more());
        }
        upload.used.store(gateway.clock.now().micros(), Ordering::Relaxed);
        if !way.pass(bytes, upload.size).await {
            // The image service has answered already: it says why.
            return ended(gateway, &id, &mut way).await;
        }
    }
    if way.offset < upload.size {
        return Ok(Response::json(&json!({"offset": way.offset})));
    }
    way.put = None;
    ended(gateway, &id, &mut way).await
}

/// What the image service says to the whole file.
async fn ended(gateway: &Gateway, id: &str, way: &mut Way) -> Reply {
    let Some(answer) = &mut way.answer else { return Err(err!(NotFound, "this transfer is over; begin it again")) };
    // A line that breaks now comes back for this answer.
    let told = answer.await;
    way.answer = None;
    gateway.uploads.take(id);
    let (status, mut body) = told.map_err(Error::internal)??;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    if status.is_success() {
        body = body.get_mut("image").map(Json::take).unwrap_or(body);
    }
    Ok(Response::json(&body).with_status(status))
}

async fn give_up(gateway: &Gateway, request: Request) -> Reply {
    let (_, id, _) = held(gateway, request).await?;
    gateway.uploads.take(&id);
    Ok(Response::json(&json!({})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(capacity: usize) -> (Way, mpsc::Receiver<Result<Bytes>>) {
        let (put, take) = mpsc::channel(capacity);
        (Way { offset: 0, held: Bytes::new(), put: Some(put), answer: None }, take)
    }

    fn heard(take: &mut mpsc::Receiver<Result<Bytes>>) -> Vec<u8> {
        let mut all = Vec::new();
        while let Ok(piece) = take.try_recv() {
            all.extend_from_slice(&piece.expect("bytes"));
        }
        all
    }

    #[tokio::test]
    async fn every_byte_once_whatever_is_held_back() {
        let content: Vec<u8> = (0..10_000u32).map(|n| (n % 251) as u8).collect();
        let (mut way, mut take) = way(16);
        let (mut at, mut all) = (0, Vec::new());
        for (n, size) in [1usize, 63, 64, 65, 1, 1, 3000, 0, 200, 64, 10, 5000, 1531].into_iter().enumerate() {
            assert!(way.pass(Bytes::copy_from_slice(&content[at..at + size]), content.len() as u64).await);
            at += size;
            for _ in 0..n % 3 * 30 {
                way.drip();
                all.extend(heard(&mut take));
            }
            all.extend(heard(&mut take));
            assert_eq!(way.offset, at as u64);
            assert!(way.held.len() <= RESERVE && all == content[..at - way.held.len()], "after {at}");
        }
        assert_eq!((at, all.len()), (content.len(), content.len()), "the whole file is sent on whole");
        way.drip();
        assert_eq!(heard(&mut take), b"");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_kept_for_who_comes_back_and_not_for_ever() {
        let clock = Clock::manual(Timestamp::default());
        let (mut way, mut take) = way(256);
        assert!(way.pass(Bytes::from(vec![7; 1000]), 5000).await);
        let uploads = Uploads::default();
        let used = AtomicI64::new(clock.now().micros());
        let kept = uploads.put("one", Upload { user: "ann".into(), size: 5000, used, way: sync::Mutex::new(way) }).expect("a place");
        tokio::spawn(keep(uploads.clone(), "one".into(), kept, clock.clone()));
        assert_eq!(heard(&mut take).len(), 1000 - RESERVE);
        let (mut beats, most) = (0, PATIENCE as u64 / BEAT.as_secs());
        for _ in 0..most - 1 {
            tokio::time::sleep(BEAT).await;
            clock.advance(BEAT);
            beats += heard(&mut take).len() as u64;
        }
        // At least as often as a service that waits thrice as long wants to hear something, and it is all there to go on from.
        assert!(beats > most - 4, "{beats}");
        assert_eq!(uploads.find("one", "ann").expect("it waits").way.lock().await.offset, 1000);
        clock.advance(BEAT * 3);
        tokio::time::sleep(BEAT * 2).await;
        assert!(uploads.find("one", "ann").is_err());
        // An end without a word would pass for a whole file.
        let mut last = None;
        while let Some(piece) = take.recv().await {
            last = Some(piece);
        }
        assert!(last.expect("a last word").is_err());
    }
}
