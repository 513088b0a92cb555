//! How steps and calls are done: attempts, the journal, the way a failure is written down.

use crate::flow::{Entry, Flow};
use crate::hook::Moment;
use crate::kind::{Call, Step, cancelled};
use crate::run::{Run, Written, record, recorded, rollback};
use crate::undo::Undoable;
use crate::waits::CANCEL;
use crate::{Phase, StepKey, StepRow, row, start, state, status};
use base::{Error, Json, Result, Timestamp};
use std::time::Duration;
use store::{set, work};

/// Name of the point of no return in the journal.
pub(crate) const COMMIT: &str = "point of no return";

/// Attempts of one step so far.
pub(crate) struct Attempts {
    pub name: String,
    pub started: Timestamp,
    pub count: i64,
    /// Whether an earlier attempt may have committed without our knowing.
    pub unsure: bool,
}

impl Attempts {
    pub fn of<E>(run: &Run<E>, name: &str, begun: Option<&StepRow>) -> Attempts {
        Attempts {
            name: name.to_string(),
            started: begun.map_or_else(|| run.core.now(), |b| b.started_at),
            count: begun.map_or(0, |b| b.attempts),
            unsure: false,
        }
    }

    pub fn row<E>(&self, run: &Run<E>, state: &str) -> StepRow {
        run.begin(Phase::Act, &self.name, state, self.started, self.count)
    }
}

impl<E: Send + Sync + 'static> Run<E> {
    /// Waits before another attempt; a request to cancel ends it early.
    async fn pause(&self, attempt: i64) {
        let waiting = self.core.waits.register(vec![(CANCEL.to_string(), self.id.to_string())]);
        let long = self.core.backoff(u32::try_from(attempt.max(1) - 1).unwrap_or(u32::MAX));
        tokio::select! {
            () = waiting.woken.notified() => {}
            () = tokio::time::sleep(long) => {}
        }
    }

    /// The task was cancelled at this boundary.
    pub async fn cancel_here(&self) -> Error {
        let error = cancelled();
        self.turn(&error).await;
        error
    }

    /// Takes an error of an attempt: waits and returns for another one, or writes the failure down. `Ok(Some)`: the attempt had committed after all.
    pub async fn failed(&self, attempts: &mut Attempts, patience: Duration, error: Error) -> Result<Option<StepRow>> {
        let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
        if error.retryable() && self.core.now().since(attempts.started) < patience {
            self.core.metrics.retries.inc();
            attempts.unsure = true;
            // Written at the first and then ever more rarely: enough for people to see what it hangs on.
            if attempts.count.count_ones() == 1 {
                tracing::info!(task = %self.id, step = attempts.name, %error, cause = error.context(), "a step will be tried again");
                let note = StepRow { error: row::error_to_json(&error), ..attempts.row(self, state::BEGUN) };
                if self.note(&note).await.is_none() {
                    return Err(self.cancel_here().await);
                }
            }
            self.pause(attempts.count).await;
            return Ok(None);
        }
        self.give_up(attempts, error).await.map(Some)
    }

    /// Writes a row that is not the end of its step, unless the end is there already. `None`: cancelled.
    async fn note(&self, note: &StepRow) -> Option<()> {
        self.insist(self.place(status::RUNNING, &note.name, 0), |tx| {
            work(async move {
                match recorded(tx, &note.task_id, Phase::Act, &note.name).await? {
                    Some(row) if row.state == state::DONE => Ok(()),
                    _ => record(tx, note).await,
                }
            })
        })
        .await
    }

    /// Writes down that a step failed for good.
    pub async fn give_up(&self, attempts: &Attempts, error: Error) -> Result<StepRow> {
        let row = StepRow { error: row::error_to_json(&error), ended_at: Some(self.core.now()), ..attempts.row(self, state::FAILED) };
        let row = &row;
        let written = self.insist(self.place(status::RUNNING, &attempts.name, 0), |tx| {
            work(async move {
                // A commit whose answer was lost looks like a failure; the journal knows better.
                match recorded(tx, &row.task_id, Phase::Act, &row.name).await? {
                    Some(done) if done.state == state::DONE => Ok(done),
                    _ => record(tx, row).await.map(|()| row.clone()),
                }
            })
        });
        match written.await {
            None => Err(self.cancel_here().await),
            Some(done) if done.state == state::DONE => Ok(done),
            Some(failed) => {
                tracing::debug!(task = %self.id, step = attempts.name, %error, cause = error.context(), "a step failed");
                self.committed(Phase::Act, failed);
                Err(error)
            }
        }
    }
}

