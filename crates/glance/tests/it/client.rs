//! A client that can misbehave: every byte and every pause of it is the test's.

use base::Json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Nothing in these tests takes this long on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| String::from_utf8_lossy(v).into_owned())
    }
    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
    /// The object under `image`.
    #[track_caller]
    pub fn image(&self) -> Json {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()["image"].clone()
    }
    pub fn class(&self) -> String {
        self.json()["class"].as_str().unwrap_or("").to_string()
    }
}

/// A request being put together.
pub struct Call {
    addr: SocketAddr,
    head: Vec<u8>,
    body: Vec<u8>,
    chunked: bool,
}

impl Call {
    pub fn new(addr: SocketAddr, method: &str, path: &str, token: &str) -> Call {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: image\r\nConnection: close\r\nX-Auth-Token: {token}\r\n");
        Call { addr, head: head.into_bytes(), body: Vec::new(), chunked: false }
    }
    pub fn header(mut self, name: &str, value: &str) -> Call {
        self.head.extend(format!("{name}: {value}\r\n").bytes());
        self
    }
    /// Bytes as an image.
    pub fn image(self, body: &[u8]) -> Call {
        let mut call = self.header("Content-Type", "application/octet-stream");
        call.body = body.to_vec();
        call
    }
    pub fn json(self, body: &Json) -> Call {
        let mut call = self.header("Content-Type", "application/json");
        call.body = body.to_string().into_bytes();
        call
    }
    pub fn chunked(mut self) -> Call {
        self.chunked = true;
        self
    }

    /// Sends all and reads the answer.
    pub async fn send(self) -> Answer {
        let length = if self.chunked { None } else { Some(self.body.len() as u64) };
        let (body, chunked) = (self.body.clone(), self.chunked);
        let mut open = self.open(length).await;
        if chunked {
            for piece in body.chunks(100_000) {
                open.chunk(piece).await;
            }
            open.write(b"0\r\n\r\n").await;
        } else {
            open.write(&body).await;
        }
        open.answer().await
    }

    /// Sends only the head; the body is the test's business.
    pub async fn open(mut self, length: Option<u64>) -> Open {
        let framing = length.map_or("Transfer-Encoding: chunked\r\n\r\n".to_string(), |n| format!("Content-Length: {n}\r\n\r\n"));
        self.head.extend(framing.bytes());
        let mut stream = TcpStream::connect(self.addr).await.expect("the service listens");
        stream.write_all(&self.head).await.expect("the head is taken");
        Open { stream: BufReader::new(stream), is_head: self.head.starts_with(b"HEAD ") }
    }
}

/// A request whose body is still being sent.
pub struct Open {
    pub stream: BufReader<TcpStream>,
    is_head: bool,
}

impl Open {
    /// A server that has heard enough may have closed: what it said is read from the answer.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }
    pub async fn chunk(&mut self, bytes: &[u8]) {
        self.write(format!("{:x}\r\n", bytes.len()).as_bytes()).await;
        self.write(bytes).await;
        self.write(b"\r\n").await;
    }

    /// Breaks the connection with a reset.
    pub fn reset(self) {
        let stream = self.stream.into_inner();
        stream.set_zero_linger().expect("a socket option");
        drop(stream);
    }

    pub async fn answer(mut self) -> Answer {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("an answer in time")
    }

    async fn read(&mut self) -> Answer {
        let (status, headers) = self.head().await;
        let mut body = Vec::new();
        if !self.is_head && status != 304 {
            self.stream.read_to_end(&mut body).await.expect("a whole body");
        }
        Answer { status, headers, body }
    }

    /// The head of the answer; its body is still on the way.
    pub async fn head(&mut self) -> (u16, Vec<(String, Vec<u8>)>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.expect("a whole head"));
        }
        let mut lines = head.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        let first = String::from_utf8_lossy(lines.next().unwrap_or(b"")).into_owned();
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("{first}"));
        let header = |line: &[u8]| {
            let at = line.iter().position(|b| *b == b':')?;
            Some((String::from_utf8_lossy(&line[..at]).into_owned(), line[at + 1..].trim_ascii().to_vec()))
        };
        (status, lines.filter_map(header).collect())
    }
}

/// Waits until something holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < until, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
