//! What the agent needs of a hypervisor. The real one is [`crate::qemu`], the simulated one [`crate::sim`].

use crate::disk::Attachment;
use api_agent::{GuestDisk, GuestNic, GuestSpec};
use base::Result;
use host_net::{BoxFuture, Tap};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Launches guests and finds those an earlier life of the agent launched. Processes live on when this is dropped.
pub trait Hypervisor: Send + Sync {
    /// What this machine can run, found by running something; slow at the first call.
    fn abilities(&self) -> BoxFuture<'_, Result<Arc<Abilities>>>;

    /// All machines of this agent that run now, by guest id.
    fn find(&self) -> BoxFuture<'_, Result<HashMap<String, Arc<dyn Machine>>>>;

    /// Starts a guest and returns when its processors run. If its process exists already, that one is returned and none is made.
    fn launch(&self, plan: Plan) -> BoxFuture<'_, Result<Arc<dyn Machine>>>;

    /// Called now and then with the ids of running guests: keeps logs within bounds.
    fn upkeep<'a>(&'a self, _running: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// A running guest's process.
pub trait Machine: Send + Sync {
    /// Its life as it goes on; `Gone` is the last value.
    fn life(&self) -> watch::Receiver<Life>;

    fn facts(&self) -> MachineFacts;

    /// Presses the power button; the guest may ignore it.
    fn power_down(&self) -> BoxFuture<'_, Result<()>>;

    /// Presses the reset button.
    fn reset(&self) -> BoxFuture<'_, Result<()>>;

    /// Ends the process, politely for some seconds and then by force. Returns when it is gone.
    fn end(&self) -> BoxFuture<'_, Result<()>>;

    /// Names of the devices it has, as [`disk_device`] and [`nic_device`] give them, among others.
    fn plugged(&self) -> BoxFuture<'_, Result<Vec<String>>>;

    /// Plugging what is plugged, and unplugging what is not, is success.
    fn plug_disk<'a>(&'a self, disk: &'a PlanDisk) -> BoxFuture<'a, Result<()>>;

    /// Returns when the guest has let go of it.
    fn unplug_disk<'a>(&'a self, disk: &'a GuestDisk) -> BoxFuture<'a, Result<()>>;

    fn plug_nic<'a>(&'a self, nic: &'a PlanNic) -> BoxFuture<'a, Result<()>>;

    /// Returns when the guest has let go of it.
    fn unplug_nic<'a>(&'a self, nic: &'a GuestNic) -> BoxFuture<'a, Result<()>>;

    /// Makes a plugged disk larger, for the guest to see at once. `bytes` is its new size.
    fn grow_disk<'a>(&'a self, disk: &'a GuestDisk, bytes: u64) -> BoxFuture<'a, Result<()>>;

    /// Returns when the guest's own agent answers: one that is still booting is waited for, not for ever. May be dropped at any moment.
    fn agent_answers(&self) -> BoxFuture<'_, Result<()>>;

    /// Has the guest's own agent give an account of the guest another password. It is not waited for.
    fn set_password<'a>(&'a self, account: &'a str, password: &'a str) -> BoxFuture<'a, Result<()>>;
}

/// Name of a disk's device; its place in the guest follows from the index.
pub fn disk_device(index: i64) -> String {
    format!("disk{index}")
}

/// Name of a NIC's device.
pub fn nic_device(index: i64) -> String {
    format!("nic{index}")
}

/// How a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    Running,
    /// Its processors stand still.
    Paused {
        reason: String,
    },
    /// The process lives but its control socket does not answer.
    Silent,
    Gone {
        reason: String,
    },
}

impl Life {
    /// There is no process and there was none.
    pub fn none() -> Life {
        Life::Gone { reason: String::new() }
    }

    pub fn is_gone(&self) -> bool {
        matches!(self, Life::Gone { .. })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineFacts {
    pub pid: u32,
    pub qemu_version: String,
    /// Unix socket; empty when the guest has no display.
    pub vnc: String,
    /// Unix socket of the serial console.
    pub serial: String,
    pub machine_type: String,
}

/// What this host's hypervisor can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    pub accelerator: Accelerator,
    pub qemu_version: String,
    pub machines: Vec<MachineType>,
    pub firmware: Option<Firmware>,
    /// MiB of the host: no guest can grow beyond.
    pub host_memory_mb: i64,
}

/// A kind of machine: `pc-i440fx-10.0`, with the alias `pc` on the newest of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineType {
    pub name: String,
    pub alias: String,
    pub max_cpus: i64,
}

/// UEFI: the code, and the template of a guest's own variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    pub code: std::path::PathBuf,
    pub vars: std::path::PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    Kvm,
    #[default]
    Tcg,
}

impl Accelerator {
    pub fn name(self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg",
        }
    }
}

/// All a launch needs, resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub guest: GuestSpec,
    /// Versioned machine type of an earlier start, or empty.
    pub machine_type: String,
    pub disks: Vec<PlanDisk>,
    pub nics: Vec<PlanNic>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PlanDisk {
    pub disk: GuestDisk,
    pub at: Attachment,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PlanNic {
    pub nic: GuestNic,
    pub tap: Tap,
    /// 0: the device's own default.
    pub mtu: i64,
}