impl<E: Send + Sync + 'static> Flow<E> {
    /// Does a step. `undo` gets the output and makes what is put on the stack. The `last` ends the task.
    pub(crate) async fn act<S, U>(&self, name: &str, step: &S, last: bool, undo: U) -> Result<S::Out>
    where
        S: Step<E>,
        U: FnOnce(Json) -> Option<Box<dyn Undoable<E>>>,
    {
        let run = &*self.run;
        let begun = match self.entry(name)? {
            Entry::Done(row) => return self.returned(name, row, undo),
            Entry::Failed(error) => return Err(error),
            Entry::Begun(row) => Some(row),
            Entry::New => None,
        };
        let _busy = run.busy();
        let key = run.key(name);
        let mut attempts = Attempts::of(run, name, begun.as_ref());
        let done = loop {
            attempts.count += 1;
            match self.act_once(step, &key, &attempts, last).await {
                Ok(Written::Done(row)) => break row,
                Ok(Written::Cancelled) => return Err(run.cancel_here().await),
                Ok(Written::Lost) => match run.lose().await {},
                Err(error) => {
                    if let Some(row) = run.failed(&mut attempts, step.patience(), error).await? {
                        break row;
                    }
                }
            }
        };
        run.committed(Phase::Act, done.clone());
        let out = self.returned(name, done, undo);
        // After the last one there is nothing left to disturb.
        if !last {
            run.at(Phase::Act, name, Moment::After).await?;
        }
        out
    }

    async fn act_once<S: Step<E>>(&self, step: &S, key: &StepKey, attempts: &Attempts, last: bool) -> Result<Written<StepRow>> {
        let run = &*self.run;
        let name = attempts.name.as_str();
        let env = &*run.core.env;
        if run.at(Phase::Act, name, Moment::Before).await? {
            let rehearsal = run.write(Vec::new(), |tx| {
                work(async move {
                    step.act(env, tx, key).await?;
                    Err::<(), Error>(rollback())
                })
            });
            if let Err(e) = rehearsal.await
                && e.class() != rollback().class()
            {
                return Err(e);
            }
        }
        let sets = if last { run.complete(Json::Null) } else { run.place(status::RUNNING, name, 0) };
        run.write(sets, |tx| {
            work(async move {
                if attempts.unsure
                    && let Some(done) = recorded(tx, &run.id, Phase::Act, name).await?.filter(|r| r.state == state::DONE)
                {
                    return Ok(done);
                }
                let out = step.act(env, tx, key).await?;
                run.at(Phase::Act, name, Moment::Inside).await?;
                let done = StepRow { output: row::encode(&out, name)?, ended_at: Some(tx.now()), ..attempts.row(run, state::DONE) };
                record(tx, &done).await?;
                if last {
                    start::release(tx, &run.id).await?;
                }
                Ok(done)
            })
        })
        .await
    }

    /// The output of a journaled step, with its undo on the stack.
    fn returned<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        row: StepRow,
        undo: impl FnOnce(Json) -> Option<Box<dyn Undoable<E>>>,
    ) -> Result<T> {
        if let Some(undo) = undo(row.output.clone()) {
            self.keep(name, undo);
        }
        row::decode(row.output, name)
    }

    /// Makes a call: journaled as begun, made, journaled as done.
    pub(crate) async fn ring<C, U>(&self, name: &str, call: &C, undo: U) -> Result<C::Out>
    where
        C: Call<E>,
        U: FnOnce(Option<Json>) -> Option<Box<dyn Undoable<E>>>,
    {
        let run = &*self.run;
        let known = run.journaled(Phase::Act, name);
        let begun = match self.entry(name)? {
            Entry::Done(row) => return self.returned(name, row, |out| undo(Some(out))),
            Entry::Failed(error) => {
                // Whatever it did before it failed has to go too, if it ever began.
                if known.is_some()
                    && let Some(undo) = undo(None)
                {
                    self.keep(name, undo);
                }
                return Err(error);
            }
            Entry::Begun(row) => Some(row),
            Entry::New => None,
        };
        let _busy = run.busy();
        let key = run.key(name);
        let mut attempts = Attempts::of(run, name, begun.as_ref());
        if begun.is_none() && C::NO_UNDO.is_empty() {
            let note = attempts.row(run, state::BEGUN);
            let note = &note;
            if run.insist(run.place(status::RUNNING, name, 0), |tx| work(record(tx, note))).await.is_none() {
                return Err(run.cancel_here().await);
            }
            run.committed(Phase::Act, note.clone());
        }
        let done = loop {
            attempts.count += 1;
            let result = match self.ring_once(call, &key, &attempts).await {
                Ok(Written::Done(row)) => Ok(Some(row)),
                Ok(Written::Cancelled) => Err(run.cancel_here().await),
                Ok(Written::Lost) => match run.lose().await {},
                Err(error) => run.failed(&mut attempts, call.patience(), error).await,
            };
            match result {
                Ok(Some(row)) => break row,
                Ok(None) => {}
                Err(error) => {
                    if let Some(undo) = undo(None) {
                        self.keep(name, undo);
                    }
                    return Err(error);
                }
            }
        };
        run.committed(Phase::Act, done.clone());
        let out = self.returned(name, done, |out| undo(Some(out)));
        run.at(Phase::Act, name, Moment::After).await?;
        out
    }

    async fn ring_once<C: Call<E>>(&self, call: &C, key: &StepKey, attempts: &Attempts) -> Result<Written<StepRow>> {
        let run = &*self.run;
        let name = attempts.name.as_str();
        if run.at(Phase::Act, name, Moment::Before).await? {
            call.call(&run.core.env, key).await?;
        }
        let out = call.call(&run.core.env, key).await?;
        run.at(Phase::Act, name, Moment::Inside).await?;
        let done = StepRow { output: row::encode(&out, name)?, ended_at: Some(run.core.now()), ..attempts.row(run, state::DONE) };
        let done = &done;
        run.write(run.place(status::RUNNING, name, 0), |tx| work(async move { record(tx, done).await.map(|()| done.clone()) })).await
    }

    pub(crate) async fn commit(&self) -> Result<()> {
        let run = &*self.run;
        let name = COMMIT;
        let begun = match self.entry(name)? {
            Entry::Done(_) => return Ok(()),
            Entry::Failed(error) => return Err(error),
            Entry::Begun(row) => Some(row),
            Entry::New => None,
        };
        let _busy = run.busy();
        run.at(Phase::Act, name, Moment::Before).await?;
        let attempts = Attempts::of(run, name, begun.as_ref());
        let mut sets = run.place(status::RUNNING, name, 0);
        sets.push(set("committed", true));
        let attempts = &attempts;
        let written = run.insist(sets, |tx| {
            work(async move {
                // No other step of this task ends while this is written.
                let done = StepRow { output: self.undoable().into(), ended_at: Some(attempts.started), ..attempts.row(run, state::DONE) };
                record(tx, &done).await.map(|()| done)
            })
        });
        let Some(done) = written.await else { return Err(run.cancel_here().await) };
        self.seal(&done);
        run.committed(Phase::Act, done);
        run.at(Phase::Act, name, Moment::After).await.map(drop)
    }
}
