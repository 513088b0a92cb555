//! Connections that stop being HTTP: `Upgrade` to a protocol of our own (consoles, migration, image transfer) or to WebSocket (RFC 6455).
//!
//! A handler that accepts answers 101 and leaves the connection to a task; the task should watch the end of the process, nobody else ends it.
//! A WebSocket that trusts cookies must check `Origin` itself: browsers let any page open one.

use crate::{Call, Reply, Request, Response};
use base::{Result, err};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::{StatusCode, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, protocol::Role, protocol::WebSocketConfig},
};

/// The largest WebSocket message, in bytes.
const MAX_MESSAGE: usize = 4 << 20;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Bytes both ways, after the upgrade.
pub struct Tunnel(Box<dyn Io>);

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Accepts an upgrade to `protocol`, and gives the connection to `work` once the client has the answer. 400 when the client did not ask for it.
pub fn accept<F, Fut>(request: &mut Request, protocol: &str, work: F) -> Reply
where
    F: FnOnce(Tunnel) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let asked = request.header("upgrade").is_some_and(|u| u.eq_ignore_ascii_case(protocol));
    let upgrade: OnUpgrade = match request.upgrade.take() {
        Some(upgrade) if asked => upgrade,
        _ => return Err(err!(BadRequest, "this address is for connections that upgrade to {}", protocol)),
    };
    let id = request.request_id.clone();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(io) => work(Tunnel(Box::new(TokioIo::new(io)))).await,
            Err(e) => tracing::debug!(error = %e, request = &*id, "the client left before the upgrade"),
        }
    });
    Ok(Response::new(StatusCode::SWITCHING_PROTOCOLS).with_header("connection", "upgrade").with_header("upgrade", protocol))
}

impl Call {
    /// Asks for an upgrade and gives back the connection. An answer other than 101 is the error the service names.
    pub async fn tunnel(self, protocol: &str) -> Result<Tunnel> {
        let answer = self.header("connection", "upgrade").header("upgrade", protocol).send().await?;
        answer.upgrade().await.map(|io| Tunnel(Box::new(io)))
    }

    /// Opens a WebSocket, optionally of a sub-protocol.
    pub async fn websocket(self, subprotocol: Option<&str>) -> Result<WebSocket> {
        let key = STANDARD.encode(&base::hex_id().as_bytes()[..16]);
        let mut call = self.header("connection", "upgrade").header("upgrade", "websocket");
        call = call.header("sec-websocket-version", "13").header("sec-websocket-key", &key);
        if let Some(name) = subprotocol {
            call = call.header("sec-websocket-protocol", name);
        }
        let answer = call.send().await?;
        if answer.header("sec-websocket-accept") != Some(&fingerprint(&key)) {
            return Err(err!(BadGateway, "{} gave an answer that cannot be read", "websocket").with_context("the accept key does not fit"));
        }
        let io = answer.upgrade().await?;
        Ok(WebSocket::over(Tunnel(Box::new(io)), Role::Client).await)
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Bytes),
}

/// A WebSocket; pings are answered by itself.
pub struct WebSocket(WebSocketStream<Tunnel>);

impl WebSocket {
    async fn over(tunnel: Tunnel, role: Role) -> WebSocket {
        let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        WebSocket(WebSocketStream::from_raw_socket(tunnel, role, Some(config)).await)
    }

    /// Accepts a WebSocket and gives it to `work`. `subprotocols` are those the handler speaks, best first; the first that the client offers too
    /// is taken. 400 when the client did not ask for a WebSocket.
    pub fn accept<F, Fut>(request: &mut Request, subprotocols: &[&str], work: F) -> Reply
    where
        F: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let key = request.header("sec-websocket-key").filter(|_| request.header("sec-websocket-version") == Some("13")).map(fingerprint);
        let key = key.ok_or_else(|| err!(BadRequest, "this address is for connections that upgrade to {}", "websocket"))?;
        let offered = request.header("sec-websocket-protocol").unwrap_or_default().to_string();
        let taken = subprotocols.iter().find(|s| offered.split(',').any(|o| o.trim() == **s));
        let response = accept(request, "websocket", |tunnel| async move { work(WebSocket::over(tunnel, Role::Server).await).await })?;
        let response = response.with_header("sec-websocket-accept", &key);
        Ok(match taken {
            Some(name) => response.with_header("sec-websocket-protocol", name),
            None => response,
        })
    }

    /// The next message; `None` once the other end has closed. May be dropped and asked again without losing a message.
    pub async fn recv(&mut self) -> Option<Result<Message>> {
        loop {
            return match self.0.next().await? {
                Ok(tungstenite::Message::Text(text)) => Some(Ok(Message::Text(text.to_string()))),
                Ok(tungstenite::Message::Binary(bytes)) => Some(Ok(Message::Binary(bytes))),
                Ok(tungstenite::Message::Close(_)) => None,
                Ok(_) => continue,
                Err(e) => Some(Err(err!(BadRequest, "the websocket broke off").with_context(e))),
            };
        }
    }

    pub async fn send(&mut self, message: Message) -> Result<()> {
        let message = match message {
            Message::Text(text) => tungstenite::Message::Text(text.into()),
            Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
        };
        self.0.send(message).await.map_err(|e| err!(BadRequest, "the websocket broke off").with_context(e))
    }

    /// Says goodbye. The other end may be gone already; that is as good.
    pub async fn close(mut self) {
        if let Err(e) = self.0.close(None).await {
            tracing::debug!(error = %e, "websocket close");
        }
    }
}

/// What proves that a server speaks WebSocket (RFC 6455 §4.2.2). SHA-1 is no protection here, only an echo.
fn fingerprint(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(super::fingerprint("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
