//! Lists as files: how long all servers take as CSV and as a book, and what memory that needs, with readers who take it and readers who do not.

use crate::{
    Plan, fill,
    live::{login, raw},
    table::Table,
};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const COLUMNS: &str = "id,name,status,vcpu_count,vmem_size,host,tenant,ips,os_type,created_at";
/// For readers who stop after the first bytes: lines so long that a file does not end up whole in the kernel's buffers.
const LONG: &str = "id,name,metadata,disks_info,nics,secgroups,disks,description,status,host,zone,region,brand,project_domain";
const SLOW: usize = 10;
const PAUSE: Duration = Duration::from_secs(15);

pub async fn measure(plan: &Plan, table: &mut Table) -> Result<()> {
    let mut platform = fill::filled(plan).await?;
    table.section(&format!("{} servers as a file, ten columns", plan.servers));
    let cookie = login(&platform).await?;
    let ask = |form: &str, columns: &str| {
        format!(
            "GET /api/v1/servers?scope=system&export={form}&export_keys={columns} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        )
    };
    for (form, goal) in [("csv", 64.0), ("xlsx", 64.0)] {
        let (_, before) = platform.rss_mib()?;
        let (began, cpu, mut peak) = (Instant::now(), platform.cpu()?, before);
        let mut stream = TcpStream::connect(platform.address).await?;
        stream.write_all(ask(form, COLUMNS).as_bytes()).await?;
        let (mut size, mut first, mut piece, mut lines) = (0usize, None, vec![0; 64 << 10], 0usize);
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                n = stream.read(&mut piece) => {
                    let n = n?;
                    if n == 0 { break }
                    first.get_or_insert_with(|| began.elapsed());
                    size += n;
                    lines += piece[..n].iter().filter(|b| **b == b'\n').count();
                }
                _ = clock.tick() => peak = peak.max(platform.rss_mib()?.1),
            }
        }
        ensure!(form != "csv" || lines > plan.servers, "{lines} lines are not {} servers", plan.servers);
        let told = format!(
            "{:.1} MiB more at most; {:.1} s, {:.1} s of processor, first byte after {:.2} s, {:.1} MiB",
            peak - before,
            began.elapsed().as_secs_f64(),
            platform.cpu()? - cpu,
            first.unwrap_or_default().as_secs_f64(),
            size as f64 / (1 << 20) as f64
        );
        table.row(form, &told, &format!("≤ {goal} MiB"), goal / (peak - before).max(0.1), "");
    }
    let (_, before) = platform.rss_mib()?;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(raw(platform.address, &ask("csv", LONG)).await?);
    }
    let cpu = platform.cpu()?;
    tokio::time::sleep(PAUSE).await;
    let (more, busy) = (platform.rss_mib()?.1 - before, platform.cpu()? - cpu);
    let told = format!("{more:.1} MiB more, {:.2} each; {busy:.2} s of processor in {} s", more / SLOW as f64, PAUSE.as_secs());
    table.row(&format!("csv, {SLOW} readers who stopped"), &told, "≤ 100 MiB", 100.0 / more.max(0.1), "");
    drop(slow);
    platform.stop().await
}
