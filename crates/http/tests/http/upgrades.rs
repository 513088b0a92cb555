//! Connections that stop being HTTP.

use crate::{Bench, LONG, client, relaxed};
use base::Class;
use http::{Limits, Message, Request, Router, WebSocket, tunnel};
use std::time::Duration;
use telemetry::testing::Watch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn router() -> Router {
    Router::new()
        .get("/raw", |mut r: Request| async move {
            tunnel::accept(&mut r, "wolke-echo", |mut t| async move {
                let mut buf = [0u8; 1000];
                while let Ok(n @ 1..) = t.read(&mut buf).await {
                    if t.write_all(&buf[..n]).await.is_err() {
                        return;
                    }
                }
            })
        })
        .get("/ws", |mut r: Request| async move {
            WebSocket::accept(&mut r, &["binary", "text"], |mut ws| async move {
                while let Some(Ok(message)) = ws.recv().await {
                    if ws.send(message).await.is_err() {
                        return;
                    }
                }
            })
        })
}

#[tokio::test]
async fn a_tunnel_outlives_every_limit_of_requests() {
    let _log = Watch::start();
    let short = Duration::from_secs(2);
    let b = Bench::start(router(), Limits { request: short, stall: short, head: short, ..relaxed() }).await;
    let mut t = client().get(&b.url("/raw")).tunnel("wolke-echo").await.unwrap();
    for pause in [short * 3 / 2, Duration::ZERO, Duration::ZERO] {
        tokio::time::sleep(pause).await;
        t.write_all(b"hello").await.unwrap();
        let mut buf = [0u8; 5];
        tokio::time::timeout(LONG, t.read_exact(&mut buf)).await.unwrap().unwrap();
        assert_eq!(&buf, b"hello");
    }
    drop(t);
    b.serving.stop().await;

    let b = Bench::start(router(), relaxed()).await;
    let refused = client().get(&b.url("/raw")).tunnel("something-else").await.err().unwrap();
    assert_eq!(refused.class(), Class::BadRequest);
    assert_eq!(client().get(&b.url("/raw")).send().await.err().unwrap().class(), Class::BadRequest);
    b.serving.stop().await;
}

#[tokio::test]
async fn websockets() {
    let _log = Watch::start();
    let b = Bench::start(router(), relaxed()).await;
    let mut ws = client().get(&b.url("/ws")).websocket(Some("binary")).await.unwrap();
    for message in [Message::Text("云".into()), Message::Binary(vec![0; 100_000].into()), Message::Text(String::new())] {
        ws.send(message.clone()).await.unwrap();
        let back = tokio::time::timeout(LONG, ws.recv()).await.unwrap().unwrap().unwrap();
        assert_eq!(back, message);
    }
    ws.close().await;

    // A message beyond the limit ends the connection and nothing else.
    let mut ws = client().get(&b.url("/ws")).websocket(None).await.unwrap();
    let _ = ws.send(Message::Binary(vec![0; 5 << 20].into())).await;
    let end = async { while let Some(Ok(_)) = ws.recv().await {} };
    tokio::time::timeout(LONG, end).await.unwrap();
    assert_eq!(client().get(&b.url("/ws")).send().await.err().unwrap().class(), Class::BadRequest);
    b.serving.stop().await;
}

#[tokio::test]
async fn the_sub_protocol_is_the_servers_choice() {
    let _log = Watch::start();
    let b = Bench::start(router(), relaxed()).await;
    let ask = |offer: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {offer}\r\n\r\n\u{8}\u{0}"
        )
    };
    // What follows is a frame without a mask, which a client must not send, so the server closes.
    let answer = b.raw(ask("text, binary").as_bytes()).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 101 ") && answer.contains("sec-websocket-protocol: binary\r\n"), "{answer}");
    let answer = b.raw(ask("other").as_bytes()).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 101 ") && !answer.contains("sec-websocket-protocol"), "{answer}");
    b.serving.stop().await;
}
