//! Making servers: agents of simulated hosts over the real contract, and requests until each server runs.

use crate::{Plan, fill::Filled, load::Run, platform::Platform, table::Table};
use anyhow::{Context, Result, bail};
use api_agent::BridgeFacts;
use base::Clock;
use host::{Agent, RegionHttp, Talk, sim::World};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Simulated hosts with agents.
const HOSTS: usize = 50;
/// Servers made.
const SERVERS: usize = 600;
const PATIENCE: Duration = Duration::from_secs(180);

pub async fn measure(platform: &Platform, _: &Plan, token: &str, filled: &Filled, table: &mut Table) -> Result<()> {
    let region = format!("http://{}/compute", platform.address);
    let mut agents = Vec::new();
    for n in 0..HOSTS {
        let (_, status, body) =
            platform.send(token, "POST", "/compute/host_tokens", Some(&json!({"host_token": {"seconds": 3600}}))).await?;
        let one_time = body["host_token"]["token"].as_str().with_context(|| format!("no token for a host: {status} {body}"))?;
        let mut facts = World::facts(&format!("sim-{n:03}"));
        facts.access_ip = format!("172.20.0.{n}");
        facts.bridges = vec![BridgeFacts { bridge: "wolke0".into(), mtu: 1500, ..BridgeFacts::default() }];
        let world = World::new(facts);
        let talk = Talk { enroll_token: one_time.into(), ..Talk::default() };
        agents.push(Agent::start(world.parts(Arc::new(RegionHttp::new(&region, "")?), Clock::real()), talk).await?);
    }
    until(platform, token, "/compute/hosts?scope=system&limit=1&details=false&host_status=online&filter=name.startswith(sim-)", HOSTS)
        .await?;

    for at_once in [1, 32] {
        let count = if at_once == 1 { 30 } else { SERVERS };
        let (cpu, database, began) = (platform.cpu()?, platform.database_cpu()?, Instant::now());
        let each = create(platform, token, filled, at_once, count).await?;
        let mut run = Run::of(each, began.elapsed());
        run.cpu = (platform.cpu()? - cpu) / count as f64;
        run.database = (platform.database_cpu()? - database) / count as f64;
        // The peer: 8 in parallel on a thousand hosts with ten thousand servers, 0.65 a second.
        table.load("create a server until it runs", at_once, &run, 50.0, if at_once > 1 { 0.65 } else { 0.4 });
    }
    for agent in agents {
        agent.stop().await;
    }
    Ok(())
}

/// Makes servers, so many at a time, each waited for until it runs; how long each took.
async fn create(platform: &Platform, token: &str, filled: &Filled, at_once: usize, count: usize) -> Result<Vec<Duration>> {
    let one = |n: usize| async move {
        let began = Instant::now();
        let body = json!({"server": {"name": format!("made-{at_once}-{n}"), "vcpu_count": 1, "vmem_size": 512, "auto_start": true,
            "disks": [{"size": 1024}], "nets": [{"network": filled.network}]}});
        let (_, status, body) = platform.send(token, "POST", "/compute/servers", Some(&body)).await?;
        let id = body["server"]["id"].as_str().with_context(|| format!("no server: {status} {body}"))?.to_string();
        let path = format!("/compute/servers/{id}?details=false&field=status&field=status_reason");
        while began.elapsed() < PATIENCE {
            let (_, _, body) = platform.send(token, "GET", &path, None).await?;
            match body["server"]["status"].as_str().unwrap_or_default() {
                "running" => return Ok(began.elapsed()),
                bad if bad.ends_with("_fail") => bail!("server {id}: {body}"),
                // Asking is load as well: all together ask some three hundred times a second.
                _ => tokio::time::sleep(Duration::from_millis(3) * at_once as u32).await,
            }
        }
        bail!("server {id} does not run")
    };
    let workers = (0..at_once).map(|w| async move {
        let mut each = Vec::new();
        for n in (w..count).step_by(at_once) {
            each.push(one(n).await?);
        }
        anyhow::Ok(each)
    });
    Ok(futures_util::future::try_join_all(workers).await?.concat())
}

async fn until(platform: &Platform, token: &str, path: &str, count: usize) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let (_, status, body) = platform.send(token, "GET", path, None).await?;
        if status == 200 && body["total"] == count {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (_, status, body) = platform.send(token, "GET", path, None).await?;
    bail!("{path}: {status} {body}")
}
