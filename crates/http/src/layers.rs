//! The way of a request, in one function: every layer with its reason, in the order it acts.

use crate::{
    Request, Response,
    app::App,
    body::{Body, Outgoing},
    error_body, i18n,
    path::{Path, decode},
    pretence,
    query::Query,
    request::Bounds,
    router::{Reply, Route},
};
use base::{Error, Lang, Result, err};
use futures_util::FutureExt;
use hyper::{
    HeaderMap, Method, StatusCode,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
};
use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tracing::Instrument;

/// What a connection knows of its other end.
pub(crate) struct Conn {
    pub peer: Option<IpAddr>,
    pub secure: bool,
    pub client_name: Option<Arc<str>>,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(crate) async fn handle(app: &Arc<App>, conn: &Conn, request: hyper::Request<Incoming>) -> hyper::Response<Outgoing> {
    let started = Instant::now();
    let (head, body) = request.into_parts();

    // Request id: before anything can fail, so that every answer and every line has it.
    let id = request_id(head.headers.get(&REQUEST_ID).and_then(|v| v.to_str().ok()));

    // Span: around all of the work, so that lines of handlers carry the id.
    let span = tracing::info_span!("request", id = &*id);

    // CORS: decided before the head is taken apart; nothing happens unless an operator named origins.
    let cors = origin(app, &head.headers);

    // A body in chunks: its end may have been counted another way in front of us, by a length the parser has passed over. So nothing after it
    // is read (RFC 9112 §6.1).
    let last = head.headers.contains_key(header::TRANSFER_ENCODING);

    let method = head.method.clone();
    let mut route = None;
    let mut lang = Lang::En;
    let untimed = Arc::new(AtomicBool::new(false));
    let result = if cors.is_some() && method == Method::OPTIONS {
        Ok(Response::new(StatusCode::NO_CONTENT))
    } else {
        inner(app, conn, head, body, &id, &untimed, &mut lang, &mut route).instrument(span.clone()).await
    };
    let _in_span = span.enter();

    // Errors become bodies here and nowhere else; ours and the machine's are logged here and nowhere else.
    let mut response = result.unwrap_or_else(|error| {
        if error.class().http() >= 500 {
            let (class, cause) = (error.class().name(), error.context().unwrap_or(""));
            if error.retryable() {
                tracing::warn!(class, cause, "{error}");
            } else {
                tracing::error!(class, cause, "{error}");
            }
        } else {
            tracing::debug!(class = error.class().name(), cause = error.context(), "{error}");
        }
        error_body::response(&error, lang, &id)
    });

    // Headers every answer has.
    decorate(&mut response.headers, app, conn, &id, cors);

    if last {
        response.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }

    // Figures and the access line: last, when the outcome is known. The query is not logged, it may carry a token.
    let took = started.elapsed();
    let status = response.status.as_u16();
    let (service, route): (&str, &Route) = match &route {
        Some((service, route)) => (service, route),
        None => ("", &app.mounts[app.mounts.len() - 1].unmatched),
    };
    route.stats.record(status, took);
    if took > app.limits.slow && !untimed.load(Relaxed) {
        tracing::warn!(service, %method, route = route.pattern, status, ms = took.as_millis() as u64, "slow request");
    } else {
        tracing::debug!(service, %method, route = route.pattern, status, us = took.as_micros() as u64, peer = ?conn.peer, "request");
    }

    let mut out = hyper::Response::new(response.body);
    *out.status_mut() = response.status;
    *out.headers_mut() = response.headers;
    out
}

async fn inner(
    app: &Arc<App>,
    conn: &Conn,
    mut head: hyper::http::request::Parts,
    body: Incoming,
    id: &Arc<str>,
    untimed: &Arc<AtomicBool>,
    lang: &mut Lang,
    found: &mut Option<(Arc<str>, Arc<Route>)>,
) -> Reply {
    // Headers that must be one: with two, whoever stands in front may have looked at the other.
    alone(&head.headers, conn.peer)?;

    // Headers that would say who asks: nobody reads them here, and whoever sends them is written down.
    pretence::note(app, &head.headers, conn.peer);

    // Language: before the first error that could be written.
    *lang = i18n::pick(raw_lang(head.uri.query()).as_deref(), &head.headers);

    // Load: refuse early and cheaply rather than queue.
    let place =
        app.enter().ok_or_else(|| err!(TooManyRequests, "the service is handling {} requests already; try again", app.limits.running))?;

    // Path, service, route. What matches nothing is counted for the service it was meant for.
    let mut query = Query::parse(head.uri.query().unwrap_or(""))?;
    let path = Path::new(head.uri)?;
    let nothing = || err!(NotFound, "there is nothing at {} {}", head.method, path.raw());
    let (mount, skip) = app.find(&path.segments).ok_or_else(nothing)?;
    let Some(route) = mount.router.find(&head.method, &path.segments[skip..]).cloned() else {
        *found = Some((mount.name.clone(), mount.unmatched.clone()));
        return Err(nothing());
    };
    *found = Some((mount.name.clone(), route.clone()));

    // Form bodies are query parameters (spec 01 §1).
    let mut body = if hyper::body::Body::is_end_stream(&body) { Body::Empty } else { Body::Incoming(body) };
    if is_form(&head.headers) && !body.is_empty() {
        let text = std::mem::replace(&mut body, Body::Empty).bytes(app.limits.json, app.limits.stall).await?;
        let text = std::str::from_utf8(&text).map_err(|e| err!(InputParameter, "the request body is not JSON: {}", e))?;
        query.extend(text)?;
    }

    // Each proxy may have written a line of its own; read as one list, the last address is that of the nearest.
    let forwarded: Vec<&str> = head.headers.get_all("x-forwarded-for").iter().map(|v| v.to_str().unwrap_or("?")).collect();
    let forwarded = (!forwarded.is_empty()).then(|| forwarded.join(","));
    let request = Request {
        peer: app.client_ip(conn.peer, forwarded.as_deref()),
        method: head.method,
        path,
        query,
        headers: head.headers,
        request_id: id.clone(),
        lang: *lang,
        secure: conn.secure,
        client_name: conn.client_name.clone(),
        route: route.clone(),
        skip,
        body,
        bounds: Bounds { json: app.limits.json, stall: app.limits.stall },
        untimed: untimed.clone(),
        upgrade: head.extensions.remove(),
    };

    app.screened(&mount.name, &request)?;

    // Reading stops when the client hangs up. Changing does not: a handler cut between its transaction and what follows would leave the
    // follow-up to recovery for no reason, so it runs as a task of its own.
    let detached = !(request.method.is_safe());
    let (limit, untimed) = (app.limits.request, untimed.clone());
    let work = async move {
        let _place = place;
        // Panics: this request fails, the process lives. The hook has printed where.
        let work = AssertUnwindSafe(async move { route.handler.call(request).await }).catch_unwind();
        // Deadline: the last line of defence; a stream lifts it.
        within(limit, &untimed, work).await
    };
    if detached {
        match tokio::spawn(work.in_current_span()).await {
            Ok(reply) => reply,
            Err(e) => Err(Error::internal(e)),
        }
    } else {
        work.await
    }
}

async fn within(limit: Duration, untimed: &AtomicBool, work: impl Future<Output = std::thread::Result<Reply>>) -> Reply {
    let mut work = std::pin::pin!(work);
    let outcome = match tokio::time::timeout(limit, &mut work).await {
        Ok(outcome) => outcome,
        Err(_) if untimed.load(Relaxed) => work.await,
        Err(_) => return Err(err!(Timeout, "the request took longer than {} seconds", limit.as_secs())),
    };
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::internal(format!("panic: {}", text.unwrap_or("of an unknown type"))))
    })
}

