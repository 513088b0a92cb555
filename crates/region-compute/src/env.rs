//! What hooks and steps of this link need beside the database.

use crate::Images;
use region_infra::Bounds;
use scheduler::Scheduler;
use std::{sync::Arc, time::Duration};

/// What an operator may set.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    pub bounds: Bounds,
    /// MiB of the smallest root disk.
    pub root_minimum: i64,
    /// Name servers guests get where their network names none.
    pub dns: Vec<String>,
    /// Bytes of the largest frame's payload guests get.
    pub mtu: i64,
    /// How long a disk may take, its image's download included.
    #[serde(deserialize_with = "config::period")]
    pub disk_deadline: Duration,
    /// How long a server may take to run.
    #[serde(deserialize_with = "config::period")]
    pub start_deadline: Duration,
    /// Seconds a guest has to shut down by itself.
    pub stop_timeout: i64,
    /// A host not heard of for so long is offline.
    #[serde(deserialize_with = "config::period")]
    pub host_timeout: Duration,
    /// Whether servers and disks that are deleted lie in the recycle bin first.
    pub recycle: bool,
    /// How long they lie there (spec 01 §6.2).
    #[serde(deserialize_with = "config::period")]
    pub keep_deleted: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            bounds: Bounds::default(),
            root_minimum: 10_240,
            dns: Vec::new(),
            mtu: 1400,
            disk_deadline: Duration::from_secs(3600),
            start_deadline: Duration::from_secs(300),
            stop_timeout: 30,
            host_timeout: Duration::from_secs(60),
            recycle: true,
            keep_deleted: Duration::from_secs(3 * 86_400),
        }
    }
}

/// The environment of this link.
pub struct Compute {
    pub images: Arc<dyn Images>,
    pub scheduler: Arc<Scheduler>,
    pub settings: Settings,
    /// What passwords lie in the database under.
    pub seal: Arc<auth::Seal>,
}
