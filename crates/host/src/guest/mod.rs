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

pub(crate) use actor::Actor;
pub use change::Change;
pub use decide::{Action, Close, HostNow, Needs, decide};
pub use memory::{Failure, Memory, Phase, Run};

use api_agent::{Desired, DiskSpec, GuestDisk, GuestSpec, NetworkSpec};
use base::{Result, err};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Everything an actor can be asked; a newer document comes beside it, for of several only the last counts.
#[derive(Debug)]
pub(crate) enum Command {
    /// Press the reset button; refused unless the guest runs.
    Reset { answer: oneshot::Sender<Result<()>> },
    /// Make a plugged disk larger; refused unless the guest runs with it. `bytes` is the new size.
    GrowDisk { disk_id: String, bytes: u64, answer: oneshot::Sender<Result<()>> },
}

/// How others reach an actor. When the last one is dropped, the actor ends and leaves its guest as it is.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    documents: Arc<watch::Sender<Wanted>>,
    commands: mpsc::Sender<Command>,
}

impl Mailbox {
    /// Allowed in every state.
    pub fn want(&self, wanted: Wanted) {
        self.documents.send_replace(wanted);
    }

    /// Puts a command to the actor and waits for its answer.
    pub async fn ask(&self, command: impl FnOnce(oneshot::Sender<Result<()>>) -> Command) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let ending = || err!(ResourceBusy, "the guest is being let go");
        self.commands.send(command(answer)).await.map_err(|_| ending())?;
        answered.await.map_err(|_| ending())?
    }
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
