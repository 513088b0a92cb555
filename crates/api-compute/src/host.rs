//! Hosts, and what they are plugged into (spec 10 §4).

use base::{Json, Resource, Timestamp, meta};

/// In the data of a change of a host: nothing of it changed but the number of its agent's document.
pub const DOCUMENT_ALONE: &str = "document_alone";

/// A machine that runs servers.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "host", plural = "hosts", service = "compute", level = domain)]
pub struct Host {
    #[field(flatten)]
    pub meta: meta::Standalone,
    #[field(flatten)]
    pub status: meta::Status,
    #[field(flatten)]
    pub enabled: meta::Enabled,
    #[field(flatten)]
    pub domain: meta::DomainOwned,
    #[field(flatten)]
    pub shared: meta::Shared,
    #[field(flatten)]
    pub external: meta::External,
    #[field(flatten)]
    pub billing: meta::Billing,
    /// Zone it stands in.
    #[field(create, filter, refers = "zone")]
    pub zone_id: String,
    /// Name the machine calls itself.
    #[field(create, update, filter, search)]
    pub hostname: String,
    /// Rack.
    #[field(create, update, filter)]
    pub rack: String,
    /// Slots of the rack.
    #[field(create, update, filter)]
    pub slots: String,
    /// MAC of the access interface.
    #[field(create, update, domain, filter, search)]
    pub access_mac: String,
    /// Address it is reached at.
    #[field(create, update, domain, filter, search)]
    pub access_ip: String,
    /// Address outside.
    #[field(update, domain, filter)]
    pub public_ip: String,
    /// URL of an agent that listens; ours dial in and have none.
    #[field(create, update, domain)]
    pub manager_uri: String,
    /// Machine id of the firmware.
    #[field(create, filter)]
    pub uuid: String,
    /// Serial number.
    #[field(create, update, domain, filter, search)]
    pub sn: String,
    /// What the machine says of itself.
    #[field(create, update, domain)]
    pub sys_info: Json,
    /// Version of the agent.
    #[field(filter)]
    pub version: String,
    /// Version of OVN.
    #[field(filter)]
    pub ovn_version: String,
    /// Logical processors.
    #[field(create, filter)]
    pub cpu_count: i64,
    /// Processor sockets.
    #[field(create)]
    pub node_count: i64,
    /// Processor model.
    #[field(create, show)]
    pub cpu_desc: String,
    /// MHz.
    #[field(create, show)]
    pub cpu_mhz: i64,
    /// KiB.
    #[field(create, show)]
    pub cpu_cache: i64,
    /// Microcode version.
    #[field(create, show)]
    pub cpu_microcode: String,
    /// `x86_64`, `aarch64`, `riscv64`
    #[field(create, filter, alias = "os_arch")]
    pub cpu_architecture: String,
    /// Processors kept for the machine itself.
    #[field(create, update, domain)]
    pub cpu_reserved: i64,
    /// How many virtual processors one real one carries; 0: the platform's default.
    #[field(create, update, domain)]
    pub cpu_cmtbound: f64,
    /// Most virtual processors of one server.
    pub kvm_cap_max_vcpu: i64,
    /// Percent, last reported.
    pub cpu_usage_percent: f64,
    /// MiB.
    #[field(create, filter)]
    pub mem_size: i64,
    /// MiB kept for the machine itself.
    #[field(create, update, domain)]
    pub mem_reserved: i64,
    /// How much virtual memory a unit of real memory carries; 0: the platform's default.
    #[field(create, update, domain)]
    pub mem_cmtbound: f64,
    /// KiB.
    #[field(default = "4")]
    pub page_size_kb: i64,
    /// Whether servers are bound to memory nodes.
    pub enable_numa_allocate: bool,
    /// MiB, last reported.
    pub memory_used_mb: i64,
    /// MiB of all storages.
    #[field(create)]
    pub storage_size: i64,
    /// `rotate`, `ssd`, `hybrid`
    #[field(create, filter)]
    pub storage_type: String,
    /// Driver of the disks of bare metal.
    #[field(create)]
    pub storage_driver: String,
    /// MiB of the root partition in use.
    pub root_partition_used_capacity_mb: i64,
    /// `hypervisor`, `container`, `baremetal`, `esxi`, …
    #[field(create, filter, default = "hypervisor")]
    pub host_type: String,
    /// `online` while its agent reports, else `offline`.
    #[field(filter, default = "offline")]
    pub host_status: String,
    /// Whether it is bare metal.
    #[field(create, filter)]
    pub is_baremetal: bool,
    /// Whether it was taken in with a system already on it.
    #[field(create, filter)]
    pub is_import: bool,
    /// Whether it is under maintenance.
    #[field(filter)]
    pub is_maintenance: bool,
    /// `shared`, `prepaid`, `dedicated`
    #[field(filter, default = "shared")]
    pub resource_type: String,
    /// Whether it may boot from the network.
    #[field(create, default = "true")]
    pub enable_pxe_boot: bool,
    /// Address of the management controller.
    #[field(filter)]
    pub ipmi_ip: String,
    /// When its agent last reported.
    #[field(hidden)]
    pub last_ping_at: Option<Timestamp>,
    /// Virtual processors given to servers; kept by conditional updates.
    pub cpu_commit: i64,
    /// MiB given to servers; kept by conditional updates.
    pub mem_commit: i64,
    /// Virtual processors it can carry: (count - reserved) * bound.
    #[field(hidden)]
    pub cpu_capacity: i64,
    /// MiB it can carry: (size - reserved) * bound.
    #[field(hidden)]
    pub mem_capacity: i64,
    /// Version of the document its agent should follow; rises with every change of intent.
    #[field(hidden)]
    pub desired_version: i64,
    /// Version its agent last said it follows.
    #[field(hidden)]
    pub observed_version: i64,
    /// SHA-256 of its agent's credential.
    #[field(hidden)]
    pub credential: String,
}

/// A storage as a host has it mounted.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "hoststorage", plural = "hoststorages", service = "compute", level = system)]
pub struct HostStorage {
    #[field(flatten)]
    pub joint: meta::Joint,
    /// The host.
    #[field(filter, refers = "host")]
    pub host_id: String,
    /// The storage.
    #[field(filter, refers = "storage")]
    pub storage_id: String,
    /// Directory on the host.
    #[field(create, update, domain)]
    pub mount_point: String,
    /// Whether it is the root partition.
    pub is_root_partition: bool,
    /// MiB.
    #[field(domain)]
    pub real_capacity: i64,
}

/// An interface of a host and the wire it is plugged into.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "netinterface", plural = "netinterfaces", service = "compute", level = system)]
pub struct NetInterface {
    #[field(flatten)]
    pub joint: meta::Joint,
    /// The host.
    #[field(filter, refers = "host", alias = "baremetal_id")]
    pub host_id: String,
    /// The wire.
    #[field(filter, refers = "wire")]
    pub wire_id: String,
    /// MAC address.
    #[field(filter, search)]
    pub mac: String,
    /// Bridge that carries guests.
    pub bridge: String,
    /// Device name.
    pub interface: String,
    /// The host's own address there.
    pub ip_addr: String,
    /// Bytes.
    pub mtu: i64,
    /// Position.
    pub index: i64,
}
