//! What a well-behaved client sees.

use crate::{Bench, LONG, client, echo, relaxed, until};
use base::err;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{App, Client, ClientOptions, Limits, Method, Request, Response, Router, Server};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use telemetry::{Metrics, testing::Watch};
use tokio::sync::Notify;

#[tokio::test]
async fn routes_segments_query_and_bodies() {
    let _log = Watch::start();
    let router = Router::new().any(&[Method::GET, Method::POST], "/servers/{id}", echo).get("/files/{*rest}", echo);
    let b = Bench::start(router, relaxed()).await;
    let c = client();

    let got = c.get(&b.url("/servers/a%2Fb?tags.0.key=user%3Aenv&effective")).send().await.unwrap().json().await.unwrap();
    assert_eq!(got["segments"], json!(["servers", "a/b"]));
    assert_eq!((&got["id"], &got["pattern"]), (&json!("a/b"), &json!("/servers/{id}")));
    assert_eq!(got["query"], json!({"tags": [{"key": "user:env"}], "effective": null}));
    assert_eq!((&got["body"], &got["peer"]), (&json!(null), &json!("127.0.0.1")));

    let got = c.get(&b.url("/files/a/b/c")).send().await.unwrap().json().await.unwrap();
    assert_eq!(got["tail"], json!(["a", "b", "c"]));

    let got = c.post(&b.url("/servers/x")).json(&json!({"server": {"name": "云"}})).send().await.unwrap().json().await.unwrap();
    assert_eq!(got["body"], json!({"server": {"name": "云"}}));

    // Chunked JSON counts; another type does not; a form is query parameters.
    let pieces = futures_util::stream::iter(["{\"a\"", ":1}"].map(|p| Ok(Bytes::from(p))));
    let got = c
        .post(&b.url("/servers/x"))
        .header("content-type", "application/json")
        .stream(pieces, None)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(got["body"], json!({"a": 1}));
    let got =
        c.post(&b.url("/servers/x")).header("content-type", "text/plain").bytes("{\"a\":1}").send().await.unwrap().json().await.unwrap();
    assert_eq!(got["body"], json!(null));
    let form =
        c.post(&b.url("/servers/x?a=1")).header("content-type", "application/x-www-form-urlencoded; charset=utf-8").bytes("b.c=2+3&a=4");
    let got = form.send().await.unwrap().json().await.unwrap();
    assert_eq!(got["query"], json!({"a": ["1", "4"], "b": {"c": "2 3"}}));
    b.serving.stop().await;
}

#[tokio::test]
async fn headers_every_answer_has() {
    let _log = Watch::start();
    let b = Bench::start(Router::new().get("/x", echo), relaxed()).await;
    let c = client();
    for path in ["/x", "/nothing"] {
        let answer = c.get(&b.url(path)).header("x-request-id", "abc").send_any().await.unwrap();
        let header = |name: &str| answer.header(name).unwrap_or_default().to_string();
        assert!(header("x-request-id").starts_with("abc-") && header("x-request-id").len() == 7, "{}", header("x-request-id"));
        assert_eq!(header("x-request-host-id").len(), 16);
        assert_eq!(header("x-frame-options"), "SAMEORIGIN");
        assert_eq!(header("x-xss-protection"), "1; mode=block");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-type"), "application/json;charset=utf-8");
        assert_eq!(header("strict-transport-security"), "", "only over TLS");
        assert_eq!(header("access-control-allow-origin"), "", "nobody named an origin");
    }
    b.serving.stop().await;
}

