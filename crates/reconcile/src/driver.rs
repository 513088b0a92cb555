//! Runs reconcilers: one loop each, with its period, its activations, its back-off and its turn.

use crate::{Counts, Last, Phase, Reconciler, Scope, Status, Turn};
use base::{Clock, Error, Result, err};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{Db, Lease};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Pause after the first failure; it doubles with each further one, up to the period or [`LONGEST`], whichever is longer.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// What the loop, its handles and the registry share.
struct Shared {
    status: Mutex<Status>,
    /// Number of the last activation asked for; the loop answers with the number it had seen when the run began.
    asked: watch::Sender<u64>,
    /// (highest activation answered by a run that ended, runs ended)
    answered: watch::Sender<u64>,
    /// Whether an operator wants a run even while it backs off.
    forced: watch::Sender<u64>,
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks one reconciler to run.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Something may have changed: a whole run begins after this call, soon. While the reconciler backs off it begins when the back-off ends.
    pub fn activate(&self) {
        self.0.asked.send_modify(|n| *n += 1);
    }

    /// Runs now, back-off or not, and returns how that run ended: for operators and tests.
    ///
    /// # Errors
    /// `ServiceAbnormal` when the reconciler is stopped.
    pub async fn run_now(&self) -> Result<Last> {
        let mut answered = self.0.answered.subscribe();
        let mut number = 0;
        self.0.asked.send_modify(|n| {
            *n += 1;
            number = *n;
        });
        self.0.forced.send_replace(number);
        let stopped = || err!(ServiceAbnormal, "the reconciler {} is stopped", self.0.status().name);
        answered.wait_for(|n| *n >= number).await.map_err(|_| stopped())?;
        let status = self.0.status();
        match (&status.last, status.phase) {
            (_, Phase::Stopped) | (None, _) => {
                drop(status);
                Err(stopped())
            }
            (Some(last), _) => Ok(last.clone()),
        }
    }

    pub fn status(&self) -> Status {
        self.0.status().clone()
    }
}

/// The reconcilers of a service. Dropping it stops them.
pub struct Reconcilers {
    db: Option<Db>,
    clock: Clock,
    holder: String,
    handles: Vec<Handle>,
    loops: JoinSet<()>,
}

impl Reconcilers {
    /// With a database, whose leases are used for turns.
    pub fn new(db: &Db) -> Reconcilers {
        let mut out = Reconcilers::without_database(db.clock().clone());
        out.db = Some(db.clone());
        out
    }

    /// For agents, which have none: all reconcilers are the process's own.
    pub fn without_database(clock: Clock) -> Reconcilers {
        Reconcilers { db: None, clock, holder: base::new_id(), handles: Vec::new(), loops: JoinSet::new() }
    }

    /// Starts a reconciler: its first run is at once. Called in a runtime.
    ///
    /// # Panics
    /// When two have one name, or one that wants turns in a cluster has no database: errors in our own code.
    pub fn add(&mut self, reconciler: impl Reconciler) -> Handle {
        let (name, period) = (reconciler.name(), reconciler.period());
        assert!(self.handles.iter().all(|h| h.0.status().name != name), "two reconcilers are called {name}");
        assert!(self.db.is_some() || reconciler.scope() == Scope::Process, "the reconciler {name} wants turns, and there is no database");
        let status = Status { name: name.clone(), period, ..Status::default() };
        let shared = Arc::new(Shared {
            status: Mutex::new(status),
            asked: watch::Sender::new(0),
            answered: watch::Sender::new(0),
            forced: watch::Sender::new(0),
        });
        let dice = name
            .bytes()
            .chain(self.holder.bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let work = Loop {
            reconciler,
            shared: shared.clone(),
            db: self.db.clone(),
            clock: self.clock.clone(),
            holder: format!("{}/{name}", self.holder),
            dice: dice | 1,
        };
        self.loops.spawn(work.go());
        let handle = Handle(shared);
        self.handles.push(handle.clone());
        handle
    }

    /// Of all, in the order in which they were added.
    pub fn status(&self) -> Vec<Status> {
        self.handles.iter().map(Handle::status).collect()
    }

    pub fn handle(&self, name: &str) -> Option<Handle> {
        self.handles.iter().find(|h| h.0.status().name == name).cloned()
    }

    /// Stops all at their next await point.
    pub async fn stop(mut self) {
        self.loops.shutdown().await;
    }
}

impl Drop for Reconcilers {
    fn drop(&mut self) {
        for Handle(shared) in &self.handles {
            shared.status().phase = Phase::Stopped;
            // Whoever waits for a run learns that none will come.
            shared.answered.send_replace(u64::MAX);
        }
    }
}

struct Loop<R> {
    reconciler: R,
    shared: Arc<Shared>,
    db: Option<Db>,
    clock: Clock,
    holder: String,
    dice: u64,
}

/// Whether a run took place.
enum Ran {
    Yes(Result<Counts>),
    /// Another process has the turn.
    Elsewhere,
}

impl<R: Reconciler> Loop<R> {
    async fn go(mut self) {
        let mut asked = self.shared.asked.subscribe();
        let mut forced = self.shared.forced.subscribe();
        loop {
            let seen = *asked.borrow_and_update();
            forced.mark_unchanged();
            let pause = match self.once(seen).await {
                Ran::Yes(Ok(_)) => self.reconciler.period(),
                Ran::Yes(Err(_)) => {
                    // Asked or not, a failing one is left in peace for a while; only an operator is obeyed.
                    let failing = self.shared.status().failing;
                    let rest = self
                        .jitter(FIRST.saturating_mul(2_u32.saturating_pow(failing.min(20) - 1)).min(self.reconciler.period().max(LONGEST)));
                    tokio::select! {
                        () = tokio::time::sleep(rest) => {}
                        _ = forced.changed() => {}
                    }
                    continue;
                }
                // An activation wants a run that begins after it: the other process's may have begun before.
                Ran::Elsewhere if seen > *self.shared.answered.borrow() => FIRST,
                Ran::Elsewhere => self.reconciler.period(),
            };
            let pause = self.jitter(pause);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = asked.changed() => {}
            }
        }
    }