/// Headers that say who asks, for whom, and where the body ends.
const ALONE: [&str; 6] = ["x-auth-token", "x-subject-token", "authorization", "host", "content-length", "transfer-encoding"];

/// Refuses a request with two of a header that must be one.
fn alone(headers: &HeaderMap, peer: Option<IpAddr>) -> Result<()> {
    for name in ALONE {
        let count = headers.get_all(name).iter().count();
        if count > 1 {
            tracing::warn!(header = name, count, ?peer, "request refused: a header stands more than once");
            return Err(err!(InputParameter, "the request has the header {} {} times; send it once", name, count));
        }
    }
    Ok(())
}

/// The id a request came with plus three characters for this hop, or a new one.
fn request_id(came: Option<&str>) -> Arc<str> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::LazyLock<u64> = std::sync::LazyLock::new(uuid_bits);
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    // SplitMix64 over a counter: unique in the process and unguessable enough for correlation, without a system call.
    let mut z = START.wrapping_add(NEXT.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let mut own = [0u8; 12];
    for (i, slot) in own.iter_mut().enumerate() {
        *slot = DIGITS[(z >> (i * 5)) as usize & 31];
    }
    let own = std::str::from_utf8(&own).expect("the digits are ASCII");
    match came.filter(|c| !c.is_empty() && c.bytes().all(|b| b.is_ascii_graphic())) {
        Some(came) => {
            let keep = &came[..came.len().min(120)];
            format!("{keep}-{}", &own[..3]).into()
        }
        None => own.into(),
    }
}

fn uuid_bits() -> u64 {
    let id = base::hex_id();
    u64::from_str_radix(&id[16..], 16).unwrap_or(0)
}

fn raw_lang(query: Option<&str>) -> Option<String> {
    query?.split('&').find_map(|p| p.strip_prefix("lang=")).and_then(|v| decode(v, true))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.len() >= 33 && kind[..33].eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// The origin to let in, when it is one an operator named.
fn origin(app: &App, headers: &HeaderMap) -> Option<HeaderValue> {
    if app.cors.is_empty() {
        return None;
    }
    let origin = headers.get(header::ORIGIN)?;
    app.cors.iter().any(|o| o == "*" || o.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

fn decorate(headers: &mut HeaderMap, app: &App, conn: &Conn, id: &str, cors: Option<HeaderValue>) {
    const HOST_ID: HeaderName = HeaderName::from_static("x-request-host-id");
    const XSS: HeaderName = HeaderName::from_static("x-xss-protection");
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(HOST_ID, app.host_id.clone());
    headers.insert(header::SERVER, HeaderValue::from_static("Wolke"));
    // A handler that frames itself on purpose (the console's VNC page) has set its own.
    headers.entry(header::X_FRAME_OPTIONS).or_insert(HeaderValue::from_static("SAMEORIGIN"));
    headers.insert(XSS, HeaderValue::from_static("1; mode=block"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if conn.secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
    }
    if let Some(origin) = cors {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("HEAD, GET, POST, PUT, PATCH, DELETE"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Authorization, Content-Type, X-Auth-Token, X-Subject-Token, X-Request-Id, X-Yunion-Lang"),
        );
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Authorization"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids() {
        let first = request_id(None);
        assert!(first.len() == 12 && first != request_id(None));
        let hop = request_id(Some("abc"));
        assert!(hop.starts_with("abc-") && hop.len() == 7, "{hop}");
        for bad in ["", "a b", "ä"] {
            assert_eq!(request_id(Some(bad)).len(), 12, "{bad:?}");
        }
        assert_eq!(request_id(Some(&"x".repeat(500))).len(), 124);
    }
}
