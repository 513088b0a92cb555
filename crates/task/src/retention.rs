//! What becomes of ended tasks: after a while they move to `archived_tasks` with their journal in one document, and after a longer one they go.
//! The table of tasks stays small, and what happened to an object months ago can still be looked up.

use crate::{ArchivedTask, StepRow, TaskRow, operate, status};
use base::{Json, Kind, Resource, Result, Timestamp};
use reconcile::{Counts, Reconciler, Scope, Turn};
use std::time::Duration;
use store::{Cond, Db, Op, Order, Read, Select, work};

/// Moves and deletes ended tasks.
pub struct Retention {
    pub db: Db,
    /// How long an ended task stays among the running ones.
    pub keep: Duration,
    /// How long an archived one stays, counted from its end.
    pub keep_archived: Duration,
}

impl Retention {
    /// A week, then a year.
    pub fn new(db: &Db) -> Retention {
        const DAY: u64 = 86_400;
        Retention { db: db.clone(), keep: Duration::from_secs(7 * DAY), keep_archived: Duration::from_secs(365 * DAY) }
    }
}

/// Tasks of one transaction.
const BATCH: u64 = 50;
/// Rows of the archive deleted by one transaction.
const DELETED: u64 = 500;

fn before(now: Timestamp, age: Duration) -> Timestamp {
    now.plus_secs(-i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
}

impl Reconciler for Retention {
    fn name(&self) -> String {
        "task retention".to_string()
    }
    fn period(&self) -> Duration {
        Duration::from_secs(3600)
    }
    fn scope(&self) -> Scope {
        Scope::Cluster { term: Duration::from_secs(60) }
    }

    async fn run(&self, turn: &Turn) -> Result<Counts> {
        let now = self.db.clock().now();
        let mut archived = 0;
        loop {
            let moved = self.archive(turn, before(now, self.keep)).await?;
            archived += moved;
            if moved == 0 {
                break;
            }
        }
        let mut deleted = 0;
        loop {
            let gone = self.delete(turn, before(now, self.keep_archived)).await?;
            deleted += gone;
            if gone == 0 {
                break;
            }
        }
        Ok(Counts::default().with("archived", archived).with("deleted", deleted))
    }
}

impl Retention {
    async fn archive(&self, turn: &Turn, limit: Timestamp) -> Result<i64> {
        // A parent may still want to take its child back.
        let open = Select::from("tasks").column("id", Kind::Text).filter(Cond::ne("status", status::DONE));
        let old =
            Cond::cmp("end_at", Op::Lt, limit).and(Cond::eq("status", status::DONE)).and(Cond::in_select("parent_task_id", open).not());
        let tasks = (&mut &self.db).page(TaskRow::facts(), old, vec![Order::asc("end_at")], BATCH, 0).await?;
        let rows: Vec<TaskRow> = tasks.iter().map(TaskRow::from_row).collect();
        for row in &rows {
            self.db
                .tx(|tx| {
                    work(async move {
                        turn.fence(tx).await?;
                        let id = row.facts.id.as_str();
                        let history = operate::history(tx, id).await?.iter().map(StepRow::history).collect();
                        let gone = Cond::eq("id", id).and(Cond::eq("update_version", row.update_version));
                        if tx.delete("tasks", gone).await? == 0 {
                            return Ok(());
                        }
                        tx.delete("task_steps", Cond::eq("task_id", id)).await?;
                        let archived =
                            ArchivedTask { facts: row.facts.clone(), history: Json::Array(history), update_version: row.update_version };
                        tx.try_insert(&archived.to_row()).await.map(drop)
                    })
                })
                .await?;
        }
        Ok(rows.len() as i64)
    }

    async fn delete(&self, turn: &Turn, limit: Timestamp) -> Result<i64> {
        let old = Select::from("archived_tasks").column("id", Kind::Text).filter(Cond::cmp("end_at", Op::Lt, limit)).page(DELETED, 0);
        let ids = (&mut &self.db).rows(&old).await?;
        if ids.is_empty() {
            return Ok(0);
        }
        let gone = &Cond::is_in("id", ids.into_iter().flatten());
        let deleted = self.db.tx(|tx| {
            work(async move {
                turn.fence(tx).await?;
                tx.delete("archived_tasks", gone.clone()).await
            })
        });
        Ok(i64::try_from(deleted.await?).unwrap_or(i64::MAX))
    }
}
