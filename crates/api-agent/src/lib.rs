//! The contract between the region and a host agent.
//!
//! The agent dials the region; it has no inbound port for control. It enrols once with a one-time token, registers what the machine is, then
//! for ever: waits for its *desired document* to move past the version it holds, persists it, converges, and reports what it *observed*
//! together with the generations it acted on. A report about an older generation than the row's never overwrites the row.
//!
//! | call | does |
//! |---|---|
//! | `POST /agent/enroll` [`Enroll`] → [`Enrolled`] | trades a one-time token for a credential |
//! | `POST /agent/register` [`HostFacts`] → [`Registered`] | says what the machine is; idempotent, at every start |
//! | `GET /agent/desired?after=V&wait=SECS` → [`Desired`] or `{"unchanged":true}` | waits until the document's version is above V; the answer may carry `consoles`, see [`ConsoleCall`] |
//! | `GET /agent/consoles/{id}`, upgrading to [`CONSOLE_PROTOCOL`] | the host's end of a console somebody waits for; `?error=TEXT` instead of an upgrade: why there is none |
//! | `POST /agent/observed` [`Observed`] → [`Heard`] | state, job results, heartbeat |
//!
//! All but the first carry `Authorization: Bearer <credential>`. Contracts only grow: unknown fields are ignored, new ones have defaults, so
//! neighbouring versions work together. The data plane lives from the persisted document alone.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Trades a one-time token for a credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enroll {
    pub token: String,
    pub hostname: String,
    /// 64 hex digits made by the agent and written down before it asks: its credential to be. Asking again with it gives the same host, so that
    /// an answer that was lost costs nothing but the question. Empty: the region makes one.
    #[serde(default)]
    pub secret: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// Kept by the agent in a file only root can read; the region keeps a hash.
    pub credential: String,
    pub host_id: String,
}

/// What the machine is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    pub hostname: String,
    /// Address guests' data plane and operators reach it at.
    pub access_ip: String,
    /// MAC of the access interface.
    pub access_mac: String,
    pub cpu_count: i64,
    pub node_count: i64,
    pub cpu_desc: String,
    pub cpu_mhz: i64,
    /// KiB
    pub cpu_cache: i64,
    pub cpu_architecture: String,
    /// MiB
    pub mem_size: i64,
    /// `kvm` or `tcg`, as probed by running something, not by looking at a device node.
    pub accelerator: String,
    pub qemu_version: String,
    pub ovs_version: String,
    pub os_distribution: String,
    pub os_version: String,
    pub kernel_version: String,
    pub version: String,
    /// Zone to join; empty joins the only one.
    pub zone: String,
    pub storages: Vec<StorageFacts>,
    pub bridges: Vec<BridgeFacts>,
    pub sys_info: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageFacts {
    /// Directory of a local storage.
    pub path: String,
    /// `local`
    pub storage_type: String,
    /// `rotate`, `ssd` or `hybrid`
    pub medium_type: String,
    /// MiB
    pub capacity_mb: i64,
    /// MiB really used on the filesystem.
    pub used_mb: i64,
}

/// A bridge of the machine and the wire it is plugged into.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BridgeFacts {
    pub bridge: String,
    pub interface: String,
    pub mac: String,
    pub ip_addr: String,
    /// Wire by id or name; empty means the zone's default wire.
    pub wire: String,
    pub mtu: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registered {
    pub host_id: String,
    /// Storage id by path.
    pub storages: BTreeMap<String, String>,
    /// Seconds between reports when nothing changes.
    pub report_interval_secs: u64,
}

/// All a host should make true. Whole, not a difference: an agent that holds version N knows everything as of N.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Desired {
    pub version: i64,
    pub host_id: String,
    pub images: Vec<ImageSpec>,
    pub disks: Vec<DiskSpec>,
    pub networks: Vec<NetworkSpec>,
    pub guests: Vec<GuestSpec>,
    pub jobs: Vec<Job>,
}

/// An image a disk here is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageSpec {
    pub id: String,
    /// `qcow2`, `raw`, …
    pub format: String,
    /// Bytes of the file.
    pub size: u64,
    /// MD5 of the file, hex; empty when unknown.
    pub checksum: String,
    /// Absolute URL answering `GET` with ranges; a path is relative to the region's address.
    pub url: String,
}

