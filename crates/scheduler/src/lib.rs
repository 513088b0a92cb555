//! Placement: which host takes a server, which of its storages each disk, which network each interface, and why no other.
//!
//! [`place`] is a pure function over a [`Snapshot`]; [`Scheduler`] keeps the snapshot in step with the database by the change feed. What it
//! answers is advice: the caller commits it by conditional updates in its own transaction and takes the next candidate when one is lost.

mod place;
mod snapshot;
mod wire;

pub use place::{Candidate, DiskWish, NetWish, Outcome, Refusal, Request, deal, place};
pub use snapshot::{HostView, Load, NetView, Reach, Scheduler, Shared, Snapshot, StorageView};
