//! One actor per guest: it alone starts, changes, ends and removes it.
//!
//! ```text
//!            power on, disks and network ready
//!   Off ───────────────────────────────────────▶ Launching ── process runs ──▶ Up ──┐ plug, unplug
//!    ▲  ▲                                            │ ▲                       │ │ ◀┘
//!    │  └───────── no process (agent died) ──────────┘ │ found at start        │ │
//!    │                                                 └──── Adopt ────────────┘ │
//!    │          process gone                                                     │
//!    ├────────────────────── Stopping ◀──── power off, restart, delete ──────────┤
//!    │                                                                           │
//!    │  asked to start, restart or stop        process gone, nobody asked        │
//!    └──────────────────────────── Ended ◀───────────────────────────────────────┤
//!    │                                                                           │
//!    ├──────────── process gone because the host went down: started again ◀──────┘
//!    │
//!    └── existence absent ──▶ Erased
//! ```
//! [`decide`] chooses the next [`Action`] from the document, the process and the [`Memory`]; the actor in [`actor`] does it, writing the
//! memory before anything another life of the agent would have to know of. The agent may die at any await: the memory says what may have
//! been begun, and looking at the processes says how far it came. A restart of the agent never touches a running guest.

mod actor;
mod change;
mod decide;
#[cfg(test)]
mod decide_tests;
mod memory;
mod report;

pub(crate) use actor::{Actor, Mailbox};
pub use change::Change;
pub use decide::{Action, Close, HostNow, Needs, decide};
pub use memory::{Failure, Memory, Phase, Run};

use api_agent::{Desired, DiskSpec, GuestDisk, GuestSpec, NetworkSpec};
use base::Result;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Everything an actor can be told.
#[derive(Debug)]
pub(crate) enum Command {
    /// A newer document; allowed in every state. Only the last of several counts.
    Want(Wanted),
    /// Press the reset button; refused unless the guest runs.
    Reset { answer: oneshot::Sender<Result<()>> },
    /// Make a plugged disk larger; refused unless the guest runs with it. `bytes` is the new size.
    GrowDisk { disk_id: String, bytes: u64, answer: oneshot::Sender<Result<()>> },
}

/// A guest within its document.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    document: Arc<Desired>,
    at: usize,
}

impl Wanted {
    /// All guests of a document.
    pub fn all(document: &Arc<Desired>) -> impl Iterator<Item = Wanted> {
        (0..document.guests.len()).map(|at| Wanted { document: document.clone(), at })
    }

    pub fn spec(&self) -> &GuestSpec {
        &self.document.guests[self.at]
    }

    pub fn network(&self, id: &str) -> Option<&NetworkSpec> {
        self.document.networks.iter().find(|n| n.id == id)
    }

    pub fn disk(&self, disk: &GuestDisk) -> Option<&DiskSpec> {
        self.document.disks.iter().find(|d| d.id == disk.disk_id)
    }
}
