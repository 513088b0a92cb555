//! The agent as a process: real effects put together, until told to stop.

use crate::{
    Agent, Parts, Talk,
    disk::LocalDisks,
    probe,
    qemu::{self, Qemu},
    records::FileRecords,
    region_http::RegionHttp,
};
use base::{Clock, Result, err};
use host_net::OvsNetwork;
use std::{path::PathBuf, sync::Arc};

/// What an operator decides about a host.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of the agent's records, guests and first storage; made when missing.
    pub data_dir: PathBuf,
    /// URL of the compute service.
    pub region_url: String,
    /// One-time token for the first start; empty afterwards.
    pub token: String,
    /// Integration bridge, at most 15 bytes.
    pub bridge: String,
    /// Zone to join; empty: the only one.
    pub zone: String,
    /// Address the machine is reached at; empty: found.
    pub access_ip: String,
    /// `kvm`, `tcg` or `auto`.
    pub accel: String,
    pub version: String,
    /// PEM of the CA to believe besides the machine's; empty: none.
    pub ca: String,
}

/// Runs the agent until `stop` is ready. Guests run on afterwards.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(err!(Forbidden, "the host agent needs root: it makes network devices and starts machines; run it with sudo"));
    }
    let accelerator = qemu::Choice::parse(&config.accel)?;
    let unusable = |e: std::io::Error| err!(InputParameter, "the data directory {} cannot be used: {}", config.data_dir.display(), e);
    std::fs::create_dir_all(config.data_dir.join("storage")).map_err(unusable)?;
    // Guests are found again by it, wherever a later agent is started from.
    let data = config.data_dir.canonicalize().map_err(unusable)?;
    let storage = data.join("storage");
    let network = host_net::Config { bridge: config.bridge.clone(), ..host_net::Config::new(data.join("net")) };
    let machine_room = probe::Host::new(
        vec![storage.clone()],
        config.bridge.clone(),
        config.zone.clone(),
        config.access_ip.clone(),
        config.version.clone(),
    );
    let settings = qemu::Settings {
        program: "qemu-system-x86_64".into(),
        data: data.clone(),
        accelerator,
        sandbox: true,
        host_memory_mb: machine_room.memory_mb(),
    };
    let region = Arc::new(RegionHttp::new(&config.region_url, &config.ca)?);
    let parts = Parts {
        hypervisor: Arc::new(Qemu::new(settings)),
        disks: Arc::new(LocalDisks::new(vec![storage], "qemu-img".into(), region.clone())),
        network: Arc::new(OvsNetwork::start(network)?),
        records: Arc::new(FileRecords::new(data)),
        region,
        machine_room: Arc::new(machine_room),
        clock: Clock::real(),
    };
    let agent = Agent::start(parts, Talk { enroll_token: config.token, ..Talk::default() }).await?;
    stop.await;
    agent.stop().await;
    Ok(())
}
