//! The client: deadlines, retries, errors with their class.

use crate::{Bench, client, echo, relaxed};
use base::{Class, Ctx, Lang, err};
use futures_util::StreamExt;
use http::{Client, ClientOptions, Limits, Method, Request, Response, Router};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use telemetry::testing::Watch;
use tokio::net::{TcpListener, TcpSocket};

#[tokio::test]
async fn the_class_and_the_template_of_a_remote_error_survive() {
    let _log = Watch::start();
    let router = Router::new()
        .get("/named", |_| async { Err(err!(DuplicateName, "name {} is taken", "web-1")) })
        .get("/plain", |_| async { Ok(Response::text("go away").with_status(http::StatusCode::FORBIDDEN)) })
        .get("/moved", |_| async { Ok(Response::text("").with_status(http::StatusCode::FOUND).with_header("location", "/named")) });
    let b = Bench::start(router, relaxed()).await;
    let c = client();
    let e = c.get(&b.url("/named")).send().await.err().unwrap();
    assert_eq!((e.class(), e.template(), e.args()), (Class::DuplicateName, "name {} is taken", &["web-1".to_string()][..]));
    let e = c.get(&b.url("/plain")).send().await.err().unwrap();
    assert_eq!((e.class(), e.to_string().as_str()), (Class::Forbidden, "go away"));
    assert_eq!(c.get(&b.url("/moved")).send().await.err().unwrap().class(), Class::BadGateway, "redirects are not followed");
    assert_eq!(c.get(&b.url("/moved")).send_any().await.unwrap().status, 302);
    b.serving.stop().await;
}

#[tokio::test]
async fn only_what_may_be_repeated_is_repeated() {
    let log = Watch::start();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let flaky = move |_: Request| {
        let n = counted.fetch_add(1, SeqCst);
        async move { if n % 3 < 2 { Err(err!(BadGateway, "cannot reach {}", "db")) } else { Ok(Response::text("yes")) } }
    };
    let b = Bench::start(Router::new().any(&[Method::GET, Method::POST], "/flaky", flaky), relaxed()).await;
    let c = Client::new(ClientOptions { retries: 2, ..ClientOptions::default() }).unwrap();
    assert_eq!(c.get(&b.url("/flaky")).send().await.unwrap().bytes(10).await.unwrap(), "yes");
    assert_eq!(calls.swap(0, SeqCst), 3);
    assert_eq!(c.post(&b.url("/flaky")).send().await.err().unwrap().class(), Class::BadGateway);
    assert_eq!(calls.swap(0, SeqCst), 1, "a POST is sent once");
    assert!(c.post(&b.url("/flaky")).idempotent().send().await.is_ok());
    assert_eq!(calls.load(SeqCst), 3);
    log.expect("cannot reach db");
    b.serving.stop().await;
}

#[tokio::test]
async fn a_peer_that_is_not_there_or_does_not_answer() {
    let _log = Watch::start();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    let c = Client::new(ClientOptions { deadline: Duration::from_millis(300), retries: 1, ..ClientOptions::default() }).unwrap();
    let e = c.get(&format!("http://{addr}/?token=secret")).send().await.err().unwrap();
    assert_eq!((e.class(), e.to_string()), (Class::Timeout, format!("{addr} did not answer in time")));
    // A port that is taken, so that nobody else gets it, and at which nobody listens.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = taken.local_addr().unwrap();
    let e = c.post(&format!("http://user:pw@{addr}/x")).send().await.err().unwrap();
    assert_eq!((e.class(), e.to_string()), (Class::BadGateway, format!("cannot reach {addr}")));
    assert!(e.context().unwrap().to_lowercase().contains("refused"), "{e:?}");
    assert!(!format!("{e:?}").contains("pw@"));
    assert!(e.retryable());
}

