//! Bounded work a user asked for: it ends complete, or failed with everything taken back.
//!
//! A task is a linear body over steps. Each step's effect and its journal row are one transaction; after a crash the body runs again from the
//! start, journaled steps return what they returned, and it goes on where it died. When the body returns an error the undos of its steps run in
//! reverse. A request starts a task with [`start`] inside its own transaction; [`Tasks::run`] works on them, in as many processes as one likes.
//!
//! Invariants: a body cannot reach a database or a network but through its [`Flow`], so it branches on journaled facts only. Every write of a body
//! is fenced by the epoch of its worker. A task holds its objects until its end. What keeps failing to be undone stays visible as `stuck` until
//! somebody calls [`retry`], [`skip`] or [`abandon`].
//!
//! This crate knows no kind of task and no object by name, and it must never call out while a transaction is open.

mod act;
mod drive;
mod engine;
mod flow;
mod hook;
mod kind;
mod metrics;
mod operate;
mod row;
mod run;
mod start;
pub mod testing;
mod undo;
mod wait;
mod waits;
mod worker;

pub use engine::{Builder, Options, Tasks};
pub use flow::Flow;
pub use hook::{Hook, Moment, Point, Verdict};
pub use kind::{Call, Polled, Probe, Step, StepKey, Task, Wait, is_cancelled};
pub use metrics::Metrics;
pub use operate::{abandon, cancel, history, retry, skip};
pub use row::{
    ArchivedTask, MIGRATIONS, MULTI_OBJECTS, Phase, StepRow, TaskFacts, TaskRow, error_from_json, error_to_json, stage, state, status,
};
pub use start::{NewTask, holder_of, start};