/// Present things are made; things named absent are removed. What the document does not name is left alone and reported: a lost document
/// never deletes data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Existence {
    #[default]
    Present,
    Absent,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskSpec {
    pub id: String,
    /// Rises with every change of intent.
    pub generation: i64,
    pub existence: Existence,
    pub storage_id: String,
    /// Directory of the storage.
    pub storage_path: String,
    /// MiB; growing is done, shrinking never.
    pub size_mb: i64,
    /// `qcow2` or `raw`
    pub format: String,
    /// Image it is an overlay of; empty for an empty disk.
    pub image_id: String,
    /// Request whose task is at work on it, for the log; empty when none is. Nothing else may depend on it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}

impl DiskSpec {
    /// Whether both ask for the same, whoever asked.
    pub fn asks_same(&self, other: &DiskSpec) -> bool {
        let bare = |spec: &DiskSpec| DiskSpec { request_id: String::new(), ..spec.clone() };
        bare(self) == bare(other)
    }
}

/// An address range guests here have addresses of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    pub id: String,
    pub name: String,
    /// Bridge of the host this network's wire is plugged into; empty: the integration bridge of the agent.
    pub bridge: String,
    /// 0 or 1: untagged.
    pub vlan_id: i64,
    /// First address of the subnet as in `10.0.0.0/24`.
    pub cidr: String,
    /// Empty: guests get no default route.
    pub gateway: String,
    pub dns: Vec<String>,
    pub ntp: Vec<String>,
    pub domain: String,
    pub mtu: i64,
    /// Destination and next hop.
    pub routes: Vec<(String, String)>,
    /// Whether this host answers for the gateway address and translates guests' traffic to its own.
    pub nat: bool,
    pub lease_secs: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    On,
    #[default]
    Off,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestSpec {
    pub id: String,
    pub name: String,
    /// Rises with every change of intent, the power switch included.
    pub generation: i64,
    pub existence: Existence,
    pub power: Power,
    /// Rises by one for each restart asked for; the agent remembers the last it carried out.
    pub restarts: i64,
    /// Rises by one for each start asked for. A guest that ended by itself is started again only when this has risen, so that a change of
    /// something else that crosses its end on the way does not wake it. Where it stays 0, any newer generation with the power on starts it.
    pub starts: i64,
    /// Whether stopping may skip the guest's own shutdown.
    pub force_stop: bool,
    /// Seconds the guest has to shut down before it is cut off.
    pub stop_timeout_secs: u32,
    pub vcpu_count: i64,
    /// Sockets the processors are shown in; 0 from a region that does not say: one.
    pub cpu_sockets: i64,
    /// MiB
    pub vmem_size: i64,
    /// `pc`, `q35`, `virt`
    pub machine: String,
    /// `BIOS` or `UEFI`
    pub bios: String,
    /// `cdn`: c disk, d cdrom, n net.
    pub boot_order: String,
    /// `std`, `virtio`, `qxl`, `none`
    pub vga: String,
    pub disks: Vec<GuestDisk>,
    pub nics: Vec<GuestNic>,
    pub meta: GuestMeta,
    /// Request whose task is at work on it, for the log; empty when none is. Nothing else may depend on it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestDisk {
    pub disk_id: String,
    pub index: i64,
    /// `virtio`, `scsi`, `sata`, `ide`
    pub driver: String,
    /// `none`, `writeback`, `writethrough`
    pub cache_mode: String,
    /// -1: by index
    pub boot_index: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestNic {
    pub index: i64,
    pub mac: String,
    pub network_id: String,
    pub ip_addr: String,
    /// Tap device name, at most 15 bytes.
    pub ifname: String,
    /// `virtio`, `e1000`, `vmxnet3`
    pub driver: String,
    /// Mbit/s, 0 unlimited.
    pub bw_limit: i64,
    pub is_default: bool,
    /// Drop frames whose source MAC or address is not the NIC's own.
    pub src_mac_check: bool,
    pub src_ip_check: bool,
}

/// What the metadata service and the NoCloud disk tell the guest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestMeta {
    pub hostname: String,
    pub instance_type: String,
    pub project: String,
    pub project_id: String,
    pub zone: String,
    pub region: String,
    pub ssh_keys: Vec<String>,
    pub login_account: String,
    /// Clear text; only in the document of the host that runs the guest.
    pub password: String,
    /// Rises when the password of a running guest is to be changed to this one, by the guest's own agent. A guest that starts with it has it from
    /// what it is told at its start.
    pub password_generation: i64,
    /// As given by the user, not encoded.
    pub user_data: String,
    pub tags: BTreeMap<String, String>,
}

/// One-shot work, done once per id however often it is seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: String,
    pub work: Work,
    /// Request it is done for, for the log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// The reset button: the guest does not shut down.
    ResetGuest { guest_id: String },
    /// A kind this agent does not know yet: answered with a failure that says so.
    #[serde(other)]
    Unknown,
}

