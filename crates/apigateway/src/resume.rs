//! Image files in pieces, so that a line that breaks costs a piece and not the file. The image service takes one body: here it is kept open while the
//! browser comes back, and pieces go straight through, never into memory or onto a disk of ours.
//!
//! ```text
//! POST imageutils/uploads {size, name…} ─▶ {id, offset}
//! PUT  imageutils/uploads/{id}?offset=N  bytes ─▶ {offset}, at the end the image
//! GET  imageutils/uploads/{id} ─▶ {offset, size}        DELETE: given up
//! ```
//!
//! It waits as long as the image service waits for its body, half a minute; after that the file begins anew. Pieces go to the process that began.

use crate::{Gateway, backend::queue, door::Visit, login::object, on, proxy};
use base::{Error, Json, Result, Timestamp, err, hex_id};
use futures_util::StreamExt;
use http::{Bytes, Method, Reply, Request, Response, Router, StatusCode};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicI64, atomic::Ordering},
};
use tokio::{
    sync::{self, mpsc},
    task::JoinHandle,
};

/// Open transfers of one user.
const MOST: usize = 8;
/// Nobody came back for so long, seconds.
const PATIENCE: i64 = 120;

/// Transfers that are under way.
#[derive(Default)]
pub struct Uploads(Mutex<HashMap<String, Arc<Upload>>>);

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
    offset: u64,
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
    fn put(&self, id: &str, upload: Upload) -> Result<()> {
        let mut all = self.all();
        if all.values().filter(|u| u.user == upload.user).count() >= MOST {
            return Err(err!(OutOfLimit, "{} transfers are open already; finish one or give it up", MOST));
        }
        all.insert(id.to_string(), Arc::new(upload));
        Ok(())
    }

    fn take(&self, id: &str) {
        self.all().remove(id);
    }

    /// Forgets what nobody came back for. The image service sees a body that breaks off, and keeps nothing of it.
    pub fn sweep(&self, now: Timestamp) {
        self.all().retain(|_, u| now.micros() - u.used.load(Ordering::Relaxed) < PATIENCE * 1_000_000);
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
    let way = Way { offset: 0, put: Some(put), answer: Some(answer) };
    let upload = Upload { user: visit.session.user_id.clone(), size, used: AtomicI64::new(now.micros()), way: sync::Mutex::new(way) };
    let id = hex_id();
    gateway.uploads.put(&id, upload)?;
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
    while let Some(bytes) = body.next().await {
        let bytes = bytes?;
        let next = way.offset + bytes.len() as u64;
        if next > upload.size {
            return Err(more());
        }
        upload.used.store(gateway.clock.now().micros(), Ordering::Relaxed);
        let sent = match &way.put {
            Some(put) => put.send(Ok(bytes)).await.is_ok(),
            None => false,
        };
        if !sent {
            // The image service has answered already: it says why.
            return ended(gateway, &id, &mut way).await;
        }
        way.offset = next;
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
