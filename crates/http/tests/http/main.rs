//! Real servers on free ports or socket files, real clients, and raw sockets where a client would be too polite.

mod abuse;
mod calls;
mod serving;
mod tls;
mod upgrades;

use http::{App, Client, ClientOptions, Limits, Request, Response, Router, Server, Serving};
use std::{net::SocketAddr, time::Duration};
use telemetry::Metrics;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Far beyond what anything here takes, also on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// The usual limits, but nothing is slow: a busy machine must not make a test fail.
pub fn relaxed() -> Limits {
    Limits { slow: LONG, ..Limits::default() }
}

pub struct Bench {
    pub addr: SocketAddr,
    pub metrics: Metrics,
    pub serving: Serving,
}

impl Bench {
    pub async fn start(router: Router, limits: Limits) -> Bench {
        let metrics = Metrics::default();
        Bench::app(App::new(metrics.clone()).mount("/", "test", router).limits(limits), metrics).await
    }

    pub async fn app(app: App, metrics: Metrics) -> Bench {
        let mut server = Server::new(app);
        let addr = server.bind("127.0.0.1:0", None).await.unwrap();
        Bench { addr, metrics, serving: server.start() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Sends bytes on a fresh connection and reads until the server closes it.
    pub async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request).await;
        read_all(stream).await
    }
}

pub async fn read_all(mut stream: TcpStream) -> String {
    let mut out = Vec::new();
    let mut buf = [0u8; 4096];
    let reading = async {
        // A reset after the answer counts as its end.
        while let Ok(n @ 1..) = stream.read(&mut buf).await {
            out.extend_from_slice(&buf[..n]);
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("the server closes the connection");
    String::from_utf8_lossy(&out).into_owned()
}

pub fn client() -> Client {
    Client::new(ClientOptions { retries: 0, ..ClientOptions::default() }).unwrap()
}

/// Answers with what it was asked.
pub async fn echo(mut r: Request) -> http::Reply {
    let body = r.json().await?;
    Ok(Response::json(&serde_json::json!({
        "method": r.method.as_str(), "segments": r.segments(), "id": r.param("id"), "tail": r.tail(), "pattern": r.pattern(),
        "query": r.query.json(), "body": body, "peer": r.peer, "lang": format!("{:?}", r.lang), "id_header": &*r.request_id,
    })))
}

/// Waits for a condition.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let look = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, look).await.unwrap_or_else(|_| panic!("never: {what}"));
}
