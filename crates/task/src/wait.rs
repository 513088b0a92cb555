//! How waits and probes wait: a look, then sleep until the feed, a timer or a deadline, then another look.

use crate::act::Attempts;
use crate::flow::{Entry, Flow};
use crate::hook::Moment;
use crate::kind::{Polled, Probe, Wait};
use crate::run::{Fence, Run, Written, record, rollback};
use crate::waits::{CANCEL, Watched};
use crate::{Phase, StepRow, row, state, status};
use base::{Error, Result, Timestamp};
use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use store::work;

/// What one look came to.
pub(crate) enum Seen {
    /// Journaled.
    Ready(Box<StepRow>),
    Pending,
    Progress(i64),
}

/// A way to look; `done` is the journal's row to write, but for the output.
pub(crate) trait Look<E>: Send + Sync {
    fn watches(&self) -> Vec<Watched>;
    fn deadline(&self) -> Option<Duration>;
    fn late(&self) -> Error;
    fn every(&self) -> Duration;
    fn due(&self) -> Option<Timestamp> {
        None
    }
    fn look<'a>(&'a self, run: &'a Run<E>, done: StepRow) -> BoxFuture<'a, Result<Written<Seen>>>;
}

/// Errors that may pass are borne for this long in a row, then the wait fails.
const PATIENCE: Duration = Duration::from_secs(120);

impl<E: Send + Sync + 'static> Flow<E> {
    pub(crate) async fn await_look<T: serde::de::DeserializeOwned>(&self, name: &str, look: &dyn Look<E>) -> Result<T> {
        let run = &*self.run;
        let mut begun = match self.entry(name)? {
            Entry::Done(row) => return row::decode(row.output, name),
            Entry::Failed(error) => return Err(error),
            Entry::Begun(row) => Some(row),
            Entry::New => None,
        };
        // Registered before the first look, so that nothing falls between the look and the wait.
        let mut watched = look.watches();
        watched.push((CANCEL.to_string(), run.id.to_string()));
        let waiting = run.core.waits.register(watched);
        let _busy = run.busy();
        let attempts = Attempts::of(run, name, begun.as_ref());
        let mut within = 0;
        let mut trouble: Option<(tokio::time::Instant, u32)> = None;
        let mut before = run.at(Phase::Act, name, Moment::Before).await.map(drop);
        let done = loop {
            run.core.metrics.polls.inc();
            let result = match std::mem::replace(&mut before, Ok(())) {
                Ok(()) => look.look(run, attempts.row(run, state::DONE)).await,
                Err(e) => Err(e),
            };
            let mut pause = run.core.jitter(look.every());
            let mut moved = begun.is_none();
            match result {
                Ok(Written::Done(Seen::Ready(row))) => break *row,
                Ok(Written::Cancelled) => return Err(run.cancel_here().await),
                Ok(Written::Lost) => match run.lose().await {},
                Ok(Written::Done(seen)) => {
                    trouble = None;
                    if let Seen::Progress(percent) = seen {
                        moved |= percent != within;
                        within = percent.clamp(0, 100);
                    }
                }
                Err(error) => {
                    let (since, count) = trouble.map_or((tokio::time::Instant::now(), 0), |(s, n)| (s, n + 1));
                    if !error.retryable() || since.elapsed() > PATIENCE {
                        break run.give_up(&attempts, error).await?;
                    }
                    run.core.metrics.retries.inc();
                    trouble = Some((since, count));
                    pause = pause.min(run.core.backoff(count));
                }
            }
            if moved {
                let note = attempts.row(run, state::BEGUN);
                let (fresh, note) = (begun.is_none(), &note);
                let place = run.place(status::WAITING, name, within);
                let written = run.insist(place, |tx| work(async move { if fresh { record(tx, note).await } else { Ok(()) } })).await;
                if written.is_none() {
                    return Err(run.cancel_here().await);
                }
                begun = Some(note.clone());
            }
            let now = run.core.now();
            let micros = |n: i64| Duration::from_micros(u64::try_from(n).unwrap_or(0));
            if let Some(deadline) = look.deadline() {
                let left = deadline.saturating_sub(micros(now.since(attempts.started)));
                if left.is_zero() {
                    break run.give_up(&attempts, look.late()).await?;
                }
                pause = pause.min(left);
            }
            if let Some(due) = look.due() {
                pause = pause.min(micros(due.since(now)).max(Duration::from_millis(1)));
            }
            let _parked = run.park();
            tokio::select! {
                () = waiting.woken.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        };
        run.committed(Phase::Act, done.clone());
        run.at(Phase::Act, name, Moment::After).await?;
        row::decode(done.output, name)
    }
}

pub(crate) struct ByWait<'w, W>(pub &'w W);

