//! Starting a task in the caller's transaction, and the objects a task holds.
//!
//! The request that asks for a task writes the task in the same transaction as its own change: there is no moment in which one exists without
//! the other.

use crate::row::HoldRow;
use crate::{MULTI_OBJECTS, Task, TaskFacts, TaskRow, row, stage, status};
use base::{Ctx, Error, Json, Resource, Result, Timestamp, err};
use serde_json::json;
use store::{Change, ChangeOp, Cond, Read, Tx};

/// A task to be started.
#[derive(Clone, Debug)]
pub struct NewTask {
    task_name: &'static str,
    params: Result<Json>,
    objects: Vec<(String, String)>,
    object: String,
    holds: Vec<(String, String)>,
    owner: Option<(String, String)>,
    start_after: Option<Timestamp>,
}

impl NewTask {
    /// A task of the kind of its input.
    pub fn of<E, T: Task<E>>(input: &T) -> NewTask {
        NewTask {
            task_name: T::NAME,
            params: row::encode(input, T::NAME),
            objects: Vec::new(),
            object: String::new(),
            holds: Vec::new(),
            owner: None,
            start_after: None,
        }
    }

    /// The object it works on, which it holds: a second task on it is refused until this one ends.
    #[must_use]
    pub fn on(mut self, kind: &str, id: &str, name: &str) -> NewTask {
        self.object = if self.objects.is_empty() { name.to_string() } else { format!("{},{name}", self.object) };
        self.objects.push((kind.to_string(), id.to_string()));
        self.hold(kind, id)
    }

    /// Holds a further object.
    #[must_use]
    pub fn hold(mut self, kind: &str, id: &str) -> NewTask {
        self.holds.push((kind.to_string(), id.to_string()));
        self
    }

    /// Holds nothing: the task bears others beside it on the same object.
    #[must_use]
    pub fn sharing(mut self) -> NewTask {
        self.holds.clear();
        self
    }

    /// Whose task it is; otherwise the caller's project.
    #[must_use]
    pub fn owned_by(mut self, domain_id: &str, project_id: &str) -> NewTask {
        self.owner = Some((domain_id.to_string(), project_id.to_string()));
        self
    }

    #[must_use]
    pub(crate) fn owned_if_not(mut self, domain_id: &str, project_id: &str) -> NewTask {
        self.owner.get_or_insert_with(|| (domain_id.to_string(), project_id.to_string()));
        self
    }

    #[must_use]
    pub fn not_before(mut self, at: Timestamp) -> NewTask {
        self.start_after = Some(at);
        self
    }
}

/// Writes the task; a worker takes it when the transaction has committed. Returns its id.
///
/// # Errors
/// `ResourceBusy` when another task holds one of the objects; the message names it.
pub async fn start(tx: &mut Tx, ctx: &Ctx, new: NewTask) -> Result<String> {
    start_under(tx, ctx, new, "").await
}

pub(crate) async fn start_under(tx: &mut Tx, ctx: &Ctx, new: NewTask, parent: &str) -> Result<String> {
    let now = tx.now();
    let id = base::new_id();
    for (kind, object) in &new.holds {
        hold(tx, &id, parent, kind, object).await?;
    }
    let (obj_type, obj_id) = match new.objects.as_slice() {
        [] => (String::new(), String::new()),
        [(kind, id)] => (kind.clone(), id.clone()),
        [(kind, _), ..] => (kind.clone(), MULTI_OBJECTS.to_string()),
    };
    let (domain_id, tenant_id) = match new.owner {
        Some(owner) => owner,
        None => (ctx.caller.project_domain_id.clone(), ctx.caller.project_id.clone()),
    };
    let facts = TaskFacts {
        id: id.clone(),
        obj_type,
        obj_id,
        object: new.object,
        task_name: new.task_name.to_string(),
        stage: stage::INIT.to_string(),
        status: status::QUEUE.to_string(),
        params: new.params?,
        user_cred: row::encode(&*ctx.caller, "caller")?,
        parent_task_id: parent.to_string(),
        domain_id,
        tenant_id,
        request_id: ctx.request_id.to_string(),
        created_at: now,
        updated_at: now,
        ..TaskFacts::default()
    };
    let row = TaskRow { facts, update_version: 1, next_at: Some(new.start_after.unwrap_or(now)), ..TaskRow::default() };
    tx.insert(&row.to_row()).await?;
    announce(tx, &row, ChangeOp::Create).await?;
    Ok(id)
}

/// Tells the feed where the task is.
pub(crate) async fn announce(tx: &mut Tx, row: &TaskRow, op: ChangeOp) -> Result<()> {
    let facts = &row.facts;
    let runnable = row.holder.is_empty() && row.next_at.is_some();
    tx.emit(Change {
        kind: "task".to_string(),
        id: facts.id.clone(),
        op,
        version: row.update_version,
        domain_id: facts.domain_id.clone(),
        project_id: facts.tenant_id.clone(),
        data: json!({
            "task_name": facts.task_name, "obj_type": facts.obj_type, "obj_id": facts.obj_id, "stage": facts.stage, "status": facts.status,
            "progress": facts.progress, "runnable": runnable, "cancel_requested": row.cancel_requested,
        }),
    })
    .await
}

/// Takes an object for a task. What an ancestor holds, the task may touch as well.
pub(crate) async fn hold(tx: &mut Tx, task_id: &str, parent: &str, kind: &str, object: &str) -> Result<()> {
    let key = Cond::eq("kind", kind).and(Cond::eq("id", object));
    if let Some(holder) = tx.scalar_text("task_holds", "task_id", key).await? {
        if holder == task_id || is_ancestor(tx, &holder, parent).await? {
            return Ok(());
        }
        return Err(busy(tx, kind, object, &holder).await?);
    }
    let row = HoldRow { kind: kind.to_string(), id: object.to_string(), task_id: task_id.to_string() };
    match tx.try_insert(&row.to_row()).await? {
        true => Ok(()),
        // Somebody was faster, and his row may not be ours to see yet.
        false => Err(err!(ResourceBusy, "{} {} has just been taken by another task; wait for its end", kind, object)),
    }
}

async fn busy(tx: &mut Tx, kind: &str, object: &str, holder: &str) -> Result<Error> {
    let running = tx.get::<TaskRow>(holder).await?.map(|t| t.facts.task_name).unwrap_or_default();
    Ok(err!(ResourceBusy, "{} {} is held by task {} ({}); wait for its end or cancel it", kind, object, holder, running))
}

async fn is_ancestor(tx: &mut Tx, holder: &str, parent: &str) -> Result<bool> {
    let mut at = parent.to_string();
    // A chain longer than this is a loop.
    for _ in 0..32 {
        if at.is_empty() || at == holder {
            return Ok(!at.is_empty());
        }
        at = tx.scalar_text("tasks", "parent_task_id", Cond::eq("id", at.as_str())).await?.unwrap_or_default();
    }
    Ok(false)
}

pub(crate) async fn release(tx: &mut Tx, task_id: &str) -> Result<()> {
    tx.delete("task_holds", Cond::eq("task_id", task_id)).await.map(drop)
}

/// The task that holds an object, if one does.
pub async fn holder_of<R: Read>(reader: &mut R, kind: &str, object: &str) -> Result<Option<String>> {
    reader.scalar_text("task_holds", "task_id", Cond::eq("kind", kind).and(Cond::eq("id", object))).await
}
