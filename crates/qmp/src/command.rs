//! The commands the host agent uses, each with its arguments and its answer. Names and members are those of QEMU's QAPI schema.

use crate::QemuVersion;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A command and what QEMU answers.
pub trait Command: Serialize {
    const NAME: &'static str;
    type Reply: DeserializeOwned;
}

/// The empty object most commands answer with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Done {}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident $({ $($(#[$fdoc:meta])* $field:ident: $ty:ty),* $(,)? })? = $wire:literal -> $reply:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Serialize)]
            #[serde(rename_all = "kebab-case")]
            pub struct $name { $($($(#[$fdoc])* pub $field: $ty),*)? }

            impl Command for $name {
                const NAME: &'static str = $wire;
                type Reply = $reply;
            }
        )*
    };
}

commands! {
    QueryStatus = "query-status" -> Status;
    QueryVersion = "query-version" -> QemuVersion;
    QueryUuid = "query-uuid" -> UuidReply;
    QueryMachines = "query-machines" -> Vec<MachineInfo>;
    /// Lets the processors run.
    Cont = "cont" -> Done;
    /// Stops the processors.
    Stop = "stop" -> Done;
    /// Presses the power button; the guest decides.
    SystemPowerdown = "system_powerdown" -> Done;
    /// Presses the reset button; the guest is not asked.
    SystemReset = "system_reset" -> Done;
    /// Ends the process after flushing its disks.
    Quit = "quit" -> Done;
    /// Asks the guest to let go of a device; [`crate::Event::DeviceDeleted`] follows when it has.
    DeviceDel { id: String } = "device_del" -> Done;
    /// Fails while a device uses the node.
    BlockdevDel { node_name: String } = "blockdev-del" -> Done;
    NetdevDel { id: String } = "netdev_del" -> Done;
    /// Only growing is safe for the guest. `size` in bytes.
    BlockResize { node_name: String, size: u64 } = "block_resize" -> Done;
}

/// `device_add`: a driver, an id and its properties, as in JSON `-device`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct DeviceAdd(pub Map<String, Value>);

impl Command for DeviceAdd {
    const NAME: &'static str = "device_add";
    type Reply = Done;
}

/// `blockdev-add`: a node as in JSON `-blockdev`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct BlockdevAdd(pub Value);

impl Command for BlockdevAdd {
    const NAME: &'static str = "blockdev-add";
    type Reply = Done;
}

/// `netdev_add`: a backend as in JSON `-netdev`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct NetdevAdd(pub Value);

impl Command for NetdevAdd {
    const NAME: &'static str = "netdev_add";
    type Reply = Done;
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Status {
    pub status: RunState,
    pub running: bool,
}

/// QAPI `RunState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    Running,
    Paused,
    Prelaunch,
    Suspended,
    /// The guest has shut down and the process was told to stay.
    Shutdown,
    GuestPanicked,
    /// Stopped because a disk could not be written or read.
    IoError,
    InternalError,
    Inmigrate,
    Postmigrate,
    FinishMigrate,
    RestoreVm,
    SaveVm,
    Debug,
    Watchdog,
    Colo,
    /// A state newer than this list.
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct UuidReply {
    #[serde(rename = "UUID")]
    pub uuid: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct MachineInfo {
    /// `pc-i440fx-10.0`
    pub name: String,
    /// `pc` on the newest version of the kind.
    pub alias: Option<String>,
    pub cpu_max: u32,
    pub deprecated: bool,
}
