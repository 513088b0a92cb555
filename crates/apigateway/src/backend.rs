//! `/api/s/{service-type}[/r/{region}[/z/{zone}]]/{path}` (spec 03 §5): services as they are, behind one address. Nobody is let in here: the
//! caller brings his own token, cookies are not handed on, and bodies of any size pass both ways as they come.

use crate::{Gateway, on};
use base::{Result, err};
use futures_util::StreamExt;
use http::{ByteStream, Bytes, HeaderValue, Method, Reply, Request, Response, Router, StatusCode};
use std::sync::Arc;
use tokio::sync::mpsc;

const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    router.any(&METHODS, "/api/s/{*path}", on(gateway, |g, r| async move { pass(&g, r).await }))
}

/// Where a path goes: the service's type, a region, and the raw path behind.
fn parse<'a>(raw: &'a str, segments: &'a [String]) -> Option<(&'a str, &'a str, String)> {
    let kind = segments.first()?;
    let mut skip = 1;
    let mut region = "";
    if let [_, r, which, ..] = segments
        && r == "r"
    {
        (region, skip) = (which.as_str(), 3);
        if let [_, _, _, z, _, ..] = segments
            && z == "z"
        {
            skip = 5;
        }
    }
    // The rest as it came: a segment may contain an encoded slash.
    let rest: Vec<&str> = raw.split('/').filter(|p| !p.is_empty()).skip(2 + skip).collect();
    Some((kind.as_str(), region, rest.join("/")))
}

/// The address of a service without its version, which the path has.
fn root(endpoint: &str) -> &str {
    let (rest, last) = endpoint.rsplit_once('/').unwrap_or((endpoint, ""));
    let version = last.strip_prefix('v').is_some_and(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    if version { rest } else { endpoint }
}

/// The path of a URL, as `/compute`.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |at| &rest[at..])
}

async fn pass(gateway: &Gateway, mut request: Request) -> Reply {
    if !gateway.options.enable_backend_service_proxy {
        return Err(err!(Forbidden, "requests are not handed on to services here; an administrator can allow it"));
    }
    let raw = request.path.raw().to_string();
    let owned: Vec<String> = request.tail().to_vec();
    let Some((kind, region, rest)) = parse(&raw, &owned) else {
        return Err(err!(NotFound, "there is nothing at {} {}", request.method, raw));
    };
    // Whoever reads the address next resolves dots, and would end up at another service of the same host.
    if let Some(dots) = owned.iter().find(|s| matches!(s.as_str(), "." | "..")) {
        return Err(err!(InputParameter, "{} is not a name", dots));
    }
    let endpoint = gateway.services.endpoint(kind, region).await?;
    let base = root(&endpoint);
    // Clients that take the path from the catalogue bring the service's prefix themselves.
    let prefix = path_of(base).trim_start_matches('/');
    let rest = match rest.strip_prefix(prefix) {
        Some(after) if !prefix.is_empty() && (after.is_empty() || after.starts_with('/')) => after.trim_start_matches('/'),
        _ => rest.as_str(),
    };
    let query = request.path.raw_query();
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let mut headers = request.headers.clone();
    for own in ["cookie", "origin", "referer", "x-forwarded-for", "x-forwarded-prefix", "expect", "accept-encoding"] {
        headers.remove(own);
    }
    let mut call = gateway
        .services
        .streaming
        .call(request.method.clone(), &format!("{base}/{rest}{query}"))
        .headers(&headers)
        .header("x-request-id", &request.request_id)
        .header("x-forwarded-prefix", &format!("/api/s/{kind}"));
    if let Some(peer) = request.peer {
        call = call.header("x-forwarded-for", &peer.to_string());
    }
    request.lift_deadline();
    if request.has_body() {
        let length = request.header("content-length").and_then(|t| t.parse().ok());
        call = call.stream(shared(request.stream()), length);
    }
    let answer = call.send_any().await?;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = answer.headers().clone();
    let length = answer.length();
    let kind = headers.get("content-type").cloned();
    let empty = request.method == Method::HEAD || matches!(answer.status, 204 | 304);
    let mut response = match kind {
        _ if empty => Response::new(status),
        Some(kind) => Response::stream(kind, length, answer.stream()),
        None => Response::stream(HeaderValue::from_static("application/octet-stream"), length, answer.stream()),
    };
    response.status = status;
    for (name, value) in &headers {
        let own = matches!(
            name.as_str(),
            "connection"
                | "keep-alive"
                | "transfer-encoding"
                | "te"
                | "trailer"
                | "upgrade"
                | "content-type"
                | "x-request-id"
                | "server"
                | "set-cookie"
        );
        if !own && (name != "content-length" || empty) {
            response.headers.append(name.clone(), value.clone());
        }
    }
    Ok(response.with_header("x-accel-buffering", "no"))
}

/// A stream that may be looked at from several threads, which the client asks for: pieces go through a short queue.
pub fn shared(mut from: ByteStream) -> impl futures_util::Stream<Item = Result<Bytes>> + Send + Sync + 'static {
    let (put, take) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Some(piece) = from.next().await {
            // Nobody reads any more: the call is over.
            if put.send(piece).await.is_err() {
                return;
            }
        }
    });
    queue(take)
}

/// The pieces of a queue as a stream.
pub fn queue(take: mpsc::Receiver<Result<Bytes>>) -> impl futures_util::Stream<Item = Result<Bytes>> + Send + Sync + 'static {
    futures_util::stream::unfold(take, |mut take| async move { take.recv().await.map(|piece| (piece, take)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_roots() {
        let check = |path: &str, want: (&str, &str, &str)| {
            let segments = http::path::segments(path).expect("a path");
            let (kind, region, rest) = parse(path, &segments[2..]).expect("a service");
            assert_eq!((kind, region, rest.as_str()), want, "{path}");
        };
        check("/api/s/identity/v3/auth/tokens", ("identity", "", "v3/auth/tokens"));
        check("/api/s/compute_v2/r/region0/servers/a%2Fb", ("compute_v2", "region0", "servers/a%2Fb"));
        check("/api/s/compute_v2/r/region0/z/zone0/servers", ("compute_v2", "region0", "servers"));
        check("/api/s/image", ("image", "", ""));
        assert_eq!(root("http://h:7780/identity/v3"), "http://h:7780/identity");
        assert_eq!(root("http://h:30888"), "http://h:30888");
        assert_eq!(root("http://h:7780/compute"), "http://h:7780/compute");
        assert_eq!((path_of("http://h:1/compute"), path_of("http://h:1")), ("/compute", ""));
    }
}
