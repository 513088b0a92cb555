//! The agent as a process: real effects put together, until told to stop.

use crate::{Agent, Parts, Talk, disk::LocalDisks, probe, qemu::Qemu, records::FileRecords, region_http::RegionHttp};
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
}

/// Runs the agent until `stop` is ready. Guests run on afterwards.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(err!(Forbidden, "the host agent needs root: it makes network devices and starts machines; run it with sudo"));
    }
    let storage = config.data_dir.join("storage");
    std::fs::create_dir_all(&storage)
        .map_err(|e| err!(InputParameter, "the storage directory {} cannot be made: {}", storage.display(), e))?;
    let network = host_net::Config { bridge: config.bridge.clone(), ..host_net::Config::new(config.data_dir.join("net")) };
    let region = Arc::new(RegionHttp::new(&config.region_url)?);
    let parts = Parts {
        hypervisor: Arc::new(Qemu::new(config.data_dir.clone(), &config.accel)?),
        disks: Arc::new(LocalDisks::new(vec![storage.clone()], "qemu-img".into(), region.clone())),
        network: Arc::new(OvsNetwork::start(network)?),
        records: Arc::new(FileRecords::new(config.data_dir.clone())),
        region,
        machine_room: Arc::new(probe::Host::new(vec![storage], config.bridge, config.zone, config.access_ip, config.version)),
        clock: Clock::real(),
    };
    let agent = Agent::start(parts, Talk { enroll_token: config.token, ..Talk::default() }).await?;
    stop.await;
    agent.stop().await;
    Ok(())
}
