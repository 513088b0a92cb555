//! Storages (spec 10 §5).

use base::{Json, Resource, meta};

/// A place disks lie in.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "storage", plural = "storages", service = "compute", level = domain)]
pub struct Storage {
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
    /// Zone it is usable in.
    #[field(create = required, filter, refers = "zone")]
    pub zone_id: String,
    /// `local`, `nfs`, `rbd`, `lvm`, …
    #[field(create = required, filter)]
    pub storage_type: String,
    /// `rotate`, `ssd`, `hybrid`
    #[field(create, update, filter, default = "ssd")]
    pub medium_type: String,
    /// MiB.
    #[field(create, update)]
    pub capacity: i64,
    /// MiB really in use, last reported.
    #[field(update)]
    pub actual_capacity_used: i64,
    /// MiB kept free.
    #[field(create, update, domain)]
    pub reserved: i64,
    /// How much disk a unit of space carries; 0: the platform's default.
    #[field(update, domain)]
    pub cmtbound: f64,
    /// Settings of its type.
    #[field(update, domain)]
    pub storage_conf: Json,
    /// Cache of images it has.
    #[field(domain, filter)]
    pub storagecache_id: String,
    /// Host that manages it.
    pub master_host: String,
    /// Whether system disks may lie here.
    #[field(create, update, default = "true")]
    pub is_sys_disk_store: bool,
    /// MiB given to disks; kept by conditional updates.
    #[field(hidden)]
    pub used_capacity: i64,
    /// MiB it can give: (capacity - reserved) * bound.
    #[field(hidden)]
    pub virtual_limit: i64,
}

/// The image cache of storages.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "storagecache", plural = "storagecaches", service = "compute", level = system)]
pub struct StorageCache {
    #[field(flatten)]
    pub meta: meta::Standalone,
    #[field(flatten)]
    pub external: meta::External,
    /// Directory on the hosts.
    #[field(admin)]
    pub path: String,
    /// Host that manages it.
    pub master_host: String,
}
