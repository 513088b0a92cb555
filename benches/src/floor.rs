//! What one question costs on the same server, by the same driver and over the same socket: what no request can do without.

use crate::{Plan, load::Run, platform::Platform, table::Table};
use anyhow::{Context, Result};
use api_compute::Server;
use base::{Resource, Value};
use std::time::{Duration, Instant};
use store::{Cond, Db, Read, Select};

/// Reads rows by identifier for a while, one column or all of them, without the platform.
pub async fn measure(platform: &Platform, plan: &Plan, servers: &[String], table: &mut Table) -> Result<()> {
    let db = Db::open(&platform.compute_url()).await?;
    let whole: Vec<&'static str> = Server::facts().fields.iter().map(|field| field.name).collect();
    for (name, columns) in [("one column of a row, no platform", &["id"][..]), ("a whole row, no platform", &whole)] {
        for at_once in [1, 8] {
            ask(&db, columns, servers, at_once, Duration::from_millis(300)).await?;
            let (cpu, database, began) = (own_cpu()?, platform.database_cpu()?, Instant::now());
            let each = ask(&db, columns, servers, at_once, plan.time).await?;
            let mut run = Run::of(each, began.elapsed());
            run.cpu = (own_cpu()? - cpu) / run.requests.max(1) as f64;
            run.database = (platform.database_cpu()? - database) / run.requests.max(1) as f64;
            table.load(name, at_once, &run, 0.0, 0.0);
        }
    }
    Ok(())
}

async fn ask(db: &Db, columns: &[&'static str], servers: &[String], at_once: usize, time: Duration) -> Result<Vec<Duration>> {
    let began = Instant::now();
    let one = |n: usize| async move {
        let (mut each, mut at, mut db) = (Vec::new(), n * 7919, db);
        while began.elapsed() < time {
            let id = servers.get(at % servers.len()).context("no servers")?.as_str();
            let asked = Instant::now();
            let rows = db.rows(&Select::of(Server::facts(), columns).filter(Cond::eq("id", id))).await?;
            each.push(asked.elapsed());
            anyhow::ensure!(rows.first().and_then(|row| row.first()) == Some(&Value::from(id)), "another row than {id}");
            at += 104_729;
        }
        anyhow::Ok(each)
    };
    Ok(futures_util::future::try_join_all((0..at_once).map(one)).await?.concat())
}

/// Processor seconds of this process.
fn own_cpu() -> Result<f64> {
    crate::platform::seconds(std::process::id())
}
