//! A simulated host: the same agent, with effects in memory. Used for scale tests, for tests of the control plane, and for crash tests of
//! the agent itself: the [`World`] survives an agent as the real one does, and its effects can be made to fail or to kill the agent. One
//! made by [`World::at`] survives the process too: what it consists of is a file each.
//!
//! ```text
//! <dir>/disks/<id>  images/<id>  taps/<name>  machines/<guest>    the machine
//! <dir>/agent/                                                    the records of its agent
//! ```
//! Cheap by design: no threads, and no timers beyond those of the agent itself (some per agent, none per guest at rest).

mod disks;
mod faults;
mod machines;
mod records;
mod region;

pub use disks::SimDisks;
pub use faults::Faults;
pub use machines::{Boots, PowerButton, Script, SimHypervisor};
pub use records::SimRecords;
pub use region::MemoryRegion;

use crate::agent::Parts;
use crate::machine_room::MachineRoom;
use crate::records::{FileRecords, Records};
use crate::region::Region;
use crate::site::Boot;
use api_agent::{BridgeFacts, HostFacts, HostStats, StorageFacts};
use base::{Clock, Result};
use host_net::{BoxFuture, SimNetwork};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// One simulated machine with everything on it.
pub struct World {
    pub faults: Arc<Faults>,
    pub hypervisor: Arc<SimHypervisor>,
    pub disks: Arc<SimDisks>,
    pub network: Arc<SimNetwork>,
    pub records: Arc<SimRecords>,
    /// Records on disk, when the machine lies there.
    files: Option<FileRecords>,
    facts: HostFacts,
    boots: Mutex<i64>,
}

impl World {
    pub fn new(facts: HostFacts) -> Arc<World> {
        let faults = Arc::new(Faults::default());
        let disks = Arc::new(SimDisks::new(faults.clone()));
        Arc::new(World {
            hypervisor: Arc::new(SimHypervisor::new(faults.clone(), disks.clone())),
            disks,
            network: Arc::new(SimNetwork::default()),
            records: Arc::new(SimRecords::new(faults.clone())),
            faults,
            files: None,
            facts,
            boots: Mutex::new(1),
        })
    }

    /// A machine that lies in a directory and outlives this process, with its guests.
    pub fn at(dir: &Path, facts: HostFacts) -> Result<Arc<World>> {
        let faults = Arc::new(Faults::default());
        let disks = Arc::new(SimDisks::at(faults.clone(), dir)?);
        Ok(Arc::new(World {
            hypervisor: Arc::new(SimHypervisor::at(faults.clone(), disks.clone(), dir)?),
            disks,
            network: Arc::new(SimNetwork::at(dir.join("taps"))?),
            records: Arc::new(SimRecords::new(faults.clone())),
            faults,
            files: Some(FileRecords::new(dir.join("agent"))),
            facts,
            boots: Mutex::new(1),
        }))
    }

    /// Facts of an ordinary machine of this name.
    pub fn facts(hostname: &str) -> HostFacts {
        HostFacts {
            hostname: hostname.to_string(),
            access_ip: "192.0.2.1".into(),
            cpu_count: 32,
            node_count: 2,
            cpu_desc: "Simulated".into(),
            cpu_mhz: 2400,
            cpu_architecture: "x86_64".into(),
            mem_size: 131_072,
            os_distribution: "Debian".into(),
            os_version: "12".into(),
            kernel_version: "6.1.0".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            access_mac: "00:00:5e:00:53:01".into(),
            sys_info: [("manufacture", "Wolke"), ("model", "simulated"), ("sn", hostname)].map(|(k, v)| (k.into(), v.into())).into(),
            bridges: vec![BridgeFacts { bridge: "br0".into(), mac: "00:00:5e:00:53:01".into(), mtu: 1500, ..BridgeFacts::default() }],
            storages: vec![StorageFacts {
                path: "/sim".into(),
                storage_type: "local".into(),
                medium_type: "ssd".into(),
                capacity_mb: 4_194_304,
                used_mb: 0,
            }],
            ..HostFacts::default()
        }
    }

    /// What an agent of this machine works with.
    pub fn parts(self: &Arc<Self>, region: Arc<dyn Region>, clock: Clock) -> Parts {
        Parts {
            hypervisor: self.hypervisor.clone(),
            disks: self.disks.clone(),
            network: self.network.clone(),
            records: match &self.files {
                Some(files) => Arc::new(files.clone()) as Arc<dyn Records>,
                None => self.records.clone(),
            },
            region,
            machine_room: self.clone(),
            clock,
        }
    }

    /// The machine goes down and comes up again: no guest survives. The agent is started anew by the caller.
    pub fn reboot(&self) {
        *self.boots.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.hypervisor.all_end("the machine went down");
    }
}

impl MachineRoom for World {
    fn facts(&self) -> BoxFuture<'_, Result<HostFacts>> {
        Box::pin(async { Ok(self.facts.clone()) })
    }

    fn stats(&self) -> BoxFuture<'_, HostStats> {
        Box::pin(async {
            let memory_used_mb = self.hypervisor.memory_used_mb();
            HostStats { memory_used_mb, cpu_usage_percent: 0.0, storages: self.facts.storages.clone() }
        })
    }

    fn boot(&self) -> Boot {
        let boots = *self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        Boot { id: format!("boot-{boots}"), at: 0 }
    }
}
