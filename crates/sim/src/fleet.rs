//! The agents of all simulated hosts, in one process.

use crate::{Administrator, deaths::Deaths};
use anyhow::{Context, Result};
use base::Clock;
use futures_util::{StreamExt, TryStreamExt, stream};
use host::sim::World;
use host::{Agent, RegionHttp, Talk};
use http::Client;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug, clap::Parser)]
#[command(name = "wolke-sim", about = "Simulated hosts for a platform that runs.")]
pub struct Settings {
    /// URL of the compute service, as http://127.0.0.1:7780/compute.
    #[arg(long)]
    pub region: String,
    /// Login of an administrator, as `wolke up` leaves it in its data directory: hosts that are new are enrolled with it.
    #[arg(long)]
    pub admin: PathBuf,
    /// Directory of the machines: what lies on them outlives this process.
    #[arg(long)]
    pub state: PathBuf,
    /// How many hosts.
    #[arg(long, default_value_t = 1)]
    pub count: usize,
    /// Begins the hosts' names.
    #[arg(long, default_value = "sim")]
    pub prefix: String,
}

/// Runs hosts until a signal. Says on standard output when all have started.
pub async fn run(settings: Settings) -> Result<()> {
    telemetry::init(&telemetry::Logging::default()).map_err(anyhow::Error::msg)?;
    let fleet = Fleet::start(settings).await?;
    println!("started {} hosts", fleet.len());
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).context("no signals")?;
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    fleet.stop().await;
    Ok(())
}

/// Hosts that start at the same time: the region's database takes one enrolment after the other anyway.
const AT_ONCE: usize = 16;

/// All simulated hosts of a process. Dropping it is a crash of every agent; their guests stay.
pub struct Fleet {
    agents: Vec<Agent>,
    _deaths: Deaths,
}

/// Where the machines lie.
pub(crate) fn machines(state: &Path) -> PathBuf {
    state.join("hosts")
}

impl Fleet {
    /// Starts every host; those without a credential are enrolled. Returns when all agents run, registered or not.
    pub async fn start(settings: Settings) -> Result<Fleet> {
        let client = Client::new(RegionHttp::options(""))?;
        let admin = Administrator::new(client.clone(), &settings.region, settings.admin.clone());
        let deaths = Deaths::new()?;
        let (settings, admin, watch) = (&settings, &admin, &deaths);
        let hosts = stream::iter(0..settings.count).map(|n| {
            let client = client.clone();
            async move {
                let name = format!("{}-{n}", settings.prefix);
                let dir = machines(&settings.state).join(&name);
                let world = World::at(&dir, World::facts(&name))?;
                watch.of(&dir.join("machines"), world.clone())?;
                let token = if dir.join("agent/credential").exists() { String::new() } else { admin.token().await? };
                let region = Arc::new(RegionHttp::over(client, &settings.region));
                let talk = Talk { enroll_token: token, ..Talk::default() };
                Agent::start(world.parts(region, Clock::real()), talk).await.with_context(|| format!("host {name}"))
            }
        });
        let agents = hosts.buffered(AT_ONCE).try_collect().await?;
        Ok(Fleet { agents, _deaths: deaths })
    }

    pub fn len(&self) -> usize {
        self.agents.len()
    }

    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// Ends the agents in order; the guests stay.
    pub async fn stop(self) {
        for agent in self.agents {
            agent.stop().await;
        }
    }
}
