//! Tasks over the API: to look at, to cancel, and for the operator to help a stuck one on.

use base::{Json, Result, Row, Timestamp, err};
use resource::{ActionFact, BoxFuture, Hooks, Kind, Map, Naming, Op, Page, Reply};
use serde_json::json;
use std::sync::Arc;
use store::work;
use task::{ArchivedTask, TaskRow};

struct TaskHooks;

impl Hooks for TaskHooks {
    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for i in 0..page.rows.len() {
                if let Some(error) = task::error_from_json(&page.rows[i].get("error").to_json()) {
                    page.add(i, "reason", http::i18n::message(&error, op.ctx.lang));
                }
            }
            Ok(())
        })
    }
}

fn history<'a>(_: &'a TaskHooks, op: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let mut db = &op.engine.db;
        let time = |t: Option<Timestamp>| t.map(|t| t.to_string());
        let steps: Vec<Json> = task::history(&mut db, row.id())
            .await?
            .into_iter()
            .map(|s| {
                json!({"name": s.name, "phase": s.phase, "state": s.state, "attempts": s.attempts, "started_at": s.started_at.to_string(), "ended_at": time(s.ended_at),
                    "error": task::error_from_json(&s.error).map(|e| http::i18n::message(&e, op.ctx.lang))})
            })
            .collect();
        Ok(Reply::Value(json!({ "steps": steps })))
    })
}

macro_rules! command {
    ($name:ident, $call:path) => {
        fn $name<'a>(_: &'a TaskHooks, op: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
            Box::pin(async move {
                let row = &row;
                op.engine
                    .db
                    .tx(|tx| {
                        work(async move {
                            $call(tx, row.id()).await?;
                            resource::audit(tx, op.ctx, row, stringify!($name), String::new()).await
                        })
                    })
                    .await?;
                Ok(Reply::Object)
            })
        }
    };
}
command!(cancel, task::cancel);
command!(retry, task::retry);
command!(skip, task::skip);
command!(abandon, task::abandon);

pub(crate) fn kinds() -> Vec<Kind> {
    let fact = |name, doc| ActionFact { name, doc, inputs: &[] };
    let hooks = Arc::new(TaskHooks);
    let running = Kind::new::<TaskRow, _>(&hooks)
        .naming(Naming::Free)
        .read_only()
        .spec(fact("history", "Its steps with their times and errors."), history)
        .action(fact("cancel", "Stop at the next step and take everything back."), cancel)
        .action(fact("retry", "Try the undo that keeps failing once more."), retry)
        .action(fact("skip", "Pass over the undo that keeps failing."), skip)
        .action(fact("abandon", "Give the task up as it is."), abandon)
        .done();
    let archived = Kind::new::<ArchivedTask, _>(&Arc::new(resource::NoHooks)).naming(Naming::Free).read_only().done();
    vec![running, archived]
}

/// The refusal of callbacks from agents that listen: ours dial in and report.
pub(crate) fn no_callbacks() -> base::Error {
    err!(UnsupportedOperation, "tasks take no callbacks here; agents report by /agent/observed")
}
