//! What people may do to a task from outside: cancel it, look at its history, and get a stuck one moving.

use crate::{Phase, StepRow, TaskRow, row, stage, start, state, status};
use base::{Resource, Result, Timestamp, err};
use store::{ChangeOp, Cond, Put, Read, Sets, Tx, set};

/// Reads a task and keeps everybody else from moving it until the transaction ends. Parents before children, never the other way.
async fn load(tx: &mut Tx, id: &str) -> Result<TaskRow> {
    tx.lock("tasks", Cond::eq("id", id)).await?;
    tx.get::<TaskRow>(id).await?.ok_or_else(|| err!(ResourceNotFound, "task {} not found", id))
}

/// Changes a task that was loaded in this transaction, and tells the feed.
async fn change(tx: &mut Tx, task: &mut TaskRow, mut sets: Sets) -> Result<()> {
    let now = tx.now();
    sets.extend([set("updated_at", now), ("update_version".into(), Put::Add(1))]);
    let seen = Cond::eq("id", task.facts.id.as_str()).and(Cond::eq("update_version", task.update_version));
    if tx.update("tasks", seen, sets).await? == 0 {
        return Err(err!(ResourceBusy, "task {} is moving; try again", task.facts.id));
    }
    *task = load(tx, &task.facts.id).await?;
    start::announce(tx, task, ChangeOp::Update).await
}

/// Asks a task to stop: the next boundary between steps becomes an error and what was done is undone.
///
/// # Errors
/// `InvalidStatus` when it has ended or passed its point of no return.
pub async fn cancel(tx: &mut Tx, id: &str) -> Result<()> {
    let mut task = load(tx, id).await?;
    if task.ended() {
        return Err(err!(InvalidStatus, "task {} has ended; there is nothing to cancel", id));
    }
    if task.facts.committed {
        return Err(err!(InvalidStatus, "task {} is past its point of no return; wait for its end", id));
    }
    if task.cancel_requested || [status::UNDOING, status::STUCK].contains(&task.facts.status.as_str()) {
        return Ok(());
    }
    change(tx, &mut task, vec![set("cancel_requested", true)]).await
}

/// The journal of a task, in order.
pub async fn history<R: Read>(reader: &mut R, id: &str) -> Result<Vec<StepRow>> {
    let rows = reader.find(StepRow::facts(), Cond::eq("task_id", id)).await?;
    let mut steps: Vec<StepRow> = rows.iter().map(StepRow::from_row).collect();
    steps.sort_by_key(|s| (s.phase != Phase::Act.name(), s.seq));
    Ok(steps)
}

async fn stuck(tx: &mut Tx, id: &str) -> Result<TaskRow> {
    let task = load(tx, id).await?;
    if task.facts.status != status::STUCK {
        return Err(err!(InvalidStatus, "task {} is not stuck but {}", id, task.facts.status));
    }
    Ok(task)
}

/// The undos that keep a task stuck.
fn failing(id: &str) -> Cond {
    Cond::eq("task_id", id).and(Cond::eq("phase", Phase::Undo.name())).and(Cond::eq("state", state::FAILED))
}

async fn resume(tx: &mut Tx, task: &mut TaskRow) -> Result<()> {
    let now = tx.now();
    let word = if task.facts.error.is_null() { status::QUEUE } else { status::UNDOING };
    change(tx, task, vec![set("status", word), set("next_at", Some(now)), set("holder", "")]).await
}

/// Tries the failing undo of a stuck task again: its cause has been mended.
pub async fn retry(tx: &mut Tx, id: &str) -> Result<()> {
    let mut task = stuck(tx, id).await?;
    tx.delete("task_steps", failing(id)).await?;
    resume(tx, &mut task).await
}

/// Gives up the failing undo of a stuck task, whose effect an operator took back by hand, and goes on with the rest.
pub async fn skip(tx: &mut Tx, id: &str) -> Result<()> {
    let mut task = stuck(tx, id).await?;
    let now = tx.now();
    if tx.update("task_steps", failing(id), vec![set("state", state::SKIPPED), set("ended_at", Some(now))]).await? == 0 {
        return Err(err!(InvalidStatus, "task {} has no failing undo to skip; retry or abandon it", id));
    }
    resume(tx, &mut task).await
}

/// Ends a stuck task as failed without undoing the rest; its objects are released as they are.
pub async fn abandon(tx: &mut Tx, id: &str) -> Result<()> {
    let mut task = stuck(tx, id).await?;
    let now = tx.now();
    let error = match task.facts.error.is_null() {
        true => row::error_to_json(&err!(ServiceAbnormal, "the task was abandoned by an operator")),
        false => task.facts.error.clone(),
    };
    start::release(tx, id).await?;
    let sets = vec![
        set("status", status::DONE),
        set("stage", stage::FAILED),
        set("end_at", Some(now)),
        set("next_at", None::<Timestamp>),
        set("error", error),
    ];
    change(tx, &mut task, sets).await
}

/// Takes back a task that had completed, for a parent that failed later. False when there is nothing (more) to wait for.
pub(crate) async fn revert(tx: &mut Tx, id: &str, error: &base::Error) -> Result<bool> {
    tx.lock("tasks", Cond::eq("id", id)).await?;
    let Some(mut task) = tx.get::<TaskRow>(id).await? else { return Ok(false) };
    if !task.ended() {
        if !task.facts.committed && !task.cancel_requested && ![status::UNDOING, status::STUCK].contains(&task.facts.status.as_str()) {
            change(tx, &mut task, vec![set("cancel_requested", true)]).await?;
        }
        return Ok(true);
    }
    // A child past its point of no return said that its effects are final.
    if !task.succeeded() || task.facts.committed {
        return Ok(false);
    }
    let now = tx.now();
    let sets = vec![
        set("status", status::UNDOING),
        set("error", row::error_to_json(error)),
        set("next_at", Some(now)),
        set("end_at", None::<Timestamp>),
        set("holder", ""),
    ];
    change(tx, &mut task, sets).await?;
    Ok(true)
}
