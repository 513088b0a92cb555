//! The tables `tasks`, `archived_tasks`, `task_steps`, `task_holds` and `task_workers` of every service's database.

use base::{Class, Columns, Error, Json, Resource, Result, Timestamp};
use serde_json::json;
use store::Migrations;

/// Files of the tables; apply them with [`store::Db::migrate`] before the engine starts.
pub const MIGRATIONS: Migrations = Migrations {
    owner: "task",
    sqlite: &[("0001_tasks.sql", include_str!("../migrations/sqlite/0001_tasks.sql"))],
    postgres: &[("0001_tasks.sql", include_str!("../migrations/postgres/0001_tasks.sql"))],
};

/// `status` of a task.
pub mod status {
    /// Waits for a worker.
    pub const QUEUE: &str = "queue";
    pub const RUNNING: &str = "running";
    /// Waits for something outside of it.
    pub const WAITING: &str = "waiting";
    /// Failed or cancelled, and takes its steps back.
    pub const UNDOING: &str = "undoing";
    /// Cannot be taken back without an operator.
    pub const STUCK: &str = "stuck";
    /// Ended; the stage says how.
    pub const DONE: &str = "done";
}

/// `stage` of a task that is not in a step.
pub mod stage {
    pub const INIT: &str = "on_init";
    pub const COMPLETE: &str = "complete";
    pub const FAILED: &str = "failed";
}

/// `obj_id` of a task on several objects (spec 01 §13).
pub const MULTI_OBJECTS: &str = "[--MULTI_OBJECTS--]";

/// Columns shared by running and archived tasks (spec 01 §13).
#[derive(Clone, Debug, Default, Columns)]
pub struct TaskFacts {
    /// Identifier.
    pub id: String,
    /// Kind of the object it works on, singular keyword.
    #[field(filter)]
    pub obj_type: String,
    /// Identifier of that object; `[--MULTI_OBJECTS--]` for several.
    #[field(filter)]
    pub obj_id: String,
    /// Name of that object when the task began.
    #[field(search, filter, alias = "obj_name")]
    pub object: String,
    /// Kind of the task.
    #[field(filter, search)]
    pub task_name: String,
    /// Step it is in; `on_init` before the first, `complete` or `failed` at the end.
    #[field(filter)]
    pub stage: String,
    /// `queue`, `running`, `waiting`, `undoing`, `stuck` or `done`.
    #[field(filter)]
    pub status: String,
    /// Progress, percent.
    pub progress: i64,
    /// Input of the task.
    #[field(show)]
    pub params: Json,
    /// Who asked for it.
    #[field(show)]
    pub user_cred: Json,
    /// Task it is a part of; empty for none.
    #[field(filter, alias = "parent_id")]
    pub parent_task_id: String,
    /// Identifier of the owning domain.
    pub domain_id: String,
    /// Identifier of the owning project.
    pub tenant_id: String,
    /// Request that started it.
    #[field(filter)]
    pub request_id: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// When a worker first took it.
    pub start_at: Option<Timestamp>,
    /// When it ended.
    pub end_at: Option<Timestamp>,
    /// Why it failed: class, template, args.
    #[field(show)]
    pub error: Json,
    /// What it returned.
    #[field(show)]
    pub result: Json,
    /// Whether it passed its point of no return.
    pub committed: bool,
}

/// A task: bounded work a user asked for, undone when it fails.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "task", plural = "tasks", service = "common", level = project)]
pub struct TaskRow {
    #[field(flatten)]
    pub facts: TaskFacts,
    /// Rises with every change.
    pub update_version: i64,
    /// Rises with every worker that takes it; writes of earlier ones are dropped.
    #[field(hidden)]
    pub epoch: i64,
    /// Worker that has it; empty for none.
    #[field(show, admin)]
    pub holder: String,
    /// When it may be taken; absent when it is stuck or ended.
    #[field(hidden)]
    pub next_at: Option<Timestamp>,
    /// Whether somebody asked to cancel it.
    pub cancel_requested: bool,
}

