//! Creating and changing images: metadata from headers or JSON, bytes from the body.

use super::{Desk, copy_from, json, meta, params};
use crate::intake::linger;
use crate::{image, rows};
use api_image::{COPY_FROM, Status};
use base::{Ctx, Error, Json, Result, Row, err};
use http::{Reply, Request, Response};
use resource::{Answer, Map, Method, Params, text};

/// `POST /v1/images`
pub async fn create(desk: &Desk, mut request: Request) -> Reply {
    let reply = make(desk, &mut request).await;
    heard(reply, &mut request).await
}

/// `PUT /v1/images/{id}`: metadata, and with a body the bytes of an image that waits for them.
pub async fn update(desk: &Desk, mut request: Request) -> Reply {
    let reply = change(desk, &mut request).await;
    heard(reply, &mut request).await
}

/// A client that is still sending an image hears a refusal only if somebody listens to it until it reads.
async fn heard(reply: Reply, request: &mut Request) -> Reply {
    let patient = request.header("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue"));
    if reply.is_err() && !patient && brings_bytes(request) {
        linger(request.stream()).await;
    }
    reply
}

async fn make(desk: &Desk, request: &mut Request) -> Reply {
    let ctx = desk.ctx(request);
    desk.may(&ctx, "create")?;
    let mut map = meta(request)?;
    let expect = length(request)?;
    let bytes = brings_bytes(request);
    if !bytes {
        merge(&mut map, request.json().await?);
    }
    let source = request.header(COPY_FROM).map(str::to_string).or_else(|| text(&map, &["copy_from"])).filter(|s| !s.is_empty());
    let source = match source {
        Some(url) => Some(copy_from::check(&desk.glance.options, &url, request)?),
        None => None,
    };
    let mut params = params(request);
    if let Some(coming) = if bytes { Some(image::BY_BODY) } else { source.as_ref().map(|_| image::BY_FETCH) } {
        // One body makes one image.
        map.remove("count");
        params = with(params, image::UPLOAD, coming);
    }
    let answer = desk.ask(&ctx, Method::Post, &["images"], &params, Some(serde_json::json!({ "image": map }))).await?;
    let Some(id) = id_of(&answer) else { return Ok(json(answer)) };
    if bytes {
        return take_in(desk, &ctx, &id, expect, request).await;
    }
    if let Some(url) = source {
        copy_from::start(desk, &ctx, &id, url);
    }
    Ok(json(answer))
}

async fn change(desk: &Desk, request: &mut Request) -> Reply {
    let ctx = desk.ctx(request);
    desk.may(&ctx, "update")?;
    let mut map = meta(request)?;
    let expect = length(request)?;
    let bytes = brings_bytes(request);
    if !bytes {
        merge(&mut map, request.json().await?);
    }
    let id = desk.image(&ctx, request.param("id")).await?;
    if bytes {
        waiting(&id)?;
    }
    let id = id.id().to_string();
    // Also without a single field: this asks for the right to change the image.
    let answer = desk.ask(&ctx, Method::Put, &["images", &id], &params(request), Some(serde_json::json!({ "image": map }))).await?;
    if !bytes {
        return Ok(json(answer));
    }
    let moved =
        rows::transition(&desk.glance.engine.db, &ctx, &id, &[Status::Queued], Status::Saving, "", |row| row.set("upload_creates", false));
    if moved.await?.is_none() {
        let row = desk.image(&ctx, &id).await?;
        waiting(&row)?;
    }
    take_in(desk, &ctx, &id, expect, request).await
}

/// Only an image that never had bytes takes some.
fn waiting(row: &Row) -> Result<()> {
    if rows::state(row) == Some(Status::Queued) && row.text("checksum").is_empty() {
        return Ok(());
    }
    Err(err!(InvalidStatus, "image {} is {}; bytes can be sent to a queued image only, create a new one", row.name(), row.text("status")))
}

async fn take_in(desk: &Desk, ctx: &Ctx, id: &str, expect: Option<u64>, request: &mut Request) -> Reply {
    let busy = desk.glance.take(id).ok_or_else(|| err!(ResourceBusy, "image {} is being worked on; try again", id))?;
    let told = desk.glance.receive(ctx.clone(), busy, expect, request.stream());
    told.await.map_err(|_| Error::internal("the task of an upload vanished"))??;
    saved(desk, ctx, id).await
}

/// The image as it is now: `saved`, or already further.
async fn saved(desk: &Desk, ctx: &Ctx, id: &str) -> Result<Response> {
    Ok(json(desk.ask(ctx, Method::Get, &["images", id], &Params::default(), None).await?))
}

/// Whether the body is an image rather than JSON.
fn brings_bytes(request: &Request) -> bool {
    let kind = request.header("content-type").unwrap_or("").to_ascii_lowercase();
    !kind.trim_start().starts_with("application/json") && request.has_body()
}

/// The announced length; none for a chunked body.
fn length(request: &Request) -> Result<Option<u64>> {
    request
        .header("content-length")
        .map(|text| text.trim().parse().map_err(|_| err!(InputParameter, "Content-Length {} is not a number", text)))
        .transpose()
}

/// A JSON body under the headers: what both say, the header says.
fn merge(map: &mut Map, body: Option<Json>) {
    let Some(Json::Object(mut outer)) = body else { return };
    let inner = match outer.remove("image") {
        Some(Json::Object(inner)) => inner,
        _ => outer,
    };
    for (key, value) in inner {
        map.entry(key).or_insert(value);
    }
}

fn with(mut params: Params, key: &str, value: &str) -> Params {
    match &mut params.0 {
        Json::Object(map) => {
            map.insert(key.into(), value.into());
        }
        other => *other = serde_json::json!({ key: value }),
    }
    params
}

/// The id in `{"image": {"id": ..}}`; a dry run has none.
fn id_of(answer: &Answer) -> Option<String> {
    let json: Json = serde_json::from_slice(&answer.body).ok()?;
    json["image"]["id"].as_str().map(str::to_string)
}