#[tokio::test]
async fn errors_in_two_families_and_two_languages() {
    let log = Watch::start();
    let router = Router::new()
        .get("/bad", |_| async { Err(err!(InputParameter, "{}: expected {}, got {}", "limit", "integer", "x")) })
        .get("/ours", |_| async { Err(base::Error::internal("the disk is on fire")) })
        .get("/panic", |_| async { panic!("a bug") })
        .get("/early-panic", |r: Request| {
            assert!(r.segments().is_empty(), "before the future");
            async { Ok(Response::text("")) }
        });
    let b = Bench::start(router, relaxed()).await;
    let c = client();

    let answer = c.get(&b.url("/bad?lang=zh-CN")).send_any().await.unwrap();
    assert_eq!(answer.status, 400);
    let body = answer.json().await.unwrap();
    assert_eq!((&body["class"], &body["details"]), (&json!("InputParameterError"), &json!("limit：应为 integer，实际为 x")));
    assert_eq!(body["error"]["message"], body["details"]);
    let english = c.get(&b.url("/bad")).header("accept-language", "en").send().await.unwrap_err();
    assert_eq!(english.to_string(), "limit: expected integer, got x");

    let e = c.get(&b.url("/nothing/here")).send().await.unwrap_err();
    assert_eq!((e.class(), e.to_string().as_str()), (base::Class::NotFound, "there is nothing at GET /nothing/here"));

    for path in ["/ours", "/panic", "/early-panic"] {
        let answer = c.get(&b.url(path)).send_any().await.unwrap();
        assert_eq!(answer.status, 500, "{path}");
        let text = String::from_utf8(answer.bytes(10_000).await.unwrap().to_vec()).unwrap();
        assert!(
            text.contains("InternalServerError") && !text.contains("fire") && !text.contains("a bug") && !text.contains("future"),
            "{text}"
        );
    }
    assert_eq!(c.get(&b.url("/ping")).send().await.unwrap().bytes(10).await.unwrap(), "pong", "the process lives");
    log.expect("on fire");
    log.expect("panic: a bug");
    log.expect("before the future");
    b.serving.stop().await;
}

