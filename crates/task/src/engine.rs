//! The engine object: what kinds of task there are, what they run in, and the loop that works on them.

use crate::drive::{Kind, drive};
use crate::hook::Hook;
use crate::metrics::Metrics;
use crate::waits::{CANCEL, END, Waits};
use crate::{Task, TaskRow, status, worker};
use base::{Resource, Result, Timestamp};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{Change, Db};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

/// How an engine works; the defaults are for services.
#[derive(Clone)]
pub struct Options {
    /// Bodies at work at a time; those that only wait do not count.
    pub active: usize,
    /// Transactions of bodies at a time.
    pub transactions: usize,
    /// Names the place this process runs at, such as service and host. A process that starts at the same place takes over what its predecessor
    /// had at once, without waiting for the lease to run out; two living processes must not share one. Empty: no place.
    pub node: String,
    /// How long a worker that is not heard of keeps its tasks.
    pub lease: Duration,
    /// First pause between attempts; it doubles each time.
    pub retry_first: Duration,
    pub retry_longest: Duration,
    /// Attempts of an undo before the task is stuck.
    pub undo_attempts: i64,
    /// How often to look for tasks nobody told of: those due later, and those of other processes on one SQLite file.
    pub look: Duration,
    /// For tests.
    pub hook: Option<Arc<dyn Hook>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            active: 256,
            transactions: 32,
            node: String::new(),
            lease: Duration::from_secs(30),
            retry_first: Duration::from_millis(200),
            retry_longest: Duration::from_secs(60),
            undo_attempts: 16,
            look: Duration::from_secs(2),
            hook: None,
        }
    }
}

pub(crate) struct Core<E> {
    pub db: Db,
    pub env: Arc<E>,
    pub options: Options,
    pub kinds: HashMap<&'static str, Kind<E>>,
    pub waits: Waits,
    pub metrics: Metrics,
    pub ops: Semaphore,
    /// This run of this process.
    pub holder: String,
    active: AtomicI64,
    /// There may be something to take.
    wake: Notify,
    dice: Mutex<u64>,
}

impl<E> Core<E> {
    pub fn now(&self) -> Timestamp {
        self.db.clock().now()
    }

    /// A body went to sleep in a wait, or woke up.
    pub fn parked(&self, parked: bool) {
        let by = if parked { -1 } else { 1 };
        self.active.fetch_add(by, Ordering::SeqCst);
        self.metrics.active.inc_by(by);
        self.metrics.parked.inc_by(-by);
        if parked {
            self.wake.notify_one();
        }
    }

    fn room(&self) -> usize {
        let active = usize::try_from(self.active.load(Ordering::SeqCst)).unwrap_or(0);
        self.options.active.saturating_sub(active)
    }

    /// The pause after the given number of failures.
    pub fn backoff(&self, failures: u32) -> Duration {
        let pause = self.options.retry_first.saturating_mul(2_u32.saturating_pow(failures.min(20)));
        self.jitter(pause.min(self.options.retry_longest))
    }

    /// A tenth more or less, so that those who wait for the same do not all come at once.
    pub fn jitter(&self, pause: Duration) -> Duration {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        *dice ^= *dice << 13;
        *dice ^= *dice >> 7;
        *dice ^= *dice << 17;
        pause.mul_f64(0.9 + (*dice % 1000) as f64 / 5000.0)
    }
}

/// The task engine of a service.
pub struct Tasks<E> {
    core: Arc<Core<E>>,
}

/// Collects the kinds of task before the engine starts.
pub struct Builder<E> {
    kinds: HashMap<&'static str, Kind<E>>,
    options: Options,
}

impl<E: Send + Sync + 'static> Builder<E> {
    #[must_use]
    pub fn kind<T: Task<E>>(mut self) -> Builder<E> {
        let known = self.kinds.insert(T::NAME, Kind::of::<T>());
        assert!(known.is_none(), "two kinds of task are called {}", T::NAME);
        self
    }

    #[must_use]
    pub fn options(mut self, options: Options) -> Builder<E> {
        self.options = options;
        self
    }

    /// The engine; [`Tasks::run`] sets it to work. The database has [`crate::MIGRATIONS`].
    pub fn build(self, db: &Db, env: Arc<E>) -> Tasks<E> {
        let holder = base::new_id();
        let seed = holder.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let core = Core {
            db: db.clone(),
            env,
            ops: Semaphore::new(self.options.transactions),
            options: self.options,
            kinds: self.kinds,
            waits: Waits::default(),
            metrics: Metrics::default(),
            holder,
            active: AtomicI64::new(0),
            wake: Notify::new(),
            dice: Mutex::new(seed | 1),
        };
        Tasks { core: Arc::new(core) }
    }
}

