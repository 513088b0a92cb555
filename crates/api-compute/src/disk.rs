//! Disks (spec 10 §5.3).

use base::{Json, Resource, meta};

/// A virtual disk.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "disk", plural = "disks", service = "compute", level = project)]
pub struct Disk {
    #[field(flatten)]
    pub meta: meta::Standalone,
    #[field(flatten)]
    pub status: meta::Status,
    #[field(flatten)]
    pub owned: meta::ProjectOwned,
    #[field(flatten)]
    pub shared: meta::Shared,
    #[field(flatten)]
    pub external: meta::External,
    #[field(flatten)]
    pub billing: meta::Billing,
    /// Storage it lies in.
    #[field(create, filter, refers = "storage")]
    pub storage_id: String,
    /// Size in MiB.
    #[field(create, filter, alias = "size")]
    pub disk_size: i64,
    /// `qcow2` or `raw`
    #[field(create, filter, default = "qcow2")]
    pub disk_format: String,
    /// `sys`, `data`, `swap`
    #[field(filter, default = "data")]
    pub disk_type: String,
    /// Filesystem made on it.
    pub fs_format: String,
    /// Image it was made of.
    #[field(filter, create, alias = "image_id")]
    pub template_id: String,
    /// Name of that image, as it was then.
    #[field(hidden)]
    pub template_name: String,
    /// Snapshot it was made of.
    #[field(filter)]
    pub snapshot_id: String,
    /// Whether it goes with its server.
    #[field(create, update, filter)]
    pub auto_delete: bool,
    /// Whether it can be taken off its server: a data disk.
    #[field(filter)]
    pub portable: bool,
    /// Whether it returns to its image at each start.
    #[field(create)]
    pub auto_reset: bool,
    /// Whether it cannot be written to.
    pub nonpersistent: bool,
    /// File on the host.
    #[field(show, admin)]
    pub access_path: String,
    /// Why the last operation on it failed.
    pub status_reason: String,
    /// Rises with every change of intent.
    #[field(hidden)]
    pub generation: i64,
    /// What its host should make true: `present`; `absent`, then the row goes too; `retracted`, then the row stays as before its disk was made;
    /// or empty while no host must know of it.
    #[field(hidden, default = "present")]
    pub existence: String,
    /// Facts of the image its host needs: format, size, checksum, URL.
    #[field(hidden)]
    pub image: Json,
    /// Host that has it, for local storage.
    #[field(hidden)]
    pub host_id: String,
}
