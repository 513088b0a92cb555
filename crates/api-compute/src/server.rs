//! Servers and what they are made of (spec 11).

use base::{Json, Resource, Timestamp, meta};

/// A server: a virtual machine.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "server", plural = "servers", service = "compute", level = project)]
pub struct Server {
    #[field(flatten)]
    pub meta: meta::Standalone,
    #[field(flatten)]
    pub status: meta::Status,
    #[field(flatten)]
    pub owned: meta::ProjectOwned,
    #[field(flatten)]
    pub external: meta::External,
    #[field(flatten)]
    pub billing: meta::Billing,
    #[field(flatten)]
    pub guarded: meta::Guarded,
    /// Virtual processors, 1 to 128.
    #[field(create, filter, default = "1")]
    pub vcpu_count: i64,
    /// Memory in MiB, 8 to 524288; a text such as `1G` is accepted.
    #[field(create, filter)]
    pub vmem_size: i64,
    /// Processor sockets the guest sees.
    #[field(create, default = "1")]
    pub cpu_sockets: i64,
    /// Virtual processors beyond the SKU's.
    #[field(create)]
    pub extra_cpu_count: i64,
    /// SKU it was sized by.
    #[field(create, filter, alias = "sku flavor")]
    pub instance_type: String,
    /// `kvm`, `baremetal`, `esxi`, …
    #[field(create, filter, default = "kvm")]
    pub hypervisor: String,
    /// `Linux`, `Windows`, …
    #[field(create, filter)]
    pub os_type: String,
    /// Name of the guest system.
    pub os_name: String,
    /// `x86_64`, `aarch64`, …
    #[field(create, filter)]
    pub os_arch: String,
    /// `pc`, `q35`, `virt`; empty: by architecture.
    #[field(create, update, filter)]
    pub machine: String,
    /// `BIOS` or `UEFI`
    #[field(create, update, filter, default = "BIOS")]
    pub bios: String,
    /// `std`, `virtio`, `qxl`
    #[field(create, update, filter)]
    pub vga: String,
    /// `vnc`
    #[field(create, update, filter)]
    pub vdi: String,
    /// Letters in order: c disk, d cdrom, n network.
    #[field(create, update, filter, default = "cdn")]
    pub boot_order: String,
    /// Name the guest is given; left out: made of the name.
    #[field(create, update, search)]
    pub hostname: String,
    /// Host it runs on.
    #[field(filter, domain, refers = "host")]
    pub host_id: String,
    /// Second host of a pair.
    #[field(domain)]
    pub backup_host_id: String,
    /// State on the second host.
    #[field(default = "init")]
    pub backup_guest_status: String,
    /// Key pair put into it.
    #[field(create, filter, refers = "keypair")]
    pub keypair_id: String,
    /// First security group.
    #[field(default = "default")]
    pub secgrp_id: String,
    /// `on`, `off` or `unknown`, as last observed.
    #[field(default = "unknown")]
    pub power_states: String,
    /// Mbit/s of a running copy.
    pub progress_mbps: f64,
    /// `ok` or what is wrong.
    #[field(default = "ok")]
    pub health_status: String,
    /// `available` when the guest agent answers.
    #[field(default = "unknown")]
    pub qga_status: String,
    /// Whether it runs a rescue system.
    pub rescue_mode: bool,
    /// When it was last started.
    pub last_start_at: Option<Timestamp>,
    /// When the guest shuts down: `stop`, `terminate`, `stop_release_gpu`.
    #[field(create, update, default = "stop")]
    pub shutdown_behavior: String,
    /// `keep_charging` or `stop_charging`
    #[field(default = "keep_charging")]
    pub shutdown_mode: String,
    /// Drop frames that do not carry the server's own address.
    #[field(create, update, default = "true")]
    pub src_ip_check: bool,
    /// Drop frames that do not carry the server's own MAC.
    #[field(create, update, default = "true")]
    pub src_mac_check: bool,
    /// Whether it starts with its host even if it was stopped; always false here.
    pub is_daemon: bool,
    /// Whether an SSH login worked when last tried.
    pub sshable_last_state: bool,
    /// SKU id in an outside cloud.
    pub flavor_id: String,
    /// MB/s of its root disk in an outside cloud.
    pub throughput: i64,
    /// Mbit/s to the outside; 0: unlimited.
    pub internet_max_bandwidth_out: i64,
    /// Account to log in with.
    #[field(create)]
    pub login_account: String,
    /// Why the last operation on it failed: for a refused placement, each host with its reason.
    pub status_reason: String,
    /// What the client asked for, as understood.
    #[field(hidden)]
    pub create_params: Json,
    /// MiB of disks that are still to be made: they count against the quota.
    #[field(hidden)]
    pub planned_mb: i64,
    /// Processors that count for the licence: `vcpu_count`, and while a resize may still be taken back, the larger of both sizes.
    #[field(hidden)]
    pub vcpu_held: i64,
    /// Password put into it, sealed.
    #[field(hidden)]
    pub login_secret: String,
    /// Generation that asked for the password; its host gives it to the running guest once. 0: it is the one it was made with.
    #[field(hidden)]
    pub login_generation: i64,
    /// What its host should make true: `on` or `off`.
    #[field(hidden, default = "off")]
    pub power: String,
    /// Rises with every change of intent.
    #[field(hidden)]
    pub generation: i64,
    /// Restarts asked for.
    #[field(hidden)]
    pub restarts: i64,
    /// Starts asked for.
    #[field(hidden)]
    pub starts: i64,
    /// Whether stopping may skip the guest's own shutdown.
    #[field(hidden)]
    pub force_stop: bool,
    /// Seconds the guest has to shut down.
    #[field(hidden, default = "30")]
    pub stop_timeout: i64,
    /// `present`, `absent`, or empty while its host must not know of it.
    #[field(hidden)]
    pub existence: String,
    /// Last state its host reported, and for which generation.
    #[field(hidden)]
    pub observed: Json,
}

