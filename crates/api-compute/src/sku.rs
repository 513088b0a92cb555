//! SKUs: named sizes of servers.

use base::{Resource, meta};

/// A named size of a server.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "serversku", plural = "serverskus", service = "compute", level = system)]
pub struct ServerSku {
    #[field(flatten)]
    pub meta: meta::Standalone,
    #[field(flatten)]
    pub status: meta::Status,
    #[field(flatten)]
    pub enabled: meta::Enabled,
    #[field(flatten)]
    pub external: meta::External,
    /// Virtual processors, 1 to 256.
    #[field(create = required, filter)]
    pub cpu_core_count: i64,
    /// Memory in MiB, 512 to 524288.
    #[field(create = required, filter)]
    pub memory_size_mb: i64,
    /// Family it is listed under.
    #[field(create, filter)]
    pub instance_type_category: String,
    /// Series: the middle word of its name.
    #[field(filter)]
    pub instance_type_family: String,
    /// Category word of this platform.
    #[field(filter)]
    pub local_category: String,
    /// `available` or `soldout`, paid after use.
    #[field(create, update, filter, default = "available")]
    pub postpaid_status: String,
    /// `available` or `soldout`, paid ahead.
    #[field(create, update, filter, default = "available")]
    pub prepaid_status: String,
    /// Guest systems it is for.
    #[field(create, filter, default = "Any")]
    pub os_name: String,
    /// Region it is offered in.
    #[field(create, filter, refers = "cloudregion", alias = "region region_id", default = "default")]
    pub cloudregion_id: String,
    /// Zone it is offered in; empty: all of the region.
    #[field(create, filter, refers = "zone")]
    pub zone_id: String,
    /// Whose: `OneCloud` for our own.
    #[field(filter, default = "OneCloud")]
    pub provider: String,
    /// Whether the root disk may grow.
    #[field(default = "true")]
    pub sys_disk_resizable: bool,
    /// GiB, smallest root disk.
    pub sys_disk_min_size_gb: i64,
    /// GiB, largest root disk; 0: any.
    pub sys_disk_max_size_gb: i64,
    /// GiB attached at no extra.
    pub attached_disk_size_gb: i64,
    /// Disks attached at no extra.
    pub attached_disk_count: i64,
    /// Most data disks; 0: any.
    pub data_disk_max_count: i64,
    /// Most interfaces; 0: any.
    #[field(default = "1")]
    pub nic_max_count: i64,
    /// Whether a GPU may be attached.
    #[field(default = "true")]
    pub gpu_attachable: bool,
    /// Most GPUs; 0: any.
    pub gpu_max_count: i64,
    /// Price of an hour, a bare number: the platform keeps no currency.
    pub hour_price: f64,
    /// Price of a month, a bare number: the platform keeps no currency.
    pub month_price: f64,
}