    async fn once(&mut self, seen: u64) -> Ran {
        let (started, clock) = (self.clock.now(), Instant::now());
        self.shared.status().phase = Phase::Running;
        let result = match self.turn().await {
            Ran::Elsewhere => {
                self.shared.status().phase = Phase::Elsewhere;
                return Ran::Elsewhere;
            }
            Ran::Yes(result) => result,
        };
        {
            let mut status = self.shared.status();
            let last =
                Last { started, took: clock.elapsed(), error: result.as_ref().err().map(full), counts: result.clone().unwrap_or_default() };
            status.runs += 1;
            match &result {
                Ok(_) => {
                    if status.failing > 0 {
                        tracing::info!(reconciler = status.name, failures = status.failing, "reconciler works again");
                    }
                    (status.phase, status.failing) = (Phase::Idle, 0);
                    status.last_success = Some(last.clone());
                }
                Err(e) => {
                    // Said once; that it goes on failing is in the status and the figures.
                    if status.failing == 0 {
                        tracing::warn!(reconciler = status.name, error = %e, cause = e.context(), "reconciler failed");
                    }
                    (status.phase, status.failing) = (Phase::BackingOff, status.failing + 1);
                    status.failures += 1;
                }
            }
            status.last = Some(last);
        }
        self.shared.answered.send_if_modified(|n| std::mem::replace(n, seen.max(*n)) < seen);
        Ran::Yes(result)
    }

    /// Gets the turn, runs, gives it back.
    async fn turn(&self) -> Ran {
        let (Scope::Cluster { term }, Some(db)) = (self.reconciler.scope(), &self.db) else {
            return Ran::Yes(self.guarded(&Turn { lease: None }).await);
        };
        let lease = match db.leases().acquire(&format!("reconcile/{}", self.reconciler.name()), &self.holder, term).await {
            Ok(Some(lease)) => lease,
            Ok(None) => return Ran::Elsewhere,
            Err(e) => return Ran::Yes(Err(e)),
        };
        let turn = Turn { lease: Some(lease.clone()) };
        let result = tokio::select! {
            result = self.guarded(&turn) => result,
            lost = keep(db, &lease, term) => Err(lost),
        };
        if let Err(e) = db.leases().release(lease).await {
            tracing::debug!(error = %e, "the turn was not given back; it ends by itself");
        }
        Ran::Yes(result)
    }

    /// A panic ends the run, not the reconciler.
    async fn guarded(&self, turn: &Turn) -> Result<Counts> {
        AssertUnwindSafe(self.reconciler.run(turn)).catch_unwind().await.unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Error::internal(format!("panic: {}", words.unwrap_or_default())))
        })
    }

    fn jitter(&mut self, pause: Duration) -> Duration {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        pause.mul_f64(0.9 + (self.dice % 1000) as f64 / 5000.0)
    }
}

/// Renews the turn for as long as that works.
async fn keep(db: &Db, lease: &Lease, term: Duration) -> Error {
    let mut heard = Instant::now();
    loop {
        tokio::time::sleep(term / 3).await;
        match db.leases().renew(lease, term).await {
            Ok(_) => heard = Instant::now(),
            Err(e) if e.class() == base::Class::Conflict || heard.elapsed() > term => return e,
            Err(e) => tracing::debug!(error = %e, "the turn could not be renewed; trying on"),
        }
    }
}

fn full(e: &Error) -> String {
    match e.context() {
        Some(context) => format!("{e} ({context})"),
        None => e.to_string(),
    }
}