impl<E: Send + Sync + 'static> Tasks<E> {
    pub fn builder() -> Builder<E> {
        Builder { kinds: HashMap::new(), options: Options::default() }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.core.metrics
    }

    /// Whether anything of the engine is still there, bodies included.
    pub(crate) fn alive(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let core = Arc::downgrade(&self.core);
        move || core.strong_count() > 0
    }

    /// Names of the kinds it can run.
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.core.kinds.keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// Works until `shutdown` completes, then gives its tasks back so that another worker may go on with them. Dropping the future is like
    /// killing the process: nothing is lost, but others wait for the lease.
    ///
    /// # Errors
    /// When the database cannot be reached at the start. Later troubles are waited out.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let core = &self.core;
        worker::register(core).await?;
        let cursor = core.db.feed().head().await?;
        let mut bodies = JoinSet::new();
        tokio::select! {
            () = shutdown => {}
            () = listen(core, cursor) => {}
            () = worker::beat(core) => {}
            () = take(core, &mut bodies) => {}
        }
        bodies.shutdown().await;
        worker::leave(core).await
    }
}

/// Takes tasks as long as there is room and starts their bodies.
async fn take<E: Send + Sync + 'static>(core: &Arc<Core<E>>, bodies: &mut JoinSet<()>) {
    const BATCH: usize = 64;
    loop {
        let want = core.room().min(BATCH);
        let claimed = match want {
            0 => worker::Claimed::default(),
            _ => worker::claim(core, want).await.unwrap_or_else(|e| {
                tracing::warn!(error = %e, cause = e.context(), "tasks cannot be taken; trying on");
                worker::Claimed::default()
            }),
        };
        if claimed.more && claimed.rows.is_empty() {
            // Other workers want the same ones; a short pause brings them apart.
            tokio::time::sleep(core.jitter(Duration::from_millis(2))).await;
        }
        for row in claimed.rows {
            core.metrics.claimed.get_or_create(&crate::metrics::OfTask { task: row.facts.task_name.clone() }).inc();
            core.active.fetch_add(1, Ordering::SeqCst);
            core.metrics.active.inc();
            let ticket = Ticket(core.clone());
            let core = core.clone();
            bodies.spawn(async move {
                drive(core, row).await;
                drop(ticket);
            });
        }
        if claimed.more {
            continue;
        }
        tokio::select! {
            () = core.wake.notified() => {}
            Some(_) = bodies.join_next(), if !bodies.is_empty() => while bodies.try_join_next().is_some() {},
            () = tokio::time::sleep(core.jitter(core.options.look)) => {}
        }
    }
}

/// Counts a body as active until it is dropped, however it ends.
struct Ticket<E>(Arc<Core<E>>);

impl<E> Drop for Ticket<E> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
        self.0.metrics.active.dec();
        self.0.wake.notify_one();
    }
}

/// Follows the change feed and wakes whoever waits for what changed.
async fn listen<E: Send + Sync>(core: &Core<E>, cursor: i64) {
    let mut feed = core.db.feed().subscribe(cursor);
    let mut failures = 0;
    loop {
        match feed.next().await {
            Ok(batch) => {
                failures = 0;
                if batch.lost {
                    core.waits.wake_all();
                    core.wake.notify_one();
                }
                batch.changes.iter().for_each(|(_, _, change)| heard(core, change));
            }
            Err(e) => {
                if failures == 0 {
                    tracing::warn!(error = %e, cause = e.context(), "the change feed cannot be read; trying on");
                }
                tokio::time::sleep(core.backoff(failures)).await;
                failures += 1;
            }
        }
    }
}

fn heard<E>(core: &Core<E>, change: &Change) {
    core.waits.wake(&change.kind, &change.id);
    if change.kind != TaskRow::facts().name {
        return;
    }
    let flag = |name: &str| change.data[name].as_bool() == Some(true);
    if flag("runnable") {
        core.wake.notify_one();
    }
    if flag("cancel_requested") {
        core.waits.wake(CANCEL, &change.id);
    }
    if change.data["status"].as_str() == Some(status::DONE) {
        core.waits.wake(END, &change.id);
    }
}