/// What is. Sent when something changed and at least every report interval; small enough to be always whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// Version of the document last persisted.
    pub version: i64,
    pub guests: Vec<GuestObserved>,
    pub disks: Vec<DiskObserved>,
    pub jobs: Vec<JobResult>,
    pub stats: HostStats,
    /// Guests and disks found here that the document does not name.
    pub orphans: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestState {
    /// Not looked at yet.
    #[default]
    Unknown,
    /// No process, its files are here or not yet made.
    Stopped,
    Starting,
    Running,
    Paused,
    Stopping,
    /// Nothing of it is left here.
    Absent,
    /// The generation could not be reached; `error` says why. Not tried again until the generation rises.
    Failed,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestObserved {
    pub id: String,
    /// Generation of the spec this state answers to.
    pub generation: i64,
    pub state: GuestState,
    /// Restarts carried out.
    pub restarts: i64,
    /// Why it failed, ended or waits. Beside `running` with the newest generation: the process runs, but a change asked for could not be
    /// made to it.
    pub error: String,
    pub pid: u32,
    pub qemu_version: String,
    /// Unix sockets on the host.
    pub vnc: String,
    pub serial: String,
    /// Whether the guest itself ended (shut down or crashed) although it should run.
    pub ended_by_itself: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskState {
    #[default]
    Unknown,
    /// Waiting for, or loading, its image.
    Caching,
    Creating,
    Ready,
    Absent,
    Failed,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskObserved {
    pub id: String,
    pub generation: i64,
    pub state: DiskState,
    pub error: String,
    /// Percent, while caching.
    pub progress: i64,
    /// MiB as the guest sees it.
    pub size_mb: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobResult {
    pub id: String,
    /// Empty when it succeeded.
    pub error: String,
    pub output: serde_json::Value,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostStats {
    /// MiB
    pub memory_used_mb: i64,
    pub cpu_usage_percent: f64,
    pub storages: Vec<StorageFacts>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heard {
    /// Version of the document now; above the reported one means: fetch.
    pub version: i64,
}

/// Name of the protocol of consoles in `Upgrade`: the bytes of the screen (RFB, RFC 6143) or of the serial port, both ways, nothing else.
pub const CONSOLE_PROTOCOL: &str = "wolke-console";

/// Somebody waits for a console of a guest. Told once, beside a document or instead of one, and kept by nobody: a call that is lost ends by
/// the patience of who waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsoleCall {
    pub id: String,
    pub guest_id: String,
    pub kind: ConsoleKind,
    /// Of the process that waits; empty: the region as the agent knows it.
    pub url: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleKind {
    #[default]
    Vnc,
    Serial,
}

impl ConsoleKind {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ConsoleKind::Vnc => "vnc",
            ConsoleKind::Serial => "serial",
        }
    }

    /// By its word; `None` for any other.
    pub fn from_name(name: &str) -> Option<ConsoleKind> {
        [ConsoleKind::Vnc, ConsoleKind::Serial].into_iter().find(|kind| kind.name() == name)
    }
}

/// What a question for a newer document brings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// `None`: unchanged.
    pub document: Option<Desired>,
    pub consoles: Vec<ConsoleCall>,
}
