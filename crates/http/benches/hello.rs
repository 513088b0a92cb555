//! What the layers cost: the same small answer from bare hyper and from a routed service, asked over kept connections by clients in the same
//! process. `cargo bench -p http@0.0.0 --bench hello`.
//!
//! The processor time per request (clients included) is the figure to compare: it does not change on a busy machine.

use bytes::Bytes;
use http::{App, Limits, Request, Response, Router, Server};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::time::{ClockId, clock_gettime};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const CONNECTIONS: usize = 32;
const SECONDS: u64 = 5;
const REQUEST: &[u8] =
    b"GET /servers/5c2b?details=true&limit=20 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nX-Auth-Token: t\r\n\r\n";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let bare = bare().await;
    let mut server = Server::new(App::new(telemetry::Metrics::default()).mount("/", "bench", router()).limits(Limits::default()));
    let ours = server.bind("127.0.0.1:0", None).await.expect("a free port");
    let serving = server.start();
    for round in 1..=2 {
        for (name, addr) in [("bare hyper", bare), ("all layers", ours)] {
            let (rate, cpu) = load(addr).await;
            println!("round {round}: {name}: {rate:.0} requests/s, {cpu:.1} µs of processor each");
        }
    }
    serving.stop().await;
}

fn router() -> Router {
    Router::new()
        .get(
            "/servers/{id}",
            |r: Request| async move { Ok(Response::json_bytes(format!("{{\"server\":{{\"id\":\"{}\"}}}}", r.param("id")))) },
        )
        .get("/servers", |_| async { Ok(Response::text("")) })
}

async fn bare() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer =
                |_| async { Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(b"{\"server\":{\"id\":\"5c2b\"}}")))) };
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    addr
}

fn cpu() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// Requests per second over all connections, and microseconds of processor time for each.
async fn load(addr: SocketAddr) -> (f64, f64) {
    let (done, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (started, used) = (Instant::now(), cpu());
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (done, count) = (done.clone(), count.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(addr).await.expect("the server listens");
                let mut buf = vec![0u8; 4096];
                while !done.load(Relaxed) {
                    stream.write_all(REQUEST).await.expect("the server reads");
                    let mut n = 0;
                    // Both answers end with the same two braces.
                    while !buf[..n].ends_with(b"}}") {
                        n += stream.read(&mut buf[n..]).await.expect("the server answers");
                    }
                    count.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    done.store(true, Relaxed);
    for client in clients {
        client.await.expect("a client ends by itself");
    }
    let n = count.load(Relaxed) as f64;
    (n / started.elapsed().as_secs_f64(), (cpu() - used) * 1e6 / n)
}
