//! The way back: undos on a stack, done in reverse, each journaled, each tried until it works or an operator has to look.

use crate::drive::caught;
use crate::hook::Moment;
use crate::kind::{Call, Step, cancelled};
use crate::run::{Run, Written, record, rollback};
use crate::waits::END;
use crate::{Phase, StepRow, operate, row, state, status};
use base::{Error, Json, Result, err};
use futures_util::future::BoxFuture;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::work;

/// Takes back one step and journals that in the same transaction, or right after an effect outside. `row` is the journal's row to write.
pub(crate) trait Undoable<E>: Send + Sync {
    fn undo<'a>(&'a self, run: &'a Run<E>, row: &'a StepRow, twice: bool) -> BoxFuture<'a, Result<Written<()>>>;
}

struct Entry<E> {
    name: String,
    how: Box<dyn Undoable<E>>,
}

/// Undos in the order of the steps.
pub(crate) struct Stack<E>(Arc<Mutex<Vec<Entry<E>>>>);

impl<E> Default for Stack<E> {
    fn default() -> Self {
        Stack(Arc::default())
    }
}

impl<E> Clone for Stack<E> {
    fn clone(&self) -> Self {
        Stack(self.0.clone())
    }
}

impl<E> Stack<E> {
    fn with<T>(&self, f: impl FnOnce(&mut Vec<Entry<E>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
    pub fn push(&self, name: &str, how: Box<dyn Undoable<E>>) {
        self.with(|s| s.push(Entry { name: name.to_string(), how }));
    }
    pub fn append(&self, other: &Stack<E>) {
        let mut more = other.with(std::mem::take);
        self.with(|s| s.append(&mut more));
    }
    pub fn names(&self) -> Vec<String> {
        self.with(|s| s.iter().map(|entry| entry.name.clone()).collect())
    }
    pub fn forget(&self, names: &HashSet<String>) {
        self.with(|s| s.retain(|entry| !names.contains(&entry.name)));
    }
    fn pop(&self) -> Option<Entry<E>> {
        self.with(Vec::pop)
    }
}

/// Undoes what is on the stack. Returns when all of it is undone or skipped; a task that gets stuck does not return.
pub(crate) async fn run_undos<E: Send + Sync + 'static>(run: &Run<E>, stack: &Stack<E>) {
    while let Some(entry) = stack.pop() {
        let name = entry.name.as_str();
        if run.journaled(Phase::Undo, name).is_some_and(|r| [state::DONE, state::SKIPPED].contains(&r.state.as_str())) {
            continue;
        }
        let _busy = run.busy();
        let started = run.core.now();
        let mut attempts = 0;
        let row = loop {
            attempts += 1;
            let row = StepRow { ended_at: Some(run.core.now()), ..run.begin(Phase::Undo, name, state::DONE, started, attempts) };
            let result = match run.at(Phase::Undo, name, Moment::Before).await {
                Ok(twice) => caught(entry.how.undo(run, &row, twice)).await,
                Err(e) => Err(e),
            };
            match result {
                Ok(Written::Done(())) => break row,
                Ok(Written::Lost) => match run.lose().await {},
                // Asked to cancel while a part of the body goes back: then all of it does.
                Ok(Written::Cancelled) => run.turn(&cancelled()).await,
                Err(error) => {
                    if attempts >= run.core.options.undo_attempts {
                        match run.stick(name, attempts, &error).await {}
                    }
                    if attempts == 1 {
                        tracing::info!(task = %run.id, step = name, %error, cause = error.context(), "an undo failed and will be tried again");
                    }
                    tokio::time::sleep(run.core.backoff(u32::try_from(attempts - 1).unwrap_or(u32::MAX))).await;
                }
            }
        };
        run.committed(Phase::Undo, row);
        run.core.metrics.undone.inc();
        if let Err(e) = run.at(Phase::Undo, name, Moment::After).await {
            tracing::debug!(error = %e, "the hook cannot fail what is written");
        }
    }
}

pub(crate) struct UndoStep<S> {
    pub step: Arc<S>,
    pub out: Json,
}

impl<E: Send + Sync + 'static, S: Step<E> + 'static> Undoable<E> for UndoStep<S> {
    fn undo<'a>(&'a self, run: &'a Run<E>, row: &'a StepRow, twice: bool) -> BoxFuture<'a, Result<Written<()>>> {
        Box::pin(async move {
            let out: S::Out = row::decode(self.out.clone(), &row.name)?;
            let (out, key, env) = (&out, &run.key(&row.name), &*run.core.env);
            if twice {
                let rehearsal = run.write(Vec::new(), |tx| {
                    work(async move {
                        self.step.undo(env, tx, key, out).await?;
                        Err::<(), Error>(rollback())
                    })
                });
                if let Err(e) = rehearsal.await
                    && e.class() != rollback().class()
                {
                    return Err(e);
                }
            }
            run.write(run.place(run.way(), &row.name, 0), |tx| {
                work(async move {
                    self.step.undo(env, tx, key, out).await?;
                    run.at(Phase::Undo, &row.name, Moment::Inside).await?;
                    record(tx, row).await
                })
            })
            .await
        })
    }
}

