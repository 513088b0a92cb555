//! Background workers under supervision: one that fails or panics is started again, and everybody can see how each is doing.

use crate::Shutdown;
use base::{Clock, Json, Timestamp};
use serde_json::json;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use telemetry::prometheus_client::metrics::{counter::Counter, family::Family};
use tokio::task::JoinSet;

/// Waits between restarts: doubling from the first to the longest, and back to the first after a run as long as the longest.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    Running,
    /// Failed, and waiting to be started again.
    Waiting,
    /// Returned by itself, or ended with the process.
    Done,
}

/// How a worker is doing.
#[derive(Clone, Debug)]
pub struct WorkerStatus {
    pub name: String,
    pub state: WorkerState,
    /// Since when it is in this state.
    pub since: Timestamp,
    pub restarts: u64,
    /// The last failure, for operators.
    pub last_error: Option<String>,
}

impl WorkerStatus {
    pub(crate) fn to_json(&self) -> Json {
        let state = match self.state {
            WorkerState::Running => "running",
            WorkerState::Waiting => "waiting",
            WorkerState::Done => "done",
        };
        json!({"name": self.name, "state": state, "since": self.since.to_string(), "restarts": self.restarts, "last_error": self.last_error})
    }
}

type Cell = Arc<Mutex<WorkerStatus>>;

fn lock<T>(cell: &Mutex<T>) -> MutexGuard<'_, T> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Workers {
    cells: Mutex<Vec<Cell>>,
    tasks: Mutex<JoinSet<()>>,
    restarts: Family<Vec<(&'static str, String)>, Counter>,
}

impl Workers {
    pub(crate) fn new(metrics: &telemetry::Metrics) -> Workers {
        let restarts = metrics.add("worker_restarts", "background workers started again after a failure", Family::default());
        Workers { cells: Mutex::default(), tasks: Mutex::default(), restarts }
    }

    pub(crate) fn status(&self) -> Vec<WorkerStatus> {
        lock(&self.cells).iter().map(|c| lock(c).clone()).collect()
    }

    pub(crate) fn start<F, Fut>(&self, name: &str, backoff: Backoff, stop: Shutdown, work: F)
    where
        F: Fn(Shutdown) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = base::Result<()>> + Send + 'static,
    {
        let status =
            WorkerStatus { name: name.to_string(), state: WorkerState::Running, since: Clock::real().now(), restarts: 0, last_error: None };
        let cell: Cell = Arc::new(Mutex::new(status));
        lock(&self.cells).push(cell.clone());
        let restarts = self.restarts.get_or_create(&vec![("worker", name.to_string())]).clone();
        lock(&self.tasks).spawn(supervise(cell, backoff, stop, work, restarts));
    }

    /// Waits for all workers, and cuts those that take longer.
    pub(crate) async fn finish(&self, grace: Duration) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            let late: Vec<String> = self.status().into_iter().filter(|s| s.state == WorkerState::Running).map(|s| s.name).collect();
            tracing::warn!(workers = late.join(" "), "cutting workers that did not end in time");
            tasks.shutdown().await;
        }
    }
}

async fn supervise<F, Fut>(cell: Cell, backoff: Backoff, stop: Shutdown, work: F, counter: Counter)
where
    F: Fn(Shutdown) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = base::Result<()>> + Send + 'static,
{
    let name = lock(&cell).name.clone();
    let enter = |state: WorkerState| {
        let mut status = lock(&cell);
        status.state = state;
        status.since = Clock::real().now();
    };
    let mut wait = backoff.first;
    loop {
        let started = tokio::time::Instant::now();
        // A task of its own, so that a panic ends the work and not its supervisor; it goes when the supervisor is cut.
        let mut run = JoinSet::new();
        run.spawn(work(stop.clone()));
        let failure = match run.join_next().await {
            Some(Ok(Ok(()))) | None => break,
            Some(Ok(Err(e))) => match e.context() {
                Some(cause) => format!("{e}: {cause}"),
                None => e.to_string(),
            },
            Some(Err(e)) => format!("panic: {e}"),
        };
        if stop.is_triggered() {
            tracing::warn!(worker = name, error = failure, "a worker ended badly");
            break;
        }
        if started.elapsed() >= backoff.longest {
            wait = backoff.first;
        }
        tracing::error!(worker = name, error = failure, again_in_ms = wait.as_millis() as u64, "a worker failed");
        lock(&cell).last_error = Some(failure);
        enter(WorkerState::Waiting);
        if stop.or(tokio::time::sleep(wait)).await.is_none() {
            break;
        }
        wait = (wait * 2).min(backoff.longest);
        counter.inc();
        lock(&cell).restarts += 1;
        enter(WorkerState::Running);
    }
    enter(WorkerState::Done);
}