#[tokio::test]
async fn several_services_on_one_port_and_what_each_answers() {
    let _log = Watch::start();
    let metrics = Metrics::default();
    let service = |name: &'static str| Router::new().get("/v1/things/{id}", move |_| async move { Ok(Response::text(name)) });
    let own_version = Router::new().get("/version", |_| async { Ok(Response::text("mine")) });
    let app = App::new(metrics.clone())
        .mount("/compute", "compute", service("compute"))
        .mount("/image", "image", service("image"))
        .mount("/image/cache", "cache", service("cache"))
        .mount("/identity", "identity", own_version);
    let b = Bench::app(app.limits(relaxed()), metrics).await;
    let c = client();
    let text = |path: &str| {
        let call = c.get(&b.url(path));
        async move { String::from_utf8(call.send().await.unwrap().bytes(1 << 20).await.unwrap().to_vec()).unwrap() }
    };
    assert_eq!(text("/compute/v1/things/1").await, "compute");
    assert_eq!(text("/image/v1/things/1").await, "image");
    assert_eq!(text("/image/cache/v1/things/1").await, "cache");
    assert_eq!(text("/identity/version").await, "mine");
    for at in ["", "/compute", "/image/cache"] {
        assert_eq!(text(&format!("{at}/version")).await, telemetry::version());
        assert_eq!(text(&format!("{at}/ping")).await, "pong");
    }
    assert_eq!(c.post(&b.url("/compute/ping")).send().await.unwrap().bytes(10).await.unwrap(), "pong");
    assert!(c.get(&b.url("/computer/v1/things/1")).send().await.is_err(), "a prefix is whole segments");
    assert!(c.get(&b.url("/compute/none")).send().await.is_err());

    let stats: base::Json = serde_json::from_str(&text("/compute/stats").await).unwrap();
    let paths = stats["paths"].as_array().unwrap();
    let of = |path: &str| paths.iter().find(|p| p["path"] == path).unwrap_or_else(|| panic!("{path} in {stats}"));
    assert_eq!(of("/v1/things/{id}")["hit.2XX"], 1);
    assert_eq!(of("unmatched")["hit.4XX"], 1);
    assert_eq!(stats["hit.4XX"], 1);
    assert!(paths.iter().all(|p| p["path"] != "/image"), "only its own");
    let process: base::Json = serde_json::from_str(&text("/process_stats").await).unwrap();
    assert!(process["process_stats"]["mem_size"].as_u64().unwrap() > 100_000);
    let workers: base::Json = serde_json::from_str(&text("/worker_stats").await).unwrap();
    assert_eq!(workers["workers"][0]["active_worker_cnt"], 1);

    let metrics = text("/metrics").await;
    let line = r#"wolke_http_requests_total{service="compute",method="GET",route="/v1/things/{id}",status="2xx"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    let bucket = r#"wolke_http_request_seconds_bucket{le="+Inf",service="image",method="GET",route="/v1/things/{id}"} 1"#;
    assert!(metrics.contains(bucket), "{metrics}");
    assert!(metrics.contains("wolke_http_requests_running 1\n"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
    b.serving.stop().await;
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let _log = Watch::start();
    let router = Router::new().get("/x", |_| async { Ok(Response::text("twelve bytes").with_header("x-extra", "1")) });
    let b = Bench::start(router, relaxed()).await;
    let answer = client().call(Method::HEAD, &b.url("/x")).send().await.unwrap();
    assert_eq!((answer.header("x-extra"), answer.length()), (Some("1"), Some(12)));
    assert!(answer.bytes(100).await.unwrap().is_empty());
    b.serving.stop().await;
}

#[tokio::test]
async fn streams_both_ways() {
    let log = Watch::start();
    const PIECES: usize = 200;
    let router = Router::new()
        .post("/count", |mut r: Request| async move {
            let mut stream = r.stream();
            let mut n = 0;
            while let Some(piece) = stream.next().await {
                n += piece?.len();
            }
            Ok(Response::text(n.to_string()))
        })
        .get("/many", |_| async {
            let pieces = futures_util::stream::iter((0..PIECES).map(|i| Ok(Bytes::from(vec![i as u8; 10_000]))));
            Ok(Response::stream("application/octet-stream".parse().unwrap(), Some(PIECES as u64 * 10_000), pieces))
        })
        .get("/breaks", |_| async {
            let pieces = [Ok(Bytes::from("half")), Err(err!(Internal, "the source is gone"))];
            Ok(Response::stream("text/plain".parse().unwrap(), None, futures_util::stream::iter(pieces)))
        });
    // Streams are not held to the limit of JSON bodies.
    let b = Bench::start(router, Limits { json: 1000, ..relaxed() }).await;
    let c = client();
    let body = futures_util::stream::iter((0..PIECES).map(|_| Ok(Bytes::from(vec![7u8; 10_000]))));
    let counted = c.post(&b.url("/count")).stream(body, Some(PIECES as u64 * 10_000)).send().await.unwrap().bytes(20).await.unwrap();
    assert_eq!(counted, (PIECES * 10_000).to_string());

    let answer = c.get(&b.url("/many")).send().await.unwrap();
    assert_eq!(answer.length(), Some(PIECES as u64 * 10_000));
    let mut stream = answer.stream();
    let mut n = 0;
    while let Some(piece) = stream.next().await {
        n += piece.unwrap().len();
    }
    assert_eq!(n, PIECES * 10_000);

    let broken = async { c.get(&b.url("/breaks")).send().await?.bytes(100).await };
    assert_eq!(broken.await.unwrap_err().class(), base::Class::BadGateway, "half an answer is no answer");
    log.expect("the source is gone");
    b.serving.stop().await;
}

#[tokio::test]
async fn a_socket_file_for_this_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let _log = Watch::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wolke.sock");
    // What a killed process leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let app = || App::new(Metrics::default()).mount("/", "test", Router::new().get("/x", echo));
    let mut server = Server::new(app());
    server.bind_unix(&path).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let serving = server.start();
    let client = Client::new(ClientOptions { unix_socket: Some(path.clone()), ..ClientOptions::default() }).unwrap();
    let got = client.get("http://wolke/x").send().await.unwrap().json().await.unwrap();
    assert_eq!(got["peer"], json!(null));
    let taken = Server::new(app()).bind_unix(&path).await.unwrap_err();
    assert!(taken.to_string().contains("wolke.sock"), "{taken}");
    serving.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn an_orderly_end_finishes_what_runs() {
    let _log = Watch::start();
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (a, r) = (arrived.clone(), release.clone());
    let router = Router::new().get("/slow", move |_| {
        let (a, r) = (a.clone(), r.clone());
        async move {
            a.notify_one();
            r.notified().await;
            Ok(Response::text("done"))
        }
    });
    let b = Bench::start(router, Limits { drain: LONG, ..relaxed() }).await;
    let c = client();
    let slow = c.get(&b.url("/slow"));
    let request = tokio::spawn(async move { slow.send().await.unwrap().bytes(10).await.unwrap() });
    arrived.notified().await;
    let url = b.url("/ping");
    let stopping = tokio::spawn(b.serving.stop());
    let refused = async { while c.get(&url).send().await.is_ok() {} };
    tokio::time::timeout(LONG, refused).await.unwrap();
    release.notify_one();
    assert_eq!(request.await.unwrap(), "done");
    tokio::time::timeout(LONG, stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_orderly_end_cuts_what_does_not_finish() {
    let log = Watch::start();
    let router = Router::new().get("/never", |_| std::future::pending());
    let b = Bench::start(router, Limits { drain: Duration::from_millis(50), ..relaxed() }).await;
    let never = client().get(&b.url("/never"));
    let cut = tokio::spawn(async move { never.send().await });
    until_running(&b.metrics, 1).await;
    tokio::time::timeout(LONG, b.serving.stop()).await.unwrap();
    assert_eq!(cut.await.unwrap().err().map(|e| e.class()), Some(base::Class::BadGateway), "cut after the deadline");
    log.expect("cutting connections");
}

async fn until_running(metrics: &Metrics, n: usize) {
    let line = format!("wolke_http_requests_running {n}\n");
    until("so many requests run", || metrics.text().contains(&line)).await;
}

#[tokio::test]
async fn a_change_goes_on_when_its_client_hangs_up_and_a_read_does_not() {
    let _log = Watch::start();
    let (arrived, release, finished) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (a, r, f) = (arrived.clone(), release.clone(), finished.clone());
    let work = move |request: Request| {
        let (a, r, f) = (a.clone(), r.clone(), f.clone());
        async move {
            a.notify_one();
            r.notified().await;
            f.fetch_add(if request.method == Method::POST { 1 } else { 100 }, SeqCst);
            Ok(Response::text(""))
        }
    };
    let b = Bench::start(Router::new().any(&[Method::GET, Method::POST], "/work", work), relaxed()).await;
    for method in [Method::GET, Method::POST] {
        let call = client().call(method, &b.url("/work"));
        let request = tokio::spawn(call.send());
        arrived.notified().await;
        request.abort();
        let _ = request.await;
    }
    // The read is gone, the change still runs.
    until_running(&b.metrics, 1).await;
    release.notify_one();
    until_running(&b.metrics, 0).await;
    assert_eq!(finished.load(SeqCst), 1);
    b.serving.stop().await;
}

#[tokio::test]
async fn browsers_of_named_origins_only() {
    let _log = Watch::start();
    let metrics = Metrics::default();
    let app = App::new(metrics.clone()).mount("/", "test", Router::new().get("/x", echo)).cors(vec!["https://console.example".into()]);
    let b = Bench::app(app.limits(relaxed()), metrics).await;
    let c = client();
    let preflight = c.call(Method::OPTIONS, &b.url("/x")).header("origin", "https://console.example").send().await.unwrap();
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("PATCH"));
    let answer = c.get(&b.url("/x")).header("origin", "https://console.example").send().await.unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://console.example"));
    let answer = c.get(&b.url("/x")).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), None);
    b.serving.stop().await;
}

#[tokio::test]
async fn a_slow_answer_is_logged_once() {
    let log = Watch::start();
    let router = Router::new().get("/x", |_| async { Ok(Response::text("")) }).get("/poll", |r: Request| async move {
        r.lift_deadline();
        Ok(Response::text(""))
    });
    let b = Bench::start(router, Limits { slow: Duration::ZERO, ..relaxed() }).await;
    client().get(&b.url("/x?secret=1")).send().await.unwrap();
    client().get(&b.url("/poll")).send().await.unwrap();
    assert!(log.lines().len() == 1 && !log.lines()[0].contains("secret"), "{:?}", log.lines());
    log.expect("route=\"/x\"");
    b.serving.stop().await;
}
