//! Answers.

use crate::body::{ByteStream, Outgoing};
use base::{Json, Result};
use bytes::Bytes;
use futures_util::Stream;
use hyper::{HeaderMap, StatusCode, header, header::HeaderValue};

/// Content type of every JSON answer.
pub const JSON_TYPE: HeaderValue = HeaderValue::from_static("application/json;charset=utf-8");
const TEXT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer: status, headers, body.
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub(crate) body: Outgoing,
}

impl Response {
    pub fn new(status: StatusCode) -> Response {
        Response { status, headers: HeaderMap::new(), body: Outgoing::Bytes(Bytes::new()) }
    }

    /// 200 with a JSON body.
    pub fn json(value: &Json) -> Response {
        Response::json_bytes(serde_json::to_vec(value).expect("a JSON value always has a text"))
    }

    /// 200 with a body that is JSON text already.
    pub fn json_bytes(text: impl Into<Bytes>) -> Response {
        Response::bytes(JSON_TYPE, text)
    }

    /// 200 with plain text.
    pub fn text(text: impl Into<String>) -> Response {
        Response::bytes(TEXT_TYPE, text.into())
    }

    /// 200 with bytes of a type.
    pub fn bytes(content_type: HeaderValue, bytes: impl Into<Bytes>) -> Response {
        let mut out = Response::new(StatusCode::OK);
        out.headers.insert(header::CONTENT_TYPE, content_type);
        out.body = Outgoing::Bytes(bytes.into());
        out
    }

    /// 200 with a body made as it is sent. `length` in bytes when known. An error in the stream breaks the connection: the client sees an
    /// incomplete answer, never a wrong one.
    pub fn stream(content_type: HeaderValue, length: Option<u64>, stream: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Response {
        let mut out = Response::new(StatusCode::OK);
        out.headers.insert(header::CONTENT_TYPE, content_type);
        let stream: ByteStream = Box::pin(stream);
        out.body = Outgoing::Stream { stream, length };
        out
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Response {
        self.status = status;
        self
    }

    /// The same with a header. A value that cannot be a header (control characters) is left out with a log line: it comes from stored data.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Response {
        match (header::HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                self.headers.append(name, value);
            }
            _ => tracing::warn!(name, "a response header has an impossible name or value and is left out"),
        }
        self
    }

    /// The body when it is not a stream; for tests and for whoever wraps an answer.
    pub fn body_bytes(&self) -> Option<&Bytes> {
        match &self.body {
            Outgoing::Bytes(b) => Some(b),
            Outgoing::Stream { .. } => None,
        }
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("status", &self.status).field("headers", &self.headers).finish_non_exhaustive()
    }
}
