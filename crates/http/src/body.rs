//! Bodies in both directions: bytes, or a stream with bounds on size and on standing still.

use base::{Error, Result, err};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// A stream of pieces. The error ends it.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// What a client sends. Read once, never beyond a limit the reader names.
pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    Incoming(Incoming),
}

impl Body {
    /// Whether there is certainly nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Bytes(b) => b.is_empty(),
            Body::Incoming(body) => body.is_end_stream(),
        }
    }

    /// The whole body. `stall` bounds the wait for each piece, so a client that drips bytes holds nothing for long.
    pub(crate) async fn bytes(self, limit: usize, stall: Duration) -> Result<Bytes> {
        let too_large = || err!(TooLargeEntity, "the request body is larger than {} bytes", limit);
        let mut body = match self {
            Body::Empty => return Ok(Bytes::new()),
            Body::Bytes(b) if b.len() > limit => return Err(too_large()),
            Body::Bytes(b) => return Ok(b),
            Body::Incoming(body) => body,
        };
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut first: Option<Bytes> = None;
        let mut rest = BytesMut::new();
        while let Some(piece) = next(&mut body, stall).await {
            let piece = piece?;
            if first.as_ref().map_or(0, Bytes::len) + rest.len() + piece.len() > limit {
                return Err(too_large());
            }
            match &first {
                None => first = Some(piece),
                Some(_) => rest.extend_from_slice(&piece),
            }
        }
        Ok(match first {
            None => Bytes::new(),
            // Most bodies come in one piece and are not copied.
            Some(only) if rest.is_empty() => only,
            Some(head) => {
                let mut whole = BytesMut::with_capacity(head.len() + rest.len());
                whole.extend_from_slice(&head);
                whole.extend_from_slice(&rest);
                whole.freeze()
            }
        })
    }

    pub(crate) fn stream(self, stall: Duration) -> ByteStream {
        match self {
            Body::Empty => Box::pin(futures_util::stream::empty()),
            Body::Bytes(b) => Box::pin(futures_util::stream::once(async { Ok(b) })),
            Body::Incoming(body) => Box::pin(futures_util::stream::unfold(Some(body), move |state| async move {
                let mut body = state?;
                let piece = next(&mut body, stall).await?;
                let go_on = piece.is_ok();
                Some((piece, go_on.then_some(body)))
            })),
        }
    }
}

async fn next(body: &mut Incoming, stall: Duration) -> Option<Result<Bytes>> {
    loop {
        let frame = match tokio::time::timeout(stall, http_body_util::BodyExt::frame(body)).await {
            Err(_) => return Some(Err(err!(Timeout, "the request body stopped arriving"))),
            Ok(None) => return None,
            Ok(Some(Err(e))) => return Some(Err(err!(BadRequest, "the request body stopped arriving").with_context(e))),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers carry nothing we read.
        if let Ok(data) = frame.into_data() {
            return Some(Ok(data));
        }
    }
}

/// What we send.
pub(crate) enum Outgoing {
    Bytes(Bytes),
    Stream { stream: ByteStream, length: Option<u64> },
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Outgoing::Bytes(b) if b.is_empty() => Poll::Ready(None),
            Outgoing::Bytes(b) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(b))))),
            Outgoing::Stream { stream, .. } => stream.poll_next_unpin(cx).map(|piece| {
                piece.map(|p| {
                    // The head is gone already: all that is left is to break the connection, and to say why here.
                    p.map(Frame::data).inspect_err(|e| tracing::warn!(error = %e, cause = e.context(), "a streamed answer broke off"))
                })
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Outgoing::Bytes(b) if b.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Bytes(b) => SizeHint::with_exact(b.len() as u64),
            Outgoing::Stream { length: Some(n), .. } => SizeHint::with_exact(*n),
            Outgoing::Stream { length: None, .. } => SizeHint::default(),
        }
    }
}