pub(crate) struct UndoCall<C> {
    pub call: Arc<C>,
    pub out: Option<Json>,
}

impl<E: Send + Sync + 'static, C: Call<E> + 'static> Undoable<E> for UndoCall<C> {
    fn undo<'a>(&'a self, run: &'a Run<E>, row: &'a StepRow, twice: bool) -> BoxFuture<'a, Result<Written<()>>> {
        Box::pin(async move {
            let out: Option<C::Out> = self.out.clone().map(|out| row::decode(out, &row.name)).transpose()?;
            let key = run.key(&row.name);
            if twice {
                self.call.undo_call(&run.core.env, &key, out.as_ref()).await?;
            }
            self.call.undo_call(&run.core.env, &key, out.as_ref()).await?;
            run.at(Phase::Undo, &row.name, Moment::Inside).await?;
            run.write(run.place(run.way(), &row.name, 0), |tx| work(record(tx, row))).await
        })
    }
}

/// A child goes back as a whole: cancelled when it runs, taken back when it had completed.
pub(crate) struct UndoSub {
    pub id: String,
}

impl<E: Send + Sync + 'static> Undoable<E> for UndoSub {
    fn undo<'a>(&'a self, run: &'a Run<E>, row: &'a StepRow, _: bool) -> BoxFuture<'a, Result<Written<()>>> {
        Box::pin(async move {
            let why = run.undoing().unwrap_or_else(|| err!(Conflict, "the part of task {} it belonged to failed", run.id));
            let why = &why;
            let waiting = run.core.waits.register(vec![(END.to_string(), self.id.clone())]);
            loop {
                let result = run.write(run.place(run.way(), &row.name, 0), |tx| {
                    work(async move {
                        let pending = operate::revert(tx, &self.id, why).await?;
                        if !pending {
                            run.at(Phase::Undo, &row.name, Moment::Inside).await?;
                            record(tx, row).await?;
                        }
                        Ok(pending)
                    })
                });
                match result.await? {
                    Written::Done(true) => {}
                    Written::Done(false) => return Ok(Written::Done(())),
                    Written::Cancelled => return Ok(Written::Cancelled),
                    Written::Lost => return Ok(Written::Lost),
                }
                let _parked = run.park();
                tokio::select! {
                    () = waiting.woken.notified() => {}
                    () = tokio::time::sleep(run.core.jitter(Duration::from_secs(30))) => {}
                }
            }
        })
    }
}

impl<E: Send + Sync> Run<E> {
    /// The status word of a body that goes back: only an attempt does in a task that runs.
    fn way(&self) -> &'static str {
        if self.undoing().is_some() { status::UNDOING } else { status::RUNNING }
    }
}
