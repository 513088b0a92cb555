//! Takes one task from wherever it is to its end: forward through its body, or back through its undos.

use crate::engine::Core;
use crate::flow::Flow;
use crate::metrics::Outcome;
use crate::run::{Run, Written};
use crate::undo::run_undos;
use crate::{Phase, Task, TaskRow, is_cancelled, row, stage, start, state, status, worker};
use base::{Error, Json, Result, Timestamp};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use store::{Tx, set, work};
use tracing::Instrument;

/// A kind of task without its type.
pub(crate) struct Kind<E> {
    steps: u32,
    body: Arc<dyn Fn(Json) -> Result<Arc<dyn Body<E>>> + Send + Sync>,
}

impl<E> Clone for Kind<E> {
    fn clone(&self) -> Self {
        Kind { steps: self.steps, body: self.body.clone() }
    }
}

impl<E: Send + Sync + 'static> Kind<E> {
    pub fn of<T: Task<E>>() -> Kind<E> {
        let read = |params: Json| Ok(Arc::new(Typed(row::decode::<T>(params, T::NAME)?)) as Arc<dyn Body<E>>);
        Kind { steps: T::STEPS, body: Arc::new(read) }
    }
}

trait Body<E>: Send + Sync {
    fn run<'a>(&'a self, flow: &'a Flow<E>) -> BoxFuture<'a, Result<Json>>;
    fn failed<'a>(&'a self, env: &'a E, tx: &'a mut Tx, error: &'a Error) -> BoxFuture<'a, Result<()>>;
}

struct Typed<T>(T);

impl<E: Send + Sync + 'static, T: Task<E>> Body<E> for Typed<T> {
    fn run<'a>(&'a self, flow: &'a Flow<E>) -> BoxFuture<'a, Result<Json>> {
        Box::pin(self.0.run(flow))
    }
    fn failed<'a>(&'a self, env: &'a E, tx: &'a mut Tx, error: &'a Error) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.0.failed(env, tx, error))
    }
}

/// Names in the journal for troubles that are no step's; no step is called so.
const REPLAY: &str = "(replay)";
const MARK: &str = "(mark as failed)";

/// Works on a task until it ends, is stuck, or is somebody else's.
pub(crate) async fn drive<E: Send + Sync + 'static>(core: Arc<Core<E>>, mut row: TaskRow) {
    let span = tracing::info_span!("task", id = row.facts.id, kind = row.facts.task_name, request = row.facts.request_id);
    async move {
        let journal = loop {
            match worker::journal(&core, &row).await {
                Ok(journal) => break journal,
                Err(e) => {
                    tracing::warn!(error = %e, cause = e.context(), "the journal cannot be read; trying on");
                    tokio::time::sleep(core.backoff(5)).await;
                }
            }
        };
        let Some(kind) = core.kinds.get(row.facts.task_name.as_str()).cloned() else { return };
        if let (true, Some(start)) = (row.epoch == 1, row.facts.start_at) {
            core.metrics.queued_seconds.observe(start.since(row.facts.created_at) as f64 / 1e6);
        }
        let body = (kind.body)(std::mem::take(&mut row.facts.params));
        let run = Arc::new(Run::new(core, row, kind.steps, journal));
        tokio::select! {
            biased;
            () = run.gone() => {}
            () = to_the_end(&run, body) => {}
        }
    }
    .instrument(span)
    .await;
}

/// A panic in what an author wrote is an error like others: the task is undone.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        let words = words.unwrap_or_default();
        tracing::error!(panic = words, "the code of a task panicked");
        Err(Error::internal(format!("panic: {words}")))
    })
}

async fn to_the_end<E: Send + Sync + 'static>(run: &Arc<Run<E>>, body: Result<Arc<dyn Body<E>>>) {
    let body = match body {
        Ok(body) => body,
        Err(e) => match run.stick(REPLAY, 1, &e).await {},
    };
    let flow = Flow::new(run.clone());
    let result = caught(body.run(&flow)).await;
    if run.undoing().is_none() {
        match result {
            Ok(out) => match complete(run, out).await {
                true => return,
                // Asked to cancel after the last step: the end is a boundary too.
                false => drop(run.cancel_here().await),
            },
            Err(error) => run.turn(&error).await,
        }
    }
    let missed = run.unvisited();
    if !missed.is_empty() && run.journaled(Phase::Undo, REPLAY).is_none_or(|r| r.state != state::SKIPPED) {
        let error = Error::internal(format!("the body no longer comes by the steps {missed:?}, so they cannot be undone"));
        match run.stick(REPLAY, 1, &error).await {}
    }
    run_undos(run, flow.stack()).await;
    fail(run, body).await;
}

/// Ends the task as complete. False: it was cancelled before that.
async fn complete<E: Send + Sync + 'static>(run: &Run<E>, out: Json) -> bool {
    let id = &*run.id;
    // Its last step may have ended it.
    if run.row().facts.status != status::DONE
        && run.insist(run.complete(out), |tx| work(async move { start::release(tx, id).await })).await.is_none()
    {
        return false;
    }
    ended(run, "complete");
    true
}

/// Ends the task as failed, with its objects marked.
async fn fail<E: Send + Sync + 'static>(run: &Run<E>, body: Arc<dyn Body<E>>) {
    let error = &run.undoing().unwrap_or_else(crate::kind::cancelled);
    let sets = vec![
        set("status", status::DONE),
        set("stage", stage::FAILED),
        set("end_at", Some(run.core.now())),
        set("next_at", None::<Timestamp>),
        set("holder", ""),
    ];
    let mark = run.journaled(Phase::Undo, MARK).is_none_or(|r| r.state != state::SKIPPED);
    let (id, env, body) = (&*run.id, &*run.core.env, &*body);
    let mut attempts = 0;
    loop {
        let written = run.write(sets.clone(), |tx| {
            work(async move {
                if mark {
                    body.failed(env, tx, error).await?;
                }
                start::release(tx, id).await
            })
        });
        match caught(written).await {
            Ok(Written::Done(())) => break,
            Ok(Written::Lost) => match run.lose().await {},
            Ok(Written::Cancelled) => run.turn(error).await,
            Err(e) => {
                attempts += 1;
                if attempts >= run.core.options.undo_attempts {
                    match run.stick(MARK, attempts, &e).await {}
                }
                tokio::time::sleep(run.core.backoff(u32::try_from(attempts - 1).unwrap_or(u32::MAX))).await;
            }
        }
    }
    tracing::info!(error = %error, cause = error.context(), "task failed and is undone");
    ended(run, if is_cancelled(error) { "cancelled" } else { "failed" });
}

fn ended<E>(run: &Run<E>, outcome: &'static str) {
    run.core.metrics.ended.get_or_create(&Outcome { task: run.row().facts.task_name, outcome }).inc();
}
