//! What a handler is given.

use crate::{
    body::{Body, ByteStream},
    i18n,
    path::Path,
    query::Query,
    router::Route,
    stats::RouteStats,
};
use base::{Bearer, Caller, Ctx, Json, Lang, Result, err};
use bytes::Bytes;
use hyper::{HeaderMap, Method};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The bounds of one request, out of [`crate::Limits`].
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub json: usize,
    pub stall: Duration,
}

/// One request.
pub struct Request {
    pub method: Method,
    pub path: Path,
    pub query: Query,
    pub headers: HeaderMap,
    /// Who connected; behind trusted proxies, whom they connected for. `None` over a Unix socket.
    pub peer: Option<IpAddr>,
    /// Correlates log lines of all services; ours is already appended.
    pub request_id: Arc<str>,
    pub lang: Lang,
    /// Whether it came over TLS.
    pub secure: bool,
    /// The name in the verified client certificate, for example `wolke://host/<id>`.
    pub client_name: Option<Arc<str>>,
    pub(crate) route: Arc<Route>,
    /// Segments of the prefix the service is mounted under.
    pub(crate) skip: usize,
    pub(crate) body: Body,
    pub(crate) bounds: Bounds,
    pub(crate) untimed: Arc<AtomicBool>,
    pub(crate) upgrade: Option<hyper::upgrade::OnUpgrade>,
}

impl Request {
    /// A request that did not come over the network: for tests of handlers and of what looks at headers. Its route is the whole path.
    pub fn local(method: Method, uri: &str, body: impl Into<Bytes>) -> Result<Request> {
        let bad = |e: &dyn std::fmt::Display| err!(InputParameter, "{} is not a path: {}", uri, e);
        let uri: hyper::Uri = uri.parse().map_err(|e: hyper::http::uri::InvalidUri| bad(&e))?;
        let route = Route {
            method: method.clone(),
            pattern: uri.path().to_string(),
            params: Vec::new(),
            tail: None,
            handler: Arc::new(|_: Request| async { Ok(crate::Response::new(hyper::StatusCode::OK)) }),
            stats: RouteStats::default(),
        };
        Ok(Request {
            method,
            query: Query::parse(uri.query().unwrap_or(""))?,
            path: Path::new(uri)?,
            headers: HeaderMap::new(),
            peer: None,
            request_id: Arc::from("local"),
            lang: Lang::En,
            secure: false,
            client_name: None,
            route: Arc::new(route),
            skip: 0,
            body: Body::Bytes(body.into()),
            bounds: Bounds { json: 8 << 20, stall: Duration::from_secs(30) },
            untimed: Arc::new(AtomicBool::new(false)),
            upgrade: None,
        })
    }

    /// The same with a header; one that cannot be is left out.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Request {
        if let (Ok(name), Ok(value)) = (name.parse::<hyper::header::HeaderName>(), value.parse()) {
            self.headers.append(name, value);
        }
        self
    }

    /// The decoded segments after the service's prefix.
    pub fn segments(&self) -> &[String] {
        &self.path.segments[self.skip..]
    }

    /// A `{name}` of the route's pattern; `""` when the pattern has none of that name.
    pub fn param(&self, name: &str) -> &str {
        self.route.params.iter().find(|(n, _)| n == name).and_then(|(_, i)| self.segments().get(*i)).map_or("", String::as_str)
    }

    /// The segments a `{*name}` at the end of the pattern stands for.
    pub fn tail(&self) -> &[String] {
        self.route.tail.and_then(|at| self.segments().get(at..)).unwrap_or(&[])
    }

    /// The pattern that matched, such as `/servers/{id}`.
    pub fn pattern(&self) -> &str {
        &self.route.pattern
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        i18n::cookie(&self.headers, name)
    }

    /// The operation context for a caller.
    pub fn ctx(&self, caller: Arc<Caller>) -> Ctx {
        let bearer = Bearer(shown_token(&self.headers).map(Arc::from));
        Ctx { caller, request_id: self.request_id.clone(), lang: self.lang, peer: self.peer, bearer }
    }

    fn content_type(&self) -> &str {
        self.header("content-type").map_or("", |t| t.split(';').next().unwrap_or("").trim())
    }

    /// The JSON body, once; `None` when there is none or it is of another type (spec 01 §1). Chunked bodies count too.
    pub async fn json(&mut self) -> Result<Option<Json>> {
        let kind = self.content_type();
        if !(kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")) || self.body.is_empty() {
            return Ok(None);
        }
        let bytes = self.bytes(self.bounds.json).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|e| err!(InputParameter, "the request body is not JSON: {}", e))
    }

    /// The whole body, once, of at most `limit` bytes.
    pub async fn bytes(&mut self, limit: usize) -> Result<Bytes> {
        std::mem::replace(&mut self.body, Body::Empty).bytes(limit, self.bounds.stall).await
    }

    /// The body as it comes, once, of any size. Lifts the deadline of the request; only standing still is bounded.
    pub fn stream(&mut self) -> ByteStream {
        self.lift_deadline();
        std::mem::replace(&mut self.body, Body::Empty).stream(self.bounds.stall)
    }

    /// Lets this request take as long as it needs: long polls, uploads.
    pub fn lift_deadline(&self) {
        self.untimed.store(true, Ordering::Relaxed);
    }

    /// Whether a body was announced.
    pub fn has_body(&self) -> bool {
        !self.body.is_empty()
    }
}

/// The token a request shows: `X-Auth-Token`, or else `Authorization: Bearer` (RFC 6750 §2.1).
pub fn shown_token(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim).filter(|v| !v.is_empty());
    let bearer = || {
        let (scheme, token) = text("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    };
    text("x-auth-token").or_else(bearer)
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No headers and no query: they carry tokens.
        write!(f, "{} {} ({})", self.method, self.path.raw(), self.request_id)
    }
}
