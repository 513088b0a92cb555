//! Region, third link: servers and disks, the tasks that change them, and the agents that make them true.
//!
//! ```text
//! request ─▶ server hooks ─▶ row + task ─▶ task steps write intent ─▶ host's desired version rises
//!                                                                        │ long poll
//!            task waits ◀─ rows ◀─ observed report ◀─ host agent ◀──────┘
//! ```
//!
//! Nothing here calls an agent: an agent fetches its document and reports what it sees (crate `api-agent`).

pub mod agent;
mod disk;
mod env;
mod image;
mod intent;
mod joint;
mod quota;
mod server;
pub mod task;

pub use env::{Compute, Settings};
pub use image::{Image, Images};

use resource::Kind;
use std::sync::Arc;

/// The kinds of this link.
pub fn kinds(env: &Arc<Compute>) -> Vec<Kind> {
    let mut kinds = vec![server::kind(env), disk::kind(env), quota::kind()];
    kinds.extend(joint::kinds());
    kinds
}

/// The kinds of task of this link.
pub fn tasks() -> ::task::Builder<Compute> {
    with_tasks(::task::Tasks::builder())
}

/// Adds them to others.
pub fn with_tasks(builder: ::task::Builder<Compute>) -> ::task::Builder<Compute> {
    builder
        .kind::<task::ServerCreate>()
        .kind::<task::ServerStart>()
        .kind::<task::ServerStop>()
        .kind::<task::ServerRestart>()
        .kind::<task::ServerReset>()
        .kind::<task::ServerDelete>()
        .kind::<task::DiskCreate>()
        .kind::<task::DiskDelete>()
        .kind::<task::DiskResize>()
        .kind::<task::ServerCreateDisk>()
        .kind::<task::ServerAttachDisk>()
        .kind::<task::ServerDetachDisk>()
        .kind::<task::ServerAttachNetwork>()
        .kind::<task::ServerDetachNetwork>()
        .kind::<task::ServerRebuildRoot>()
        .kind::<task::ServerChangeConfig>()
        .kind::<task::ServerSetPassword>()
}
