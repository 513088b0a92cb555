//! Image files through the gateway (spec 03 §6): a form in, bytes out, neither ever whole in memory.

use crate::{Gateway, backend::queue, multipart::Multipart, on, proxy};
use base::{Json, Result, err};
use http::{HeaderValue, Method, Reply, Request, Response, Router, StatusCode};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Largest field before the file, bytes.
const FIELD: usize = 64 << 10;

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    router
        .post("/api/{ver}/imageutils/upload", on(gateway, |g, r| async move { upload(&g, r).await }))
        .get("/api/{ver}/imageutils/download/{id}", on(gateway, |g, r| async move { download(&g, r).await }))
        .get("/api/{ver}/imageutils/image/{id}", on(gateway, |g, r| async move { download(&g, r).await }))
}

/// A form with the image's fields first and the file last, as the part `image`.
async fn upload(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let mut visit = gateway.enter(request).await?;
    let mut form = Multipart::begin(&mut visit.request).ok_or_else(|| err!(InputParameter, "send the image as multipart/form-data"))?;
    let mut fields = api_image::headers::Map::new();
    loop {
        let part = form.next().await?.ok_or_else(|| err!(MissingParameter, "{} is missing", "image"))?;
        if part.name == "image" {
            if !fields.contains_key("name")
                && let Some(name) = part.filename.as_deref().filter(|n| !n.is_empty())
            {
                fields.insert("name".into(), name.into());
            }
            break;
        }
        let text = String::from_utf8(form.bytes(FIELD).await?).map_err(|_| err!(InputParameter, "the field {} is not UTF-8", part.name))?;
        match part.name.strip_prefix("properties.").or_else(|| part.name.strip_prefix("property_")) {
            Some(key) => {
                let properties = fields.entry("properties").or_insert_with(|| Json::Object(serde_json::Map::new()));
                properties[key] = text.into();
            }
            None if part.name == "properties" => {
                let properties =
                    serde_json::from_str(&text).map_err(|e| err!(InputParameter, "the field {} is not JSON: {}", "properties", e))?;
                fields.insert("properties".into(), properties);
            }
            None => {
                fields.insert(part.name, text.into());
            }
        }
    }
    let url = format!("{}/images", gateway.services.endpoint("image", "").await?);
    let mut call = gateway.services.streaming.call(Method::POST, &url).ctx(&visit.ctx).header("content-type", "application/octet-stream");
    for (name, value) in api_image::headers::write(&fields) {
        call = call.header(&name, &String::from_utf8_lossy(&value));
    }
    let (put, take) = mpsc::channel(4);
    let pump = async move {
        loop {
            let piece = match form.piece().await {
                Ok(None) => return,
                Ok(Some(piece)) => Ok(piece),
                // The service sees a body that breaks off, and keeps nothing of it.
                Err(e) => Err(e),
            };
            let broken = piece.is_err();
            if put.send(piece).await.is_err() || broken {
                return;
            }
        }
    };
    let (answer, ()) = tokio::join!(call.stream(queue(take), None).send_any(), pump);
    let answer = answer?;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut body = answer.json().await?;
    if status.is_success() {
        body = body.get_mut("image").map(Json::take).unwrap_or(body);
    }
    Ok(Response::json(&body).with_status(status))
}

/// The bytes of an image, in the format the query asks for, with ranges.
async fn download(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let visit = gateway.enter(request).await?;
    let id = http::path::encode(visit.request.param("id"));
    let url = format!("{}/images/{id}?{}", gateway.services.endpoint("image", "").await?, visit.request.path.raw_query());
    let mut call = gateway.services.streaming.call(Method::GET, &url).ctx(&visit.ctx);
    if let Some(range) = visit.request.header("range") {
        call = call.header("range", range);
    }
    visit.request.lift_deadline();
    let answer = call.send_any().await?;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let (headers, length) = (answer.headers().clone(), answer.length());
    // Never a page: whatever somebody put into an image, a browser saves it.
    let mut response = Response::stream(HeaderValue::from_static("application/octet-stream"), length, answer.stream());
    if !status.is_success() {
        response.headers.insert("content-type", http::JSON_TYPE);
    }
    response.status = status;
    for name in ["content-range", "accept-ranges", "etag"] {
        if let Some(value) = headers.get(name).and_then(|v| v.to_str().ok()) {
            response = response.with_header(name, value);
        }
    }
    let name = fields(&headers).ok().and_then(|f| f.get("name").and_then(Json::as_str).map(http::path::encode)).unwrap_or(id);
    Ok(response.with_header("content-disposition", &format!("attachment; filename*=UTF-8''{name}")))
}

fn fields(headers: &http::HeaderMap) -> Result<api_image::headers::Map> {
    api_image::headers::read(headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())))
}
