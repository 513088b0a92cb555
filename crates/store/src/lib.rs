//! The only crate that sees SQL drivers: rows, conditions, transactions, migrations, leases and the change feed, on SQLite and PostgreSQL alike.
//!
//! Whoever keeps something uses it: the resource engine, tasks, reconcilers, services. It knows no resource by name and must never hold a lock beyond a
//! transaction.
//!
//! ```
//! use base::{Result, Row};
//! use store::{Cond, Db, Read, add, work};
//!
//! async fn charge(db: &Db, disk: &Row, size: i64) -> Result<bool> {
//!     db.tx(|tx| {
//!         work(async move {
//!             let room = Cond::Fits { used: "used".into(), add: size, cap: "capacity".into() };
//!             if tx.update("storages", Cond::eq("id", disk.text("storage_id")).and(room), vec![add("used", size)]).await? == 0 {
//!                 return Ok(false);
//!             }
//!             tx.insert(disk).await?;
//!             Ok(true)
//!         })
//!     })
//!     .await
//! }
//!
//! async fn names(db: &Db) -> Result<Vec<String>> {
//!     db.read().texts("storages", "name", Cond::eq("enabled", true)).await
//! }
//! ```
//!
//! - [`Db`] opens and runs transactions; [`Read`] asks, in a transaction or outside; [`Tx`] writes.
//! - [`query`](Select) types say what is asked; [`sql`] writes it down for either dialect; [`ddl`] drafts and checks tables.
//! - [`Db::total`] counts for lists, and remembers; [`Db::known`] remembers names and the like.
//! - [`Feed`] tells what changed, [`Leases`] who may act alone.

mod db;
pub mod ddl;
mod durable;
mod fault;
mod feed;
mod known;
mod lease;
mod migrate;
mod pg;
mod query;
mod read;
mod schema;
pub mod sql;
mod sqlite;
pub mod testing;
mod totals;
mod tx;
mod work;

pub use db::Db;
pub use feed::{Batch, Change, ChangeOp, Feed, Numbered, Subscription};
pub use known::Cells;
pub use lease::{Lease, Leases};
pub use migrate::Migrations;
pub use query::*;
pub use read::Read;
pub use sql::Dialect;
pub use tx::Tx;
pub use work::{Work, work};
