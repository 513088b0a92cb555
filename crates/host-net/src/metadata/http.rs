//! The little of HTTP/1.0 and 1.1 the metadata service needs (RFC 9112).

use std::fmt;

/// Headers of a request.
const MAX_HEADERS: usize = 64;

/// A request without its body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub method: String,
    /// Decoded, without query.
    pub path: String,
    pub keep_alive: bool,
    /// Bytes that follow.
    pub body: u64,
    /// Lower-case names.
    headers: Vec<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    TooLarge,
    RequestLine,
    Header,
    Version,
    Body,
}

impl Malformed {
    pub fn status(&self) -> u16 {
        match self {
            Malformed::TooLarge => 431,
            Malformed::Version => 505,
            _ => 400,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::TooLarge => "the request is too large",
            Malformed::RequestLine => "the request line is not METHOD PATH VERSION",
            Malformed::Header => "a header is not NAME: VALUE",
            Malformed::Version => "only HTTP/1.0 and HTTP/1.1",
            Malformed::Body => "a body must come with a plain content-length",
        })
    }
}

/// Where a head ends in a buffer, the empty line included.
pub(crate) fn head_end(buffer: &[u8]) -> Option<usize> {
    buffer.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Reads a head that ends in an empty line.
    pub fn parse(bytes: &[u8]) -> Result<Head, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::Header)?;
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(Malformed::RequestLine);
        };
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(Malformed::RequestLine);
        }
        let recent = match version {
            "HTTP/1.1" => true,
            "HTTP/1.0" => false,
            v if v.starts_with("HTTP/") => return Err(Malformed::Version),
            _ => return Err(Malformed::RequestLine),
        };
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(Malformed::Header)?;
            if name.is_empty() || name.contains([' ', '\t']) {
                return Err(Malformed::Header);
            }
            if headers.len() >= MAX_HEADERS {
                return Err(Malformed::TooLarge);
            }
            headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
        let mut head = Head { method: method.into(), path: path(target)?, keep_alive: recent, body: 0, headers };
        if head.header("transfer-encoding").is_some() {
            return Err(Malformed::Body);
        }
        if let Some(len) = head.header("content-length") {
            head.body = len.parse().map_err(|_| Malformed::Body)?;
        }
        if let Some(wish) = head.header("connection").map(str::to_ascii_lowercase) {
            head.keep_alive = if recent { wish != "close" } else { wish == "keep-alive" };
        }
        Ok(head)
    }
}

/// The path of a request target, which may be a whole URL (a client that thinks we are a proxy).
fn path(target: &str) -> Result<String, Malformed> {
    let local = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    if !local.starts_with('/') {
        return Err(Malformed::RequestLine);
    }
    let local = local.split(['?', '#']).next().unwrap_or_default().as_bytes();
    let mut out = Vec::with_capacity(local.len());
    let mut at = 0;
    while let Some(byte) = local.get(at) {
        if *byte == b'%' {
            let pair = local.get(at + 1..at + 3).and_then(|p| std::str::from_utf8(p).ok());
            out.push(pair.and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or(Malformed::RequestLine)?);
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    String::from_utf8(out).map_err(|_| Malformed::RequestLine)
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub status: u16,
    pub kind: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Must not be forwarded by whoever receives it.
    pub near: bool,
}

impl Response {
    pub fn text(status: u16, body: String) -> Response {
        Response { status, kind: "text/plain; charset=utf-8", headers: Vec::new(), body: body.into_bytes(), near: false }
    }

    pub fn json(body: &serde_json::Value) -> Response {
        Response { kind: "application/json", ..Response::text(200, body.to_string()) }
    }

    pub fn bytes(body: &[u8]) -> Response {
        Response { kind: "application/octet-stream", body: body.to_vec(), ..Response::text(200, String::new()) }
    }

    pub fn not_found() -> Response {
        Response::text(404, "not found".into())
    }

    /// The response as bytes; a `HEAD` request gets all but the body.
    pub fn encode(&self, head_only: bool, keep_alive: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            505 => "HTTP Version Not Supported",
            _ => "Error",
        };
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let (status, kind, len) = (self.status, self.kind, self.body.len());
        let mut out =
            format!("HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {len}\r\nconnection: {connection}\r\n");
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str("\r\n");
        let mut out = out.into_bytes();
        if !head_only {
            out.extend_from_slice(&self.body);
        }
        out
    }
}
