//! Clients that are broken, slow or hostile.

use crate::{Bench, LONG, client, echo, read_all, relaxed, until};
use bytes::Bytes;
use http::{App, Limits, Request, Response, Router};
use std::{sync::Arc, time::Duration};
use telemetry::testing::Watch;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Semaphore};

const SHORT: Duration = Duration::from_millis(200);

fn router() -> Router {
    Router::new().get("/{id}", echo).post("/{id}", echo).get("/", echo)
}

#[tokio::test]
async fn requests_that_are_no_requests() {
    let _log = Watch::start();
    let b = Bench::start(router(), Limits { head_size: 16 << 10, ..relaxed() }).await;
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{more}\r\n");
    let check = |request: String, status: u16| {
        let b = &b;
        async move {
            let answer = b.raw(request.as_bytes()).await;
            // What is too large is refused without being read, and then the kernel may throw the answer away with the rest.
            let lost = answer.is_empty() && status == 431;
            assert!(lost || answer.starts_with(&format!("HTTP/1.1 {status} ")), "{:.80} → {answer:.200}", request);
        }
    };
    check(get("/ok", ""), 200).await;
    check(get("/a%2", ""), 400).await;
    check(get("/%zz", ""), 400).await;
    check(get("/%ff%fe", ""), 400).await;
    check(get("/x?a=%", ""), 400).await;
    check(get("/x?a=1&a.b=2", ""), 400).await;
    check(get("/x?a.b.c.d.e.f.g.h.i.j.k.l.m.n=1", ""), 400).await;
    check(get(&format!("/x?{}", "a=1&".repeat(3000)), ""), 200).await;
    check(get(&"/a".repeat(100), ""), 400).await;
    check(get("/x", &format!("X-Big: {}\r\n", "a".repeat(40 << 10))), 431).await;
    check(get(&format!("/x?{}", "a=1&".repeat(20_000)), ""), 431).await;
    check(get("/x", &(0..200).map(|i| format!("X-{i}: 1\r\n")).collect::<String>()), 431).await;
    check("GET / HTTP/9.9\r\n\r\n".into(), 400).await;
    check("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".into(), 400).await;
    check("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n".into(), 400).await;
    check("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".into(), 400).await;
    let post = |kind: &str, body: &str| {
        format!("POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    check(post("application/json", "{\"a\":"), 400).await;
    check(post("application/json", &"[".repeat(10_000)), 400).await;
    check(post("application/json", "  \n"), 200).await;
    check(post("application/x-www-form-urlencoded", "a=%zz"), 400).await;
    check(post("application/x-www-form-urlencoded", &"a=1&".repeat(10_001)), 400).await;
    check(get("/ok", ""), 200).await;
    b.serving.stop().await;
}

#[tokio::test]
async fn headers_that_two_would_read_differently() {
    let log = Watch::start();
    let b = Bench::start(router(), relaxed()).await;
    let with = |lines: &str, body: &str| format!("POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}\r\n{body}");
    for (lines, body) in [
        ("X-Auth-Token: a\r\nX-Auth-Token: b\r\n", ""),
        ("X-Auth-Token: a\r\nx-auth-token: a\r\n", ""),
        ("X-Subject-Token: a\r\nX-Subject-Token: b\r\n", ""),
        ("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", ""),
        ("Host: other\r\n", ""),
    ] {
        let answer = b.raw(with(lines, body).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("InputParameterError"), "{lines:?}: {answer:.300}");
        log.expect("request refused");
    }
    // What the parser itself does not take: it is no request, and there is nobody to tell.
    for (lines, body) in [
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
        ("Content-Length: 5, 6\r\n", "hello"),
        ("Content-Length: +5\r\n", "hello"),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("X-Auth-Token\0: a\r\n", ""),
        ("X-Auth-Token: a\0b\r\n", ""),
        (" X-Auth-Token: a\r\n", ""),
    ] {
        let answer = b.raw(with(lines, body).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lines:?}: {answer:.300}");
    }
    // A second request hidden in what one side takes for the body of the first is never answered.
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    let length = hidden.len() + 5;
    for lines in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        "Transfer-Encoding: chunked\r\n".to_string(),
    ] {
        let answer = b.raw(format!("POST /x HTTP/1.1\r\nHost: h\r\n{lines}\r\n0\r\n\r\n{hidden}").as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{lines:?}: {answer}");
        assert!(!answer.contains("hidden"), "{lines:?}: {answer}");
    }
    b.serving.stop().await;
}

#[tokio::test]
async fn where_a_request_comes_from_only_proxies_say() {
    let _log = Watch::start();
    for (trusted, lines, want) in [
        (true, "X-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4"),
        // The proxy's own line comes after what the client wrote.
        (true, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4"),
        (true, "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n", "1.2.3.4"),
        (true, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: rubbish\r\n", "127.0.0.1"),
        (true, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: \u{fc}\r\n", "127.0.0.1"),
        (true, "Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Client-IP: 6.6.6.6\r\n", "127.0.0.1"),
        (false, "X-Forwarded-For: 1.2.3.4\r\n", "127.0.0.1"),
    ] {
        let metrics = telemetry::Metrics::default();
        let proxies = if trusted { vec!["127.0.0.1/32".parse().unwrap()] } else { Vec::new() };
        let app = App::new(metrics.clone()).mount("/", "test", router()).limits(relaxed()).trust_proxies(proxies);
        let b = Bench::app(app, metrics).await;
        let answer = b.raw(format!("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}\r\n").as_bytes()).await;
        assert!(answer.contains(&format!("\"peer\":\"{want}\"")), "{lines:?}: {answer}");
        b.serving.stop().await;
    }
}

#[tokio::test]
async fn headers_that_would_say_who_are_passed_over_and_written_down() {
    let log = Watch::start();
    let b = Bench::start(router(), relaxed()).await;
    let with = |lines: &str| format!("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}\r\n");
    let plain = b.raw(with("").as_bytes()).await;
    for header in ["X-User-Id", "X-Project-Id", "X-Roles", "X-Identity-Status", "Remote-User", "X-Forwarded-User", "X-HTTP-Method-Override"]
    {
        let answer = b.raw(with(&format!("{header}: admin\r\n")).as_bytes()).await;
        let body = |answer: &str| answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string());
        assert_eq!(body(&answer).map(|b| b.len()), body(&plain).map(|b| b.len()), "{header}: {answer}");
        log.expect(&format!("header=\"{}\"", header.to_lowercase()));
        b.raw(with(&format!("{header}: admin\r\n")).as_bytes()).await;
        assert_eq!(log.lines(), Vec::<String>::new(), "{header}: said once a minute");
    }
    for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP"] {
        b.raw(with(&format!("{header}: 1.2.3.4\r\n")).as_bytes()).await;
        assert_eq!(log.told(&["would say where", &format!("header=\"{}\"", header.to_lowercase())]), 1, "{header}");
    }
    b.serving.stop().await;
}

#[tokio::test]
async fn bodies_that_are_too_large_by_word_or_by_deed() {
    let _log = Watch::start();
    let b = Bench::start(router(), Limits { json: 1000, ..relaxed() }).await;
    let announced =
        "POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n{";
    let answer = b.raw(announced.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("TooLargeEntity"), "{answer}");
    let body = "a".repeat(2000);
    let chunked = format!(
        "POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n{body}\r\n0\r\n\r\n"
    );
    let answer = b.raw(chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    b.serving.stop().await;
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_let_go() {
    let log = Watch::start();
    let b = Bench::start(router(), Limits { head: SHORT, ..relaxed() }).await;
    // Half a head: the connection is closed without or with an error answer, but closed.
    let mut stream = TcpStream::connect(b.addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHos").await.unwrap();
    let answer = read_all(stream).await;
    assert!(!answer.contains("200"), "{answer}");
    // Nothing at all, and what could still become HTTP/2.
    for start in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n"] {
        let mut stream = TcpStream::connect(b.addr).await.unwrap();
        stream.write_all(start).await.unwrap();
        read_all(stream).await;
    }
    b.serving.stop().await;
    // A body that stops: its head has the usual time.
    let b = Bench::start(router(), Limits { stall: SHORT, ..relaxed() }).await;
    let mut stream = TcpStream::connect(b.addr).await.unwrap();
    stream.write_all(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"a\"").await.unwrap();
    let answer = read_all(stream).await;
    assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("TimeoutError"), "{answer}");
    log.expect("stopped arriving");
    b.serving.stop().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_let_go() {
    let _log = Watch::start();
    // An endless answer: only the guard on writing can end it.
    struct Told(tokio::sync::mpsc::Sender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.try_send(());
        }
    }
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let router = Router::new().get("/endless", move |_| {
        let end = Told(tell.clone());
        async move {
            let pieces = futures_util::stream::repeat_with(move || {
                let _hold = &end;
                Ok(Bytes::from_static(&[0; 65536]))
            });
            Ok(Response::stream("application/octet-stream".parse().unwrap(), None, pieces))
        }
    });
    let b = Bench::start(router, Limits { stall: SHORT, ..relaxed() }).await;
    let mut stream = TcpStream::connect(b.addr).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    tokio::time::timeout(LONG, told.recv()).await.expect("the stream is dropped although the client stays");
    drop(stream);
    b.serving.stop().await;
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_answered_for() {
    let log = Watch::start();
    let router = Router::new().get("/hangs", |_| std::future::pending()).post("/hangs", |_| std::future::pending()).get(
        "/poll",
        |r: Request| async move {
            r.lift_deadline();
            tokio::time::sleep(SHORT * 3).await;
            Ok(Response::text("news"))
        },
    );
    let b = Bench::start(router, Limits { request: SHORT, ..relaxed() }).await;
    let c = client();
    for call in [c.get(&b.url("/hangs")), c.post(&b.url("/hangs"))] {
        assert_eq!(call.send().await.err().unwrap().class(), base::Class::Timeout);
        log.expect("took longer");
    }
    assert_eq!(c.get(&b.url("/poll")).send().await.unwrap().bytes(10).await.unwrap(), "news");
    until("nothing keeps hanging", || b.metrics.text().contains("wolke_http_requests_running 0\n")).await;
    b.serving.stop().await;
}

#[tokio::test]
async fn more_at_once_than_allowed_is_refused_at_once() {
    let _log = Watch::start();
    let gate = Arc::new(Semaphore::new(0));
    let g = gate.clone();
    let router = Router::new().get("/wait", move |_| {
        let g = g.clone();
        async move {
            g.acquire().await.map_err(base::Error::internal)?.forget();
            Ok(Response::text("in"))
        }
    });
    let b = Bench::start(router, Limits { running: 2, ..relaxed() }).await;
    let c = client();
    let waiting: Vec<_> = (0..2).map(|_| tokio::spawn(c.get(&b.url("/wait")).send())).collect();
    until("two requests run", || b.metrics.text().contains("wolke_http_requests_running 2\n")).await;
    assert_eq!(c.get(&b.url("/wait")).send().await.err().unwrap().class(), base::Class::TooManyRequests);
    gate.add_permits(3);
    for w in waiting {
        assert!(w.await.unwrap().is_ok());
    }
    assert!(c.get(&b.url("/wait")).send().await.is_ok(), "room again");
    b.serving.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_are_served() {
    let _log = Watch::start();
    let b = Bench::start(router(), Limits { connections: 2, ..relaxed() }).await;
    let idle = [TcpStream::connect(b.addr).await.unwrap(), TcpStream::connect(b.addr).await.unwrap()];
    let url = b.url("/x");
    let third = tokio::spawn(async move { client().get(&url).send().await.map(|a| a.status) });
    drop(idle);
    assert_eq!(tokio::time::timeout(LONG, third).await.unwrap().unwrap().unwrap(), 200);
    b.serving.stop().await;
}
