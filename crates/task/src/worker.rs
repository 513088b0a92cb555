//! Who works on what. A worker says that it lives with one row; a task says which worker has it, and its epoch rises with each that takes it, so
//! that the writes of one that was thought dead change nothing.

use crate::engine::Core;
use crate::{StepRow, TaskRow, row::state, start, status};
use base::{Kind, Resource, Result};
use std::sync::Arc;
use store::{ChangeOp, Cond, Op, Order, Put, Read, Select, Tx, set, work};

/// Enters this worker, and takes away what dead ones had.
pub(crate) async fn register<E: Send + Sync>(core: &Core<E>) -> Result<()> {
    core.db
        .tx(|tx| {
            work(async move {
                if !core.options.node.is_empty() {
                    let before = Cond::eq("node", core.options.node.as_str()).and(Cond::ne("holder", core.holder.as_str()));
                    tx.delete("task_workers", before).await?;
                }
                alive(core, tx).await?;
                free_orphans(tx).await
            })
        })
        .await
}

async fn alive<E: Send + Sync>(core: &Core<E>, tx: &mut Tx) -> Result<()> {
    let until = tx.now().plus_millis(i64::try_from(core.options.lease.as_millis()).unwrap_or(i64::MAX));
    let columns = vec![
        ("holder".into(), core.holder.as_str().into()),
        ("node".into(), core.options.node.as_str().into()),
        ("lease_until".into(), until.into()),
    ];
    // A worker that was thought dead comes back under its old name: its tasks have a new epoch by then, or nobody else wanted them.
    tx.upsert("task_workers", &["holder"], columns).await
}

/// Makes tasks whose worker is gone free for others.
async fn free_orphans(tx: &mut Tx) -> Result<()> {
    let living = Select::from("task_workers").column("holder", Kind::Text);
    let orphans = Cond::cmp("holder", Op::Gt, "").and(Cond::in_select("holder", living).not());
    let freed = tx.update("tasks", orphans, vec![set("holder", "")]).await?;
    if freed > 0 {
        tracing::info!(freed, "took over tasks of workers that are gone");
    }
    Ok(())
}

/// Says for ever that this worker lives, and looks after the others.
pub(crate) async fn beat<E: Send + Sync>(core: &Core<E>) {
    loop {
        tokio::time::sleep(core.jitter(core.options.lease / 3)).await;
        let beat = core.db.tx(|tx| {
            work(async move {
                alive(core, tx).await?;
                let now = tx.now();
                tx.delete("task_workers", Cond::cmp("lease_until", Op::Lt, now)).await?;
                free_orphans(tx).await
            })
        });
        if let Err(e) = beat.await {
            tracing::warn!(error = %e, cause = e.context(), "the worker cannot say that it lives; trying on");
        }
    }
}

/// Gives everything back.
pub(crate) async fn leave<E: Send + Sync>(core: &Core<E>) -> Result<()> {
    core.db
        .tx(|tx| {
            work(async move {
                let mine = || Cond::eq("holder", core.holder.as_str());
                let held = tx.list::<TaskRow>(mine()).await?;
                tx.update("tasks", mine(), vec![set("holder", "")]).await?;
                tx.delete("task_workers", mine()).await?;
                for row in held {
                    start::announce(tx, &TaskRow { holder: String::new(), ..row }, ChangeOp::Update).await?;
                }
                Ok(())
            })
        })
        .await
}

/// What a worker got.
#[derive(Default)]
pub(crate) struct Claimed {
    pub rows: Vec<TaskRow>,
    /// Whether there may be more to get.
    pub more: bool,
}

/// Takes up to `limit` tasks of the kinds this worker knows, those that waited longest first.
pub(crate) async fn claim<E: Send + Sync>(core: &Arc<Core<E>>, limit: usize) -> Result<Claimed> {
    let now = core.now();
    let free = || Cond::eq("holder", "").and(Cond::cmp("next_at", Op::Le, now));
    let known = Cond::is_in("task_name", core.kinds.keys().copied());
    let due = Select::from("tasks").column("id", Kind::Text).filter(free().and(known)).order(Order::asc("next_at")).page(limit as u64, 0);
    let rows = (&mut &core.db).rows(&due).await?;
    if rows.is_empty() {
        return Ok(Claimed::default());
    }
    // Rows that another worker took in between count as well: behind them there may be others.
    let more = rows.len() >= limit;
    let ids = &Cond::is_in("id", rows.into_iter().flatten());
    let rows = core
        .db
        .tx(|tx| {
            work(async move {
                let now = tx.now();
                let sets = vec![
                    set("holder", core.holder.as_str()),
                    ("epoch".into(), Put::Add(1)),
                    ("update_version".into(), Put::Add(1)),
                    set("updated_at", now),
                ];
                if tx.update("tasks", ids.clone().and(free()), sets).await? == 0 {
                    return Ok(Vec::new());
                }
                let fresh = ids.clone().and(Cond::IsNull("start_at".into()));
                tx.update("tasks", fresh.and(Cond::eq("holder", core.holder.as_str())), vec![set("start_at", Some(now))]).await?;
                let mine = ids.clone().and(Cond::eq("holder", core.holder.as_str())).and(Cond::eq("updated_at", now));
                let mut rows = tx.list::<TaskRow>(mine).await?;
                rows.sort_by_key(|r| r.next_at);
                Ok(rows)
            })
        })
        .await?;
    Ok(Claimed { rows, more })
}

/// The journal of a task that was worked on before.
pub(crate) async fn journal<E: Send + Sync>(core: &Core<E>, row: &TaskRow) -> Result<Vec<StepRow>> {
    if row.epoch <= 1 && row.facts.status != status::UNDOING {
        return Ok(Vec::new());
    }
    let rows = (&mut &core.db).find(StepRow::facts(), Cond::eq("task_id", row.facts.id.as_str())).await?;
    let steps = rows.iter().map(StepRow::from_row).filter(|s| s.phase != "undo" || s.state != state::FAILED);
    Ok(steps.collect())
}
