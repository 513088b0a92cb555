//! A whole process: real servers, real signals to the handle, workers that fail.

use base::err;
use http::{App, Client, ClientOptions, Response, Router, Server};
use service::{Backoff, Process, Shutdown, WorkerState};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use telemetry::{Metrics, testing::Watch};
use tokio::sync::Notify;

const LONG: Duration = Duration::from_secs(60);
const QUICK: Backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(4) };

/// Waits for a condition, looking again at every turn.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let look = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, look).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_failing_worker_is_started_again_and_seen() {
    let log = Watch::start();
    let metrics = Metrics::default();
    let process = Process::new(&metrics, LONG);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    process.worker_with("shaky", QUICK, move |stop: Shutdown| {
        let n = counted.fetch_add(1, SeqCst);
        async move {
            match n {
                0 => Err(err!(Internal, "no disk").with_context("sda")),
                1 => panic!("out of luck"),
                _ => {
                    stop.wait().await;
                    Ok(())
                }
            }
        }
    });
    process.worker("once", |_| async { Ok(()) });
    until("third run", || runs.load(SeqCst) == 3).await;
    until("the one-time worker is done", || process.workers()[1].state == WorkerState::Done).await;
    let shaky = &process.workers()[0];
    assert_eq!((shaky.restarts, shaky.state), (2, WorkerState::Running));
    assert!(shaky.last_error.as_deref().unwrap().contains("panic"), "{shaky:?}");
    assert!(metrics.text().contains("wolke_worker_restarts_total{worker=\"shaky\"} 2"));
    log.expect("no disk: sda");
    log.expect("panic");

    process.stop();
    process.clone().run(vec![]).await.unwrap();
    assert!(process.workers().iter().all(|w| w.state == WorkerState::Done));
}

#[tokio::test]
async fn a_worker_that_does_not_end_is_cut() {
    let log = Watch::start();
    let process = Process::new(&Metrics::default(), Duration::from_millis(50));
    process.worker("deaf", |_| std::future::pending());
    process.stop();
    tokio::time::timeout(LONG, process.run(vec![])).await.unwrap().unwrap();
    log.expect("workers=\"deaf\"");
}

#[tokio::test]
async fn two_services_one_process_ready_then_drained_before_workers() {
    let _log = Watch::start();
    let metrics = Metrics::default();
    let process = Process::new(&metrics, LONG);
    let (database, sync) = (process.part("database"), process.part("first sync"));

    // A request that waits until the test lets it go, and needs the worker until then.
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (a, r) = (arrived.clone(), release.clone());
    let slow = Router::new().get("/slow", move |_| {
        let (a, r) = (a.clone(), r.clone());
        async move {
            a.notify_one();
            r.notified().await;
            Ok(Response::text("done"))
        }
    });
    let worker_ended = Arc::new(AtomicUsize::new(0));
    let ended = worker_ended.clone();
    process.worker("needed", move |stop: Shutdown| {
        let ended = ended.clone();
        async move {
            stop.wait().await;
            ended.store(1, SeqCst);
            Ok(())
        }
    });

    let app = App::new(metrics.clone()).mount("/", "platform", process.router()).mount("/compute", "compute", slow).mount(
        "/image",
        "image",
        Router::new().get("/images", |_| async { Ok(Response::text("[]")) }),
    );
    let mut server = Server::new(app.limits(http::Limits { slow: LONG, ..Default::default() }));
    let url = format!("http://{}", server.bind("127.0.0.1:0", None).await.unwrap());
    let running = tokio::spawn(process.clone().run(vec![server]));
    let client = Client::new(ClientOptions { retries: 0, ..ClientOptions::default() }).unwrap();

    let ready = |client: Client, url: String| async move { client.get(&format!("{url}/ready")).send_any().await.unwrap() };
    let answer = ready(client.clone(), url.clone()).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json().await.unwrap()["missing"], serde_json::json!(["database", "first sync"]));
    database.done();
    assert_eq!(process.missing(), ["first sync"]);
    sync.done();
    tokio::time::timeout(LONG, process.ready()).await.unwrap();
    assert_eq!(ready(client.clone(), url.clone()).await.status, 200);
    assert_eq!(client.get(&format!("{url}/image/images")).send().await.unwrap().status, 200);
    let workers = client.get(&format!("{url}/workers")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&workers["workers"][0]["name"], &workers["workers"][0]["state"]), (&"needed".into(), &"running".into()));

    let (c, u) = (client.clone(), url.clone());
    let request = tokio::spawn(async move { c.get(&format!("{u}/compute/slow")).send().await.unwrap().bytes(100).await.unwrap() });
    tokio::time::timeout(LONG, arrived.notified()).await.unwrap();
    process.stop();
    // The listener closes, the running request and with it the worker go on.
    let look = async { while client.get(&format!("{url}/ready")).send_any().await.is_ok() {} };
    tokio::time::timeout(LONG, look).await.unwrap();
    assert_eq!(worker_ended.load(SeqCst), 0, "workers end after the servers");
    release.notify_one();
    assert_eq!(&request.await.unwrap()[..], b"done");
    tokio::time::timeout(LONG, running).await.unwrap().unwrap().unwrap();
    assert_eq!(worker_ended.load(SeqCst), 1);
}

#[tokio::test]
async fn shutdown_reaches_those_who_come_late() {
    let stop = Shutdown::new();
    assert_eq!(stop.or(async { 1 }).await, Some(1));
    stop.trigger();
    assert!(stop.is_triggered());
    stop.wait().await;
    assert_eq!(stop.clone().or(std::future::pending::<()>()).await, None);
}
