//! Looking at an image (`HEAD`) and downloading it (`GET`), metadata in headers.

use super::{Desk, json, params};
use crate::files::{Range, blocking, select, stream};
use crate::{convert, copies, image, rows};
use api_image::{Status, headers};
use base::{Ctx, Json, Result, Row, err};
use diskimage::Format;
use http::{HeaderName, HeaderValue, Reply, Request, Response, StatusCode};
use resource::{Map, Method, Params};

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Which file of an image is meant.
struct Chosen {
    file: String,
    format: String,
    status: String,
    size: u64,
    checksum: String,
}

/// `HEAD /v1/images/{id}`
pub async fn head(desk: &Desk, request: Request) -> Reply {
    let ctx = desk.ctx(&request);
    let params = params(&request);
    let row = desk.image(&ctx, request.param("id")).await?;
    let mut map = details(desk, &ctx, row.id()).await?;
    if let Some(format) = asked(&params)
        && let Ok(chosen) = choose(desk, &row, Some(&format)).await
    {
        map.insert("disk_format".into(), chosen.format.into());
        map.insert("status".into(), chosen.status.into());
        map.insert("size".into(), chosen.size.into());
        map.insert("checksum".into(), chosen.checksum.into());
    }
    let response = with_meta(Response::new(StatusCode::OK), &map).with_header("content-length", "0");
    Ok(response.with_header("accept-ranges", "bytes"))
}

/// `GET /v1/images/{id}`
pub async fn get(desk: &Desk, request: Request) -> Reply {
    let ctx = desk.ctx(&request);
    let (which, params) = (request.param("id"), params(&request));
    if desk.glance.engine.kind("images").is_some_and(|kind| kind.is_class_word(which)) {
        return Ok(json(desk.ask(&ctx, Method::Get, &["images", which], &params, None).await?));
    }
    let row = desk.image(&ctx, which).await?;
    let chosen = choose(desk, &row, asked(&params).as_deref()).await?;
    if rows::state(&row) != Some(Status::Active) || chosen.status != copies::ACTIVE {
        let status = if chosen.status == copies::ACTIVE { row.text("status").to_string() } else { chosen.status };
        return Err(err!(InvalidStatus, "image {} is {}; it can be downloaded when it is active", row.name(), status));
    }
    let map = details(desk, &ctx, row.id()).await?;
    let tag = format!("\"{}\"", chosen.checksum);
    if unchanged(&request, &chosen.checksum, &tag) {
        return Ok(Response::new(StatusCode::NOT_MODIFIED).with_header("etag", &tag));
    }
    request.lift_deadline();
    let place = desk.glance.place().await?;
    let (files, name) = (desk.glance.files.clone(), chosen.file.clone());
    let found = blocking(move || files.read(&name)).await?;
    // Between the row and the file lies the next comparison of the upkeep; a download does not wait for it.
    let (file, size) = found
        .filter(|(_, size)| *size == chosen.size)
        .ok_or_else(|| err!(ServiceAbnormal, "the file of image {} is missing or has another size; upload the image again", row.name()))?;
    // A range of another version than the one the client has parts of would mix two images.
    let same = request.header("if-range").is_none_or(|have| have.trim() == tag);
    let range = if same { select(request.header("range"), size) } else { Range::Whole };
    let (start, length) = match range {
        Range::Whole => (0, size),
        Range::Part { start, length } => (start, length),
        Range::Nowhere => {
            let nowhere = err!(OutOfRange, "image {} has {} bytes; ask for a range inside", row.name(), size);
            let body = http::error_body::body(&nowhere, request.lang, &request.request_id);
            let answer = Response::json(&body).with_status(StatusCode::RANGE_NOT_SATISFIABLE);
            return Ok(answer.with_header("content-range", &format!("bytes */{size}")));
        }
    };
    let mut response = Response::stream(BYTES, Some(length), stream(file, start, length, place));
    if matches!(range, Range::Part { .. }) {
        let part = format!("bytes {start}-{}/{size}", start + length - 1);
        response = response.with_status(StatusCode::PARTIAL_CONTENT).with_header("content-range", &part);
    }
    Ok(with_meta(response, &map).with_header("etag", &tag).with_header("accept-ranges", "bytes"))
}

fn asked(params: &Params) -> Option<String> {
    params.text("format").or_else(|| params.text("disk_format"))
}

/// The image's own file, or the copy in the format asked for.
async fn choose(desk: &Desk, row: &Row, format: Option<&str>) -> Result<Chosen> {
    let own = image::format(row);
    let main = || Chosen {
        file: row.id().to_string(),
        format: row.text("disk_format").to_string(),
        status: row.text("status").to_string(),
        size: u64::try_from(row.int("size")).unwrap_or(0),
        checksum: row.text("checksum").to_string(),
    };
    let Some(word) = format.filter(|_| !row.flag("is_guest_image")) else { return Ok(main()) };
    let missing = || err!(ImageNotFound, "image {} is not there in the format {}; leave the format out or convert it", row.name(), word);
    let wanted = Format::parse(word).ok_or_else(missing)?;
    if own == Some(wanted) {
        return Ok(main());
    }
    let copy = copies::find(&desk.glance.engine.db, row.id(), wanted).await?.ok_or_else(missing)?;
    Ok(Chosen {
        file: convert::name(row.id(), wanted),
        format: wanted.name().to_string(),
        status: copy.text("status").to_string(),
        size: u64::try_from(copy.int("size")).unwrap_or(0),
        checksum: copy.text("checksum").to_string(),
    })
}

/// Whether the client has these very bytes already: hosts say so with the checksum header, others with a tag.
fn unchanged(request: &Request, checksum: &str, tag: &str) -> bool {
    let has = |text: &str| text.split(',').any(|t| t.trim().trim_start_matches("W/") == tag);
    !checksum.is_empty()
        && (request.header("x-image-meta-checksum").is_some_and(|c| c.eq_ignore_ascii_case(checksum))
            || request.header("if-none-match").is_some_and(has))
}

/// The image as clients see it.
async fn details(desk: &Desk, ctx: &Ctx, id: &str) -> Result<Map> {
    let answer = desk.ask(ctx, Method::Get, &["images", id], &Params::default(), None).await?;
    match serde_json::from_slice(&answer.body) {
        Ok(Json::Object(mut outer)) => match outer.remove("image") {
            Some(Json::Object(image)) => Ok(image),
            _ => Err(base::Error::internal("an image without its envelope")),
        },
        _ => Err(base::Error::internal("an answer that is no object")),
    }
}

fn with_meta(mut response: Response, image: &Map) -> Response {
    for (name, value) in headers::write(image) {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value)) {
            (Ok(name), Ok(value)) => drop(response.headers.insert(name, value)),
            _ => tracing::warn!(name, "an image field cannot be a header and is left out"),
        }
    }
    response
}
