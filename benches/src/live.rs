//! Pages that follow changes: what many open streams cost while nothing happens, how soon a change is on all of them, and what is left when they
//! are gone.

use crate::{load::field, platform::Platform, table::Table};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const STREAMS: usize = 500;
/// Long enough that every stream gives its sign of life.
const IDLE: Duration = Duration::from_secs(30);
const CHANGES: usize = 20;
/// By then what the log-in took for its password is given back by the service and by its allocator.
const SETTLED: Duration = Duration::from_secs(25);

pub async fn measure(platform: &mut Platform, table: &mut Table) -> Result<()> {
    table.section(&format!("{STREAMS} pages that follow changes"));
    platform.start().await?;
    let token = platform.token().await?;
    let cookie = login(platform).await?;
    // As after some use: connections between the services, the catalogue, plans of the database.
    drop(open(platform.address, &cookie).await?);
    change(platform, &token, 0).await?;
    tokio::time::sleep(SETTLED).await;

    let (_, before) = platform.rss_mib()?;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(open(platform.address, &cookie).await?);
    }
    let cpu = platform.cpu()?;
    tokio::time::sleep(IDLE).await;
    let busy = (platform.cpu()? - cpu) / IDLE.as_secs_f64() * 100.0;
    let (_, with) = platform.rss_mib()?;
    table.row(
        "memory, idle",
        &format!("{:.1} MiB, {:.0} KiB each", with - before, (with - before) * 1024.0 / STREAMS as f64),
        "≤ 100 MiB",
        100.0 / (with - before).max(0.1),
        "",
    );
    table.row("processor, idle", &format!("{busy:.2} % of a core"), "≤ 5 %", 5.0 / busy.max(0.01), "");

    let mut each = Vec::new();
    let cpu = platform.cpu()?;
    for n in 1..=CHANGES {
        let sent = Instant::now();
        change(platform, &token, n).await?;
        for stream in &mut streams {
            hear(stream).await?;
        }
        each.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    let busy = (platform.cpu()? - cpu) / CHANGES as f64 * 1e3;
    each.sort_by(f64::total_cmp);
    let (middle, worst) = (each[each.len() / 2], each[each.len() - 1]);
    let told = format!("median {middle:.0} ms, worst {worst:.0} ms, processor {busy:.0} ms");
    table.row("from a change to the last of them", &told, "≤ 1000 ms", 1000.0 / worst, "");

    // They go without a word; others come; and again.
    let mut left = Vec::new();
    for _ in 0..5 {
        streams.clear();
        tokio::time::sleep(Duration::from_secs(3)).await;
        left.push(platform.rss_mib()?.1 - before);
        for _ in 0..STREAMS {
            streams.push(open(platform.address, &cookie).await?);
        }
    }
    let left: Vec<String> = left.iter().map(|mib| format!("{mib:.1}")).collect();
    table.row("memory that is left each time all of them went", &format!("{} MiB", left.join(", ")), "", 0.0, "");
    platform.stop().await
}

/// One request whose answer's head is all that matters.
pub async fn raw(address: SocketAddr, request: &str) -> Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut text: Vec<u8> = Vec::new();
    let mut piece = [0; 4096];
    while !text.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = stream.read(&mut piece).await?;
        ensure!(n > 0, "the connection ended");
        text.extend(&piece[..n]);
    }
    Ok((stream, String::from_utf8_lossy(&text).into_owned()))
}

pub async fn login(platform: &Platform) -> Result<String> {
    let body = json!({"username": "admin", "password": platform.password()?, "domain": "Default"}).to_string();
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let (_, answer) = raw(platform.address, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await?;
    let mut lines = answer.lines().filter_map(|l| l.split_once(": "));
    let cookie = lines.find(|(name, value)| name.eq_ignore_ascii_case("set-cookie") && value.starts_with("wolke_session="));
    let cookie = cookie.with_context(|| format!("no session: {answer}"))?.1;
    Ok(cookie.split(';').next().unwrap_or_default().to_string())
}

async fn open(address: SocketAddr, cookie: &str) -> Result<TcpStream> {
    let path = "/api/v1/live?resources=servers,disks,networks,images,tasks,zones";
    let (stream, answer) = raw(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n")).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(stream)
}

async fn change(platform: &Platform, token: &str, n: usize) -> Result<()> {
    let body = json!({"zone": {"description": format!("change {n}")}});
    let (head, status, body) = platform.send(token, "PUT", "/compute/zones/zone0", Some(&body)).await?;
    ensure!(status == 200, "{status} {body} {:?}", field(&head, b"x-request-id"));
    Ok(())
}

/// Waits until the stream has told of a zone.
async fn hear(stream: &mut TcpStream) -> Result<()> {
    let mut text: Vec<u8> = Vec::new();
    let mut piece = [0; 4096];
    while !text.windows(8).any(|w| w == b"\"zones\",") {
        let n = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut piece)).await??;
        ensure!(n > 0, "the stream ended");
        text.extend(&piece[..n]);
    }
    Ok(())
}