/// Status words of a server (spec 11 §5).
pub mod status {
    pub const INIT: &str = "init";
    pub const SCHEDULE: &str = "schedule";
    pub const SCHED_FAIL: &str = "sched_fail";
    pub const NETWORK: &str = "network";
    pub const NET_FAIL: &str = "net_fail";
    pub const DISK: &str = "disk";
    pub const DISK_FAIL: &str = "disk_fail";
    pub const CREATE_FAIL: &str = "create_fail";
    pub const DEPLOYING: &str = "deploying";
    pub const DEPLOY_FAIL: &str = "deploy_fail";
    pub const READY: &str = "ready";
    pub const RUNNING: &str = "running";
    pub const UNKNOWN: &str = "unknown";
    pub const START_START: &str = "start_start";
    pub const STARTING: &str = "starting";
    pub const START_FAIL: &str = "start_fail";
    pub const START_STOP: &str = "start_stop";
    pub const STOPPING: &str = "stopping";
    pub const STOP_FAIL: &str = "stop_fail";
    pub const ATTACH_DISK: &str = "attach_disk";
    pub const DETACH_DISK: &str = "detach_disk";
    pub const RESIZE_DISK: &str = "resize_disk";
    pub const SYNC_CONFIG: &str = "sync_config";
    pub const REBUILD_ROOT: &str = "rebuild_root";
    pub const CHANGE_FLAVOR: &str = "change_flavor";
    pub const SET_PASSWORD: &str = "qga_set_password";
    pub const START_DELETE: &str = "start_delete";
    pub const DELETING: &str = "deleting";
    pub const DELETE_FAIL: &str = "delete_fail";
}

/// A disk as a server has it.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "guestdisk", plural = "guestdisks", service = "compute", level = project)]
pub struct GuestDisk {
    #[field(flatten)]
    pub joint: meta::Joint,
    /// The server.
    #[field(filter, refers = "server", alias = "server_id")]
    pub guest_id: String,
    /// The disk.
    #[field(filter, refers = "disk")]
    pub disk_id: String,
    /// Position; 0 is the root disk.
    pub index: i64,
    /// Position in the boot order; -1: by index. A running guest has a new one from its next start on.
    #[field(update, default = "-1")]
    pub boot_index: i64,
    /// `virtio`, `scsi`, `sata`, `ide`; changes while the server is stopped.
    #[field(update)]
    pub driver: String,
    /// `none`, `writeback`, `writethrough`. A running guest has a new one from its next start on.
    #[field(update)]
    pub cache_mode: String,
    /// `native`: where the cache mode goes past the cache of the host.
    #[field(update)]
    pub aio_mode: String,
    /// Operations per second; 0: unlimited.
    pub iops: i64,
    /// Bytes per second; 0: unlimited.
    pub bps: i64,
}

/// A network interface of a server.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "guestnetwork", plural = "guestnetworks", service = "compute", level = project)]
pub struct GuestNetwork {
    #[field(flatten)]
    pub joint: meta::Joint,
    /// The server.
    #[field(filter, refers = "server", alias = "server_id")]
    pub guest_id: String,
    /// The network.
    #[field(filter, refers = "network")]
    pub network_id: String,
    /// MAC address.
    #[field(filter, search)]
    pub mac_addr: String,
    /// Address.
    #[field(filter, search)]
    pub ip_addr: String,
    /// IPv6 address.
    #[field(filter, search)]
    pub ip6_addr: String,
    /// `virtio`, `e1000`, `vmxnet3`; changes while the server is stopped.
    #[field(update)]
    pub driver: String,
    /// Mbit/s; 0: unlimited. Changes while the guest runs.
    #[field(update)]
    pub bw_limit: i64,
    /// Mbit/s out; 0: unlimited.
    pub tx_bw_limit: i64,
    /// Mbit/s in; 0: unlimited.
    pub rx_bw_limit: i64,
    /// Position; changes while the server is stopped.
    #[field(update)]
    pub index: i64,
    /// Whether it carries the default route: the guest has it with its next lease, and the others have it no more.
    #[field(update)]
    pub is_default: bool,
    /// Whether it is only in the books.
    #[field(name = "virtual")]
    pub is_virtual: bool,
    /// Tap device on the host.
    pub ifname: String,
    /// Interface it is bonded with, by MAC.
    pub team_with: String,
    /// Queues of the device.
    #[field(default = "1")]
    pub num_queues: i64,
    /// Paid by `traffic` or `bandwidth`.
    #[field(default = "bandwidth")]
    pub charge_type: String,
    /// `prepaid` or `postpaid`
    #[field(default = "prepaid")]
    pub billing_type: String,
    /// Bytes allowed out; 0: unlimited.
    pub tx_traffic_limit: i64,
    /// Bytes allowed in; 0: unlimited.
    pub rx_traffic_limit: i64,
    /// Bytes sent.
    pub tx_traffic_used: i64,
    /// Bytes received.
    pub rx_traffic_used: i64,
    /// Whether it is being taken off: its host does not give it to the guest any more, its address is still its own.
    #[field(hidden)]
    pub leaving: bool,
}
