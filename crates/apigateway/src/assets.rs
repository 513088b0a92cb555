//! The console's files, out of the binary: names with a hash for ever, the page itself never, compressed once at build time.

use crate::{Gateway, door::harden};
use http::{HeaderValue, Reply, Request, Response, Router, StatusCode};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, sync::Arc, sync::LazyLock};

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What pages may load: what comes from here.
const PAGE: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; \
                    worker-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const INDEX: &str = "index.html";
const UNBUILT: &str = "The console is not part of this build. To make it so: cd web && npm ci && npm run build, then build wolke again.\n\
                       The interfaces under /api work as ever.\n";

struct File {
    bytes: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
    tag: String,
}

static TABLE: LazyLock<HashMap<&'static str, File>> = LazyLock::new(|| {
    let file = |(name, bytes, brotli, gzip): &(&'static str, &'static [u8], Option<&'static [u8]>, Option<&'static [u8]>)| {
        let tag = hex::encode(&Sha256::digest(bytes)[..12]);
        (*name, File { bytes, brotli: *brotli, gzip: *gzip, tag })
    };
    FILES.iter().map(file).collect()
});

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    let serve = |gateway: &Arc<Gateway>| {
        let gateway = gateway.clone();
        move |request: Request| {
            let answer = answer(&gateway, &request);
            async move { answer }
        }
    };
    router.get("/", serve(gateway)).get("/{*path}", serve(gateway))
}

fn answer(_: &Gateway, request: &Request) -> Reply {
    let path = request.segments().join("/");
    let api = path == "api" || path.starts_with("api/");
    // Who opens a page says that he reads pages. A client of the interfaces that asks for what is not there must not take the page for an answer.
    let reader = !api && (path.is_empty() || request.header("accept").is_some_and(|all| all.contains("text/html")));
    let Some((name, file)) = find(&path, reader) else {
        if !reader {
            let error = base::err!(NotFound, "there is nothing at {} {}", request.method, request.path.raw());
            return Ok(crate::door::guarded(Err(error), &request.request_id, request.lang));
        }
        let built = TABLE.contains_key(INDEX);
        let response = Response::text(if built { "there is nothing here\n" } else { UNBUILT });
        return Ok(harden(response.with_status(StatusCode::NOT_FOUND), PAGE));
    };
    let tag = format!("\"{}\"", file.tag);
    let lasting = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = request.header("if-none-match").is_some_and(|all| all.split(',').any(|t| t.trim().trim_start_matches("W/") == tag));
    let response = if known {
        Response::new(StatusCode::NOT_MODIFIED)
    } else {
        let accepts = |what: &str| {
            let listed = request.header("accept-encoding").unwrap_or_default();
            listed.split(',').any(|e| e.split(';').next().unwrap_or_default().trim() == what && !e.replace(' ', "").ends_with(";q=0"))
        };
        let (bytes, encoding) = match (file.brotli, file.gzip) {
            (Some(bytes), _) if accepts("br") => (bytes, Some("br")),
            (_, Some(bytes)) if accepts("gzip") => (bytes, Some("gzip")),
            _ => (file.bytes, None),
        };
        let response = Response::bytes(HeaderValue::from_static(kind(name)), http::Bytes::from_static(bytes));
        match encoding {
            Some(encoding) => response.with_header("content-encoding", encoding),
            None => response,
        }
    };
    let response = response.with_header("etag", &tag).with_header("vary", "Accept, Accept-Encoding").with_header("cache-control", lasting);
    Ok(harden(response, PAGE))
}

/// A file by its path; for whoever reads pages, what looks like a page of the console is its one page.
fn find(path: &str, reader: bool) -> Option<(&'static str, &'static File)> {
    let path = if path.is_empty() { INDEX } else { path };
    // The table has only names of the build: nothing else can be reached, whatever dots a path has.
    if let Some((name, file)) = TABLE.get_key_value(path) {
        return Some((name, file));
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    let page = reader && !last.contains('.') && !path.starts_with("assets/");
    page.then(|| TABLE.get_key_value(INDEX)).flatten().map(|(name, file)| (*name, file))
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
