//! The whole platform under load: one table of figures against the requirement and against the platform whose clients it serves.
//!
//! Starts the `wolke` program that lies beside this one, fills its database with servers, and drives it over HTTP from the same machine. Every figure
//! stands beside its goal and, where there is one, beside the peer's figure for the same request, as a ratio. Nothing is asserted: a benchmark is no test.

mod console;
mod export;
mod fill;
mod floor;
mod live;
mod load;
mod make;
mod memory;
mod platform;
mod table;

use anyhow::{Context, Result, bail};
use platform::{Database, Platform};
use std::{path::PathBuf, time::Duration};
use table::Table;

/// What is measured in memory has the allocator it has in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "\
Measures the platform and prints one table of figures. Build first: cargo build --profile bench -p wolke

Usage: benches [OPTIONS]

  --servers N    servers in the database [default: 100000]
  --hosts N      hosts they lie on [default: 1000]
  --seconds N    time of each load [default: 5]
  --only PARTS   some of sqlite,postgres,memory,console,export,live; left out: all
  --wolke FILE   the program [default: the one beside this one]
  --help         this text";
const PARTS: [&str; 6] = ["sqlite", "postgres", "memory", "console", "export", "live"];

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    pub servers: usize,
    pub hosts: usize,
    /// Of each load.
    pub time: Duration,
    pub only: Vec<String>,
    /// The program.
    pub wolke: PathBuf,
}

impl Plan {
    /// `None`: only the usage is wanted.
    fn read(mut words: impl Iterator<Item = String>) -> Result<Option<Plan>> {
        let here = std::env::current_exe()?;
        let mut plan = Plan {
            servers: 100_000,
            hosts: 1000,
            time: Duration::from_secs(5),
            only: Vec::new(),
            wolke: here.parent().context("no directory")?.join("wolke"),
        };
        while let Some(word) = words.next() {
            // `cargo bench` adds it.
            if word == "--bench" {
                continue;
            }
            if matches!(word.as_str(), "--help" | "-h") {
                return Ok(None);
            }
            let word = word.as_str();
            if !["--servers", "--hosts", "--seconds", "--only", "--wolke"].contains(&word) {
                bail!("{word} is unknown; see benches --help");
            }
            let value = words.next().with_context(|| format!("{word} wants a value; see benches --help"))?;
            let number = || value.parse::<usize>().ok().filter(|n| *n > 0).with_context(|| format!("{word} {value}: not a number above 0"));
            match word {
                "--servers" => plan.servers = number()?,
                "--hosts" => plan.hosts = number()?,
                "--seconds" => plan.time = Duration::from_secs(number()? as u64),
                "--only" => plan.only = value.split(',').map(str::to_string).collect(),
                _ => plan.wolke = value.into(),
            }
        }
        if let Some(other) = plan.only.iter().find(|o| !PARTS.contains(&o.as_str())) {
            bail!("--only {other}: not one of {}", PARTS.join(", "));
        }
        if !plan.wolke.exists() {
            bail!("{} is missing; build it with: cargo build --profile bench -p wolke", plan.wolke.display());
        }
        Ok(Some(plan))
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| o == part)
    }
}

fn main() -> Result<()> {
    let plan = match Plan::read(std::env::args().skip(1)) {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            println!("{USAGE}");
            return Ok(());
        }
        // A mistake of whoever typed it: a line, not where in the program it was noticed.
        Err(e) => {
            eprintln!("benches: {e}");
            std::process::exit(2);
        }
    };
    let mut table = Table::default();
    if plan.wants("memory") {
        memory::measure(&mut table)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for database in [Database::Sqlite, Database::Postgres] {
        if plan.wants(database.name()) {
            runtime.block_on(over_http(&plan, database, &mut table))?;
        }
    }
    if plan.wants("console") {
        runtime.block_on(console::measure(&plan, &mut table))?;
    }
    if plan.wants("export") {
        runtime.block_on(export::measure(&plan, &mut table))?;
    }
    if plan.wants("live") {
        runtime.block_on(async { live::measure(&mut Platform::new(&plan, Database::Sqlite).await?, &mut table).await })?;
    }
    println!("\n{table}");
    Ok(())
}

async fn over_http(plan: &Plan, database: Database, table: &mut Table) -> Result<()> {
    let mut platform = Platform::new(plan, database).await?;
    let title = database.name();
    table.section(&format!("{title}, {} servers on {} hosts", plan.servers, plan.hosts));

    // Empty: what starting costs and what lying idle takes. The first start makes the tables, so the second is the one.
    platform.start().await?;
    platform.stop().await?;
    let ready = platform.start().await?;
    table.row("start to ready", &format!("{:.0} ms", ready.as_secs_f64() * 1e3), "≤ 1000 ms", 1.0 / ready.as_secs_f64(), "");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (rss, own) = platform.rss_mib()?;
    table.row("resident memory, idle", &format!("{rss:.0} MiB, {own:.0} its own"), "≤ 100 MiB", 100.0 / rss, "");
    platform.stop().await?;

    let filled = fill::fill(&platform, plan).await?;
    let ready = platform.start().await?;
    table.row("start to ready, filled", &format!("{:.0} ms", ready.as_secs_f64() * 1e3), "≤ 1000 ms", 1.0 / ready.as_secs_f64(), "");
    let token = platform.token().await?;

    let list = "/compute/servers?limit=20&scope=system";
    let later = format!("{list}&offset={}", plan.servers * 9 / 10);
    let found = format!("{list}&filter=name.contains(web-12)&filter=status.equals(running)");
    let one = filled.servers[0].clone();
    platform.get(&token, list, |body| body["servers"].as_array().is_some_and(|s| s.len() == 20) && body["total"] == plan.servers).await?;
    platform.get(&token, &format!("/compute/servers/{one}"), |body| body["server"]["id"] == one.as_str()).await?;

    // Goals and the peer's figures (req/s with as many connections and as many rows).
    let pages: [(&str, String, f64, f64); 5] = [
        ("list 20 with details", list.to_string(), 1000.0, 2.7),
        ("list 20 without details", format!("{list}&details=false"), 0.0, 2.1),
        ("list 20, offset nine tenths", later, 0.0, 1.5),
        ("list 20, two filters", found, 0.0, 2.2),
        ("list 20 of one project", "/compute/servers?limit=20".to_string(), 0.0, 0.0),
    ];
    for (name, path, goal, peer) in pages {
        for connections in [1, 8] {
            let run = platform.load(connections, plan.time, &token, vec![path.clone()]).await?;
            table.load(name, connections, &run, goal, if connections == 8 { peer } else { 0.0 });
        }
    }
    let shows: Vec<String> = filled.servers.iter().map(|id| format!("/compute/servers/{id}")).collect();
    for connections in [1, 8, 64] {
        let run = platform.load(connections, plan.time, &token, shows.clone()).await?;
        table.load(
            "show a server",
            connections,
            &run,
            5000.0,
            [0.0, 33.9, 58.2][usize::from(connections > 1) + usize::from(connections == 8)],
        );
    }
    if matches!(database, Database::Postgres) {
        floor::measure(&platform, plan, &filled.servers, table).await?;
    }
    make::measure(&platform, plan, &token, &filled, table).await?;
    let (rss, own) = platform.rss_mib()?;
    let files = rss - own;
    table.row("resident memory, after all loads", &format!("{rss:.0} MiB: {own:.0} its own, {files:.0} pages of files"), "", 0.0, "");
    platform.stop().await
}
