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
//! ```
//! # use base::{Ctx, Json, Result, err};
//! # use serde::{Deserialize, Serialize};
//! # use store::{Cond, Db, Read, Tx, add, set, work};
//! use task::{Call, Flow, NewTask, Polled, Step, StepKey, Task, Tasks, Wait};
//!
//! # struct Agents;
//! # impl Agents {
//! #     async fn put_job(&self, _: &str, _: &str) -> Result<()> { Ok(()) }
//! #     async fn drop_job(&self, _: &str) -> Result<()> { Ok(()) }
//! # }
//! /// What calls may use; no database.
//! struct Region {
//!     agents: Agents,
//! }
//!
//! /// The input is the task.
//! #[derive(Serialize, Deserialize)]
//! struct DiskResize {
//!     disk_id: String,
//!     storage_id: String,
//!     grow_mb: i64,
//! }
//!
//! impl Task<Region> for DiskResize {
//!     const NAME: &'static str = "DiskResizeTask";
//!     const STEPS: u32 = 3;
//!
//!     async fn run(&self, flow: &Flow<Region>) -> Result<Json> {
//!         flow.step(Reserve { storage_id: self.storage_id.clone(), mb: self.grow_mb }).await?;
//!         flow.call(AskAgent { disk_id: self.disk_id.clone() }).await?;
//!         let size = flow.wait(Grown { disk_id: self.disk_id.clone() }).await?;
//!         Ok(Json::from(size))
//!     }
//!
//!     async fn failed(&self, _: &Region, tx: &mut Tx, _: &base::Error) -> Result<()> {
//!         tx.update("disks", Cond::eq("id", self.disk_id.as_str()), vec![set("status", "resize_failed")]).await.map(drop)
//!     }
//! }
//!
//! struct Reserve { storage_id: String, mb: i64 }
//!
//! impl Step<Region> for Reserve {
//!     const NAME: &'static str = "reserve capacity";
//!     type Out = ();
//!
//!     async fn act(&self, _: &Region, tx: &mut Tx, _: &StepKey) -> Result<()> {
//!         let room = Cond::Fits { used: "used".into(), add: self.mb, cap: "capacity".into() };
//!         match tx.update("storages", Cond::eq("id", self.storage_id.as_str()).and(room), vec![add("used", self.mb)]).await? {
//!             0 => Err(err!(InsufficientResource, "storage {} has no room for {} MiB more", self.storage_id, self.mb)),
//!             _ => Ok(()),
//!         }
//!     }
//!     async fn undo(&self, _: &Region, tx: &mut Tx, _: &StepKey, _: &()) -> Result<()> {
//!         tx.update("storages", Cond::eq("id", self.storage_id.as_str()), vec![add("used", -self.mb)]).await.map(drop)
//!     }
//! }
//!
//! struct AskAgent { disk_id: String }
//!
//! impl Call<Region> for AskAgent {
//!     const NAME: &'static str = "ask the agent";
//!     type Out = ();
//!
//!     async fn call(&self, env: &Region, key: &StepKey) -> Result<()> {
//!         env.agents.put_job(&key.to_string(), &self.disk_id).await
//!     }
//!     async fn undo_call(&self, env: &Region, key: &StepKey, _: Option<&()>) -> Result<()> {
//!         env.agents.drop_job(&key.to_string()).await
//!     }
//! }
//!
//! struct Grown { disk_id: String }
//!
//! impl Wait<Region> for Grown {
//!     const NAME: &'static str = "the disk grows";
//!     type Out = i64;
//!
//!     fn watches(&self) -> Vec<(String, String)> {
//!         vec![("disk".into(), self.disk_id.clone())]
//!     }
//!     async fn poll(&self, _: &Region, tx: &mut Tx) -> Result<Polled<i64>> {
//!         let size = tx.sum("disks", "observed_mb", Cond::eq("id", self.disk_id.as_str()).and(Cond::eq("status", "ready"))).await?;
//!         Ok(if size > 0 { Polled::Ready(size) } else { Polled::Pending })
//!     }
//! }
//!
//! /// In a request: the task and the request's own writes are one transaction, and the disk is held until the task ends.
//! async fn resize(db: &Db, ctx: &Ctx, task: &DiskResize) -> Result<String> {
//!     db.tx(|tx| {
//!         work(async move {
//!             tx.update("disks", Cond::eq("id", task.disk_id.as_str()), vec![set("status", "resizing")]).await?;
//!             task::start(tx, ctx, NewTask::of(task).on("disk", &task.disk_id, "data")).await
//!         })
//!     })
//!     .await
//! }
//!
//! /// In the service's start.
//! async fn serve(db: &Db, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
//!     db.migrate(&task::MIGRATIONS).await?;
//!     let tasks = Tasks::builder().kind::<DiskResize>().build(db, Region { agents: Agents }.into());
//!     tasks.run(shutdown).await
//! }
//! ```
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
mod retention;
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
pub use metrics::{Metrics, OfTask, Outcome};
pub use operate::{abandon, cancel, history, retry, skip};
pub use retention::Retention;
pub use row::{
    ArchivedTask, MIGRATIONS, MULTI_OBJECTS, Phase, StepRow, TaskFacts, TaskRow, error_from_json, error_to_json, stage, state, status,
};
pub use start::{NewTask, holder_of, start};