#[tokio::test]
async fn what_a_call_carries() {
    let _log = Watch::start();
    let router = Router::new().put("/x", |r: Request| async move {
        let header = |n: &str| r.header(n).unwrap_or_default().to_string();
        let seen = json!({"token": header("x-auth-token"), "id": header("x-request-id"), "agent": header("user-agent"), "lang": format!("{:?}", r.lang)});
        let both = json!({"seen": seen, "echo": echo(r).await?.body_bytes().map(|b| String::from_utf8_lossy(b).into_owned())});
        Ok(Response::json(&both))
    });
    let b = Bench::start(router, relaxed()).await;
    let ctx = Ctx { lang: Lang::Zh, ..Ctx::platform("req-1") };
    let call = client().put(&b.url("/x")).query("name", "a b&c").query_json(&json!({"filter": ["x", "y"], "details": false}));
    let got = call.token("tok").ctx(&ctx).json(&json!({"k": 1})).send().await.unwrap().json().await.unwrap();
    assert_eq!((&got["seen"]["token"], &got["seen"]["id"], &got["seen"]["lang"]), (&json!("tok"), &json!("req-1"), &json!("Zh")));
    assert!(got["seen"]["agent"].as_str().unwrap().starts_with("wolke/"));
    let echo: base::Json = serde_json::from_str(got["echo"].as_str().unwrap()).unwrap();
    assert_eq!(echo["query"], json!({"name": "a b&c", "filter": ["x", "y"], "details": "false"}));
    assert_eq!(echo["body"], json!({"k": 1}));
    let bad = client().get(&b.url("/x")).header("x-name", "line\nbreak").send().await.err().unwrap();
    assert_eq!(bad.class(), Class::InputParameter);
    b.serving.stop().await;
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read() {
    let _log = Watch::start();
    let b = Bench::start(Router::new().get("/big", |_| async { Ok(Response::text("x".repeat(100_000))) }), relaxed()).await;
    let e = client().get(&b.url("/big")).send().await.unwrap().bytes(1000).await.unwrap_err();
    assert_eq!(e.class(), Class::BadGateway);
    b.serving.stop().await;
}

#[tokio::test]
async fn a_long_transfer_is_bounded_by_its_pace_and_not_by_its_length() {
    let _log = Watch::start();
    let (piece, limit) = (Duration::from_millis(50), Duration::from_millis(2500));
    let slowly = move |n: usize| {
        futures_util::stream::unfold(0, move |i| async move {
            tokio::time::sleep(piece).await;
            (i < n).then(|| (Ok(bytes::Bytes::from_static(b"x")), i + 1))
        })
    };
    let router = Router::new()
        .post("/in", |mut r: Request| async move {
            let mut stream = r.stream();
            let mut n = 0;
            while let Some(piece) = stream.next().await {
                n += piece?.len();
            }
            Ok(Response::text(n.to_string()))
        })
        .post("/deaf", |mut r: Request| async move {
            let _held = r.stream();
            std::future::pending().await
        })
        .get("/out", move |_| async move { Ok(Response::stream("text/plain".parse().unwrap(), None, slowly(100))) })
        .get("/stuck", |_| async { Ok(Response::stream("text/plain".parse().unwrap(), None, futures_util::stream::pending())) });
    let b = Bench::start(router, Limits { request: limit, ..relaxed() }).await;
    // A hundred pieces take twice as long as any single limit, and each a fiftieth of it.
    let c = Client::new(ClientOptions { deadline: limit, stall: limit, retries: 0, ..ClientOptions::default() }).unwrap();
    let up = async {
        let sent = c.post(&b.url("/in")).stream(slowly(100), None).send().await.unwrap().bytes(10).await.unwrap();
        assert_eq!(sent, "100");
    };
    let down = async {
        let mut stream = c.get(&b.url("/out")).send().await.unwrap().stream();
        let mut n = 0;
        while let Some(piece) = stream.next().await {
            n += piece.unwrap().len();
        }
        assert_eq!(n, 100);
    };
    tokio::join!(up, down);
    let endless = futures_util::stream::repeat_with(|| Ok(bytes::Bytes::from_static(&[0; 65536])));
    let e = c.post(&b.url("/deaf")).stream(endless, None).send().await.err().unwrap();
    assert_eq!(e.class(), Class::Timeout, "a peer that does not read");
    let e = c.get(&b.url("/stuck")).send_any().await.unwrap().bytes(10).await.unwrap_err();
    assert_eq!(e.class(), Class::Timeout, "a peer that does not write");
    drop(b);
}
