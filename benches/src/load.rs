//! Load over HTTP: a fixed number of connections, each sending its next request when the last one is answered.
//!
//! Written by hand and on one thread, because it runs on the same two cores as what it measures: it takes some 10 µs a request.

use anyhow::{Context, Result, bail};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What came of a load; times in seconds.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    /// Processor time of the platform for a request.
    pub cpu: f64,
    /// The same of the database, when that is a process of its own.
    pub database: f64,
    pub requests: usize,
}

impl Run {
    /// From the latency of every request and the time the whole took.
    pub fn of(mut each: Vec<Duration>, whole: Duration) -> Run {
        each.sort_unstable();
        let at = |part: f64| each.get(((each.len().max(1) - 1) as f64 * part) as usize).map_or(0.0, Duration::as_secs_f64);
        Run { rate: each.len() as f64 / whole.as_secs_f64(), p50: at(0.5), p99: at(0.99), requests: each.len(), ..Run::default() }
    }
}

/// Requests paths in turn, from different places of the list on each connection, until the time is over.
pub async fn drive(address: SocketAddr, connections: usize, time: Duration, token: &str, paths: Vec<String>) -> Result<Run> {
    let requests: std::rc::Rc<Vec<Vec<u8>>> = std::rc::Rc::new(
        paths.iter().map(|p| format!("GET {p} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\n\r\n").into_bytes()).collect(),
    );
    let local = tokio::task::LocalSet::new();
    let began = Instant::now();
    let mut tasks = Vec::new();
    for n in 0..connections {
        let requests = requests.clone();
        tasks.push(local.spawn_local(async move {
            let mut connection = Connection::open(address).await?;
            let (mut each, mut at) = (Vec::with_capacity(10_000), n * 7919);
            while began.elapsed() < time {
                let sent = Instant::now();
                let status = connection.ask(&requests[at % requests.len()]).await?;
                each.push(sent.elapsed());
                if status != 200 {
                    bail!("answer {status}");
                }
                at += 104_729;
            }
            anyhow::Ok(each)
        }));
    }
    local
        .run_until(async {
            let mut each = Vec::new();
            for task in tasks {
                each.extend(task.await??);
            }
            Ok(Run::of(each, began.elapsed()))
        })
        .await
}

/// A kept connection that speaks just enough HTTP/1.1 (RFC 9112): whole answers with a length.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where the body of the last answer lies.
    body: std::ops::Range<usize>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: vec![0; 256 << 10], body: 0..0 })
    }

    pub fn body(&self) -> &[u8] {
        &self.buffer[self.body.clone()]
    }

    /// Head of the last answer.
    pub fn head(&self) -> &[u8] {
        &self.buffer[..self.body.start]
    }

    /// Sends a request and reads the whole answer; gives its status.
    pub async fn ask(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        let (mut have, mut end) = (0, None);
        loop {
            if have == self.buffer.len() {
                self.buffer.resize(have * 2, 0);
            }
            let n = self.stream.read(&mut self.buffer[have..]).await?;
            if n == 0 {
                bail!("the connection was closed");
            }
            have += n;
            if end.is_none()
                && let Some(head) = find(&self.buffer[..have], b"\r\n\r\n")
            {
                let length = field(&self.buffer[..head], b"content-length").context("an answer without a length")?;
                let length: usize = std::str::from_utf8(length)?.trim().parse()?;
                self.body = head + 4..head + 4 + length;
                end = Some(self.body.end);
            }
            if end.is_some_and(|end| have >= end) {
                return Ok(std::str::from_utf8(&self.buffer[9..12])?.parse()?);
            }
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

/// The value of a header in a head.
pub fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let of = |line: &'a [u8]| {
        let colon = line.iter().position(|b| *b == b':')?;
        line[..colon].eq_ignore_ascii_case(name).then(|| line[colon + 1..].trim_ascii())
    };
    head.split(|b| *b == b'\n').find_map(of)
}
