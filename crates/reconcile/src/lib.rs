//! Keeps things true. A reconciler looks at what is and brings it nearer to what should be: heartbeats, orphans, counts, projections.
//!
//! Its rules, after which every service's background work is built:
//! - it is activated periodically *and* on demand, and an activation carries no input: what is to be done is found in the database;
//! - it is idempotent, runs at most once at a time (in the process, or, [`Scope::Cluster`], among all processes on one database), and an activation
//!   that comes during a run causes another run after it;
//! - it has no retry loop inside: an error ends the run, is visible, and the next run comes after a pause that grows with each failure;
//! - the state of its last run is always visible ([`Reconcilers::status`]).
//!
//! This crate knows nothing of what is kept true.

mod driver;
mod status;

pub use driver::{Handle, Reconcilers};
pub use status::{Counts, Last, Phase, Status};

use base::Result;
use std::time::Duration;
use store::{Lease, Tx};

/// Something to be kept true.
pub trait Reconciler: Send + Sync + 'static {
    /// Unique within the service; the name of its lease, too.
    fn name(&self) -> String;

    /// Longest time between two runs. Each pause is up to a tenth longer or shorter, so that those with one period come apart.
    fn period(&self) -> Duration;

    fn scope(&self) -> Scope {
        Scope::Process
    }

    /// One run. What it did is counted, for people. It may be dropped at any await point.
    fn run(&self, turn: &Turn) -> impl Future<Output = Result<Counts>> + Send;
}

/// Among whom there is at most one run at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Process,
    /// Every process has its period, and one run at a time is had by whoever gets the lease. Writes go through [`Turn::fence`].
    Cluster {
        /// How long a process that is not heard of keeps its turn.
        term: Duration,
    },
}

/// The right to run now.
#[derive(Clone, Debug)]
pub struct Turn {
    pub(crate) lease: Option<Lease>,
}

impl Turn {
    /// A turn nobody else could have, for tests of a reconciler alone.
    pub fn alone() -> Turn {
        Turn { lease: None }
    }

    /// Fails the transaction of a run whose turn was taken by another process.
    pub async fn fence(&self, tx: &mut Tx) -> Result<()> {
        match &self.lease {
            Some(lease) => tx.fence(lease).await,
            None => Ok(()),
        }
    }
}