impl<E: Send + Sync + 'static, W: Wait<E>> Look<E> for ByWait<'_, W> {
    fn watches(&self) -> Vec<Watched> {
        self.0.watches()
    }
    fn deadline(&self) -> Option<Duration> {
        self.0.deadline()
    }
    fn late(&self) -> Error {
        self.0.late()
    }
    fn every(&self) -> Duration {
        self.0.every()
    }
    fn due(&self) -> Option<Timestamp> {
        self.0.due()
    }

    fn look<'a>(&'a self, run: &'a Run<E>, done: StepRow) -> BoxFuture<'a, Result<Written<Seen>>> {
        Box::pin(async move {
            const READY: i64 = -1;
            const PENDING: i64 = -2;
            let (pending, done) = (AtomicI64::new(READY), &done);
            let seen = &pending;
            let _order = run.in_order().await;
            let _permit = run.core.ops.acquire().await;
            let result = run.core.db.tx(|tx| {
                work(async move {
                    seen.store(READY, Ordering::SeqCst);
                    match run.look(tx).await? {
                        Fence::Held(_) => {}
                        Fence::Cancelled => return Ok(Written::Cancelled),
                        Fence::Lost => return Ok(Written::Lost),
                    }
                    let out = match self.0.poll(&run.core.env, tx).await? {
                        Polled::Ready(out) => row::encode(&out, &done.name)?,
                        Polled::Pending => {
                            seen.store(PENDING, Ordering::SeqCst);
                            return Err(rollback());
                        }
                        Polled::Progress(percent) => {
                            seen.store(percent.max(0), Ordering::SeqCst);
                            return Err(rollback());
                        }
                    };
                    run.at(Phase::Act, &done.name, Moment::Inside).await?;
                    Ok(match run.open(tx, run.place(status::RUNNING, &done.name, 0)).await? {
                        Fence::Held(next) => {
                            let done = StepRow { output: out, ended_at: Some(tx.now()), ..done.clone() };
                            record(tx, &done).await?;
                            Written::Done((next, done))
                        }
                        Fence::Cancelled => Written::Cancelled,
                        Fence::Lost => Written::Lost,
                    })
                })
            });
            match (result.await, pending.load(Ordering::SeqCst)) {
                (Ok(Written::Done((next, done))), _) => {
                    run.settle(*next);
                    Ok(Written::Done(Seen::Ready(Box::new(done))))
                }
                (Ok(Written::Cancelled), _) => Ok(Written::Cancelled),
                (Ok(Written::Lost), _) => Ok(Written::Lost),
                (Err(_), PENDING) => Ok(Written::Done(Seen::Pending)),
                (Err(_), percent) if percent >= 0 => Ok(Written::Done(Seen::Progress(percent))),
                (Err(e), _) => {
                    run.unsettle();
                    Err(e)
                }
            }
        })
    }
}

pub(crate) struct ByProbe<'p, P>(pub &'p P);

impl<E: Send + Sync + 'static, P: Probe<E>> Look<E> for ByProbe<'_, P> {
    fn watches(&self) -> Vec<Watched> {
        Vec::new()
    }
    fn deadline(&self) -> Option<Duration> {
        Some(self.0.deadline())
    }
    fn late(&self) -> Error {
        self.0.late()
    }
    fn every(&self) -> Duration {
        self.0.every()
    }

    fn look<'a>(&'a self, run: &'a Run<E>, done: StepRow) -> BoxFuture<'a, Result<Written<Seen>>> {
        Box::pin(async move {
            let out = match self.0.probe(&run.core.env, &run.key(&done.name)).await? {
                Polled::Ready(out) => row::encode(&out, &done.name)?,
                Polled::Pending => return Ok(run.still().await?.map_or(Written::Done(Seen::Pending), |w| w)),
                Polled::Progress(percent) => return Ok(run.still().await?.map_or(Written::Done(Seen::Progress(percent)), |w| w)),
            };
            run.at(Phase::Act, &done.name, Moment::Inside).await?;
            let done = StepRow { output: out, ended_at: Some(run.core.now()), ..done };
            let row = &done;
            let written = run.write(run.place(status::RUNNING, &done.name, 0), |tx| work(record(tx, row))).await?;
            Ok(match written {
                Written::Done(()) => Written::Done(Seen::Ready(Box::new(done))),
                Written::Cancelled => Written::Cancelled,
                Written::Lost => Written::Lost,
            })
        })
    }
}

impl<E: Send + Sync + 'static> Run<E> {
    /// Whether the task is somebody else's or cancelled by now; `None` when all is as it was.
    async fn still(&self) -> Result<Option<Written<Seen>>> {
        let fence = self.core.db.tx(|tx| work(async move { self.look(tx).await })).await?;
        Ok(match fence {
            Fence::Held(_) => None,
            Fence::Cancelled => Some(Written::Cancelled),
            Fence::Lost => Some(Written::Lost),
        })
    }
}