/// A task that ended long ago, with its history.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "archivedtask", plural = "archivedtasks", service = "common", level = project, table = "archived_tasks")]
pub struct ArchivedTask {
    #[field(flatten)]
    pub facts: TaskFacts,
    /// Its steps in order: name, phase, state, error, attempts, started_at, ended_at.
    #[field(show)]
    pub history: Json,
    /// Rises with every change.
    pub update_version: i64,
}

/// An object a task works on alone.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "taskhold", plural = "taskholds", service = "common", level = system, table = "task_holds")]
pub(crate) struct HoldRow {
    /// Singular keyword of the object's kind.
    pub kind: String,
    /// Identifier of the object.
    pub id: String,
    /// Task that holds it.
    pub task_id: String,
}

/// `phase` of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    Act,
    Undo,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Act => "act",
            Phase::Undo => "undo",
        }
    }
}

/// A row of the journal.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "taskstep", plural = "tasksteps", service = "common", level = system, table = "task_steps")]
pub struct StepRow {
    /// Task it belongs to.
    pub task_id: String,
    /// `act` or `undo`.
    pub phase: String,
    /// Name of the step, unique within the task.
    pub name: String,
    /// Order in which steps were first journaled.
    pub seq: i64,
    /// `begun` (its outcome is not known yet), `done`, `failed` or `skipped`.
    pub state: String,
    /// What it returned.
    pub output: Json,
    /// Why it failed, or why it had to be tried again.
    pub error: Json,
    /// How often it was tried.
    pub attempts: i64,
    /// First attempt.
    pub started_at: Timestamp,
    /// End.
    pub ended_at: Option<Timestamp>,
}

/// `state` of a step.
pub mod state {
    pub const BEGUN: &str = "begun";
    pub const DONE: &str = "done";
    pub const FAILED: &str = "failed";
    pub const SKIPPED: &str = "skipped";
}

impl StepRow {
    pub fn history(&self) -> Json {
        json!({
            "name": self.name, "phase": self.phase, "state": self.state, "error": self.error, "attempts": self.attempts,
            "started_at": self.started_at.to_string(), "ended_at": self.ended_at.map(|t| t.to_string()),
        })
    }
}

impl TaskRow {
    pub fn ended(&self) -> bool {
        self.facts.status == status::DONE
    }
    pub fn succeeded(&self) -> bool {
        self.ended() && self.facts.stage == stage::COMPLETE
    }
    /// The error of a failed task.
    pub fn failure(&self) -> Option<Error> {
        error_from_json(&self.facts.error)
    }
}

/// An error as the journal keeps it.
pub fn error_to_json(error: &Error) -> Json {
    json!({
        "class": error.class().name(), "template": error.template(), "args": error.args(), "context": error.context(),
        "reason": error.reason(), "message": error.to_string(),
    })
}

/// Reads [`error_to_json`]; `None` for no error.
pub fn error_from_json(json: &Json) -> Option<Error> {
    let text = |key: &str| json.get(key).and_then(Json::as_str);
    let class = text("class").and_then(Class::from_name)?;
    let args = json.get("args").and_then(Json::as_array).into_iter().flatten();
    let args = args.map(|a| a.as_str().unwrap_or_default().to_string()).collect();
    let error = Error::new(class, text("template")?, args);
    let reason = json.get("reason").filter(|r| !r.is_null()).and_then(|r| serde_json::from_value(r.clone()).ok());
    let error = match reason {
        Some(reason) => error.because(reason),
        None => error,
    };
    Some(match text("context") {
        Some(context) => error.with_context(context),
        None => error,
    })
}

/// Output of a step as its type.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(json: Json, what: &str) -> Result<T> {
    serde_json::from_value(json).map_err(|e| Error::internal(format!("journal: {what} does not decode: {e}")))
}

pub(crate) fn encode<T: serde::Serialize>(value: &T, what: &str) -> Result<Json> {
    serde_json::to_value(value).map_err(|e| Error::internal(format!("journal: {what} does not encode: {e}")))
}
