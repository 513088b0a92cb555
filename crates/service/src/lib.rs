//! The frame of a service process.
//!
//! ```text
//! starting ──all parts ready──▶ ready ──signal or stop()──▶ draining ──servers done or deadline──▶ workers stop ──▶ end
//! ```
//!
//! A binary makes one [`Process`], builds its services with it (they start [`Process::worker`]s and name what must be [`Process::part`] of
//! being ready), hands it the servers and calls [`Process::run`]. Servers end before workers, because a request may wait for a worker's work.
//! Nothing here knows a service by name.

mod gate;
mod worker;

pub use gate::{OwnerTags, PolicyGate, has_all};
pub use worker::{Backoff, WorkerState, WorkerStatus};

use http::{Response, Router, Server, StatusCode};
use serde_json::json;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

/// Tells everybody who holds a clone that it is time to end.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown(Arc::new(watch::Sender::new(false)))
    }
}

impl Shutdown {
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    pub fn trigger(&self) {
        self.0.send_replace(true);
    }

    pub fn is_triggered(&self) -> bool {
        *self.0.borrow()
    }

    /// Ready once triggered, at once if it was.
    pub async fn wait(&self) {
        // The sender lives in `self`, so waiting ends only by the trigger.
        let _ = self.0.subscribe().wait_for(|on| *on).await;
    }

    /// Runs something unless or until it is time to end; `None` when it was cut short.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.wait() => None,
            done = work => Some(done),
        }
    }
}

/// One process with its servers and workers. Clones are handles on the same process.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    /// Servers and streamed answers end on this one.
    draining: Shutdown,
    /// Workers end on this one, after the servers.
    stopping: Shutdown,
    parts: Mutex<Vec<(String, bool)>>,
    ready: watch::Sender<bool>,
    workers: worker::Workers,
    metrics: telemetry::Metrics,
    grace: Duration,
}

impl Process {
    /// `grace` is the time workers get to end after the servers have.
    pub fn new(metrics: &telemetry::Metrics, grace: Duration) -> Process {
        Process(Arc::new(Inner {
            draining: Shutdown::new(),
            stopping: Shutdown::new(),
            parts: Mutex::default(),
            ready: watch::Sender::new(false),
            workers: worker::Workers::new(metrics),
            metrics: metrics.clone(),
            grace,
        }))
    }

    /// Where what works in this process counts.
    pub fn metrics(&self) -> &telemetry::Metrics {
        &self.0.metrics
    }

    /// When this is triggered no new work comes: long polls and streams should come to their end.
    pub fn draining(&self) -> &Shutdown {
        &self.0.draining
    }

    /// Begins the end, as a signal does.
    pub fn stop(&self) {
        self.0.draining.trigger();
    }

    /// Starts a worker: `work` runs until it returns `Ok` or the process ends, and is started again after an error or a panic, later each
    /// time. It is given the [`Shutdown`] it has to watch.
    pub fn worker<F, Fut>(&self, name: &str, work: F)
    where
        F: Fn(Shutdown) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = base::Result<()>> + Send + 'static,
    {
        self.worker_with(name, Backoff::default(), work);
    }

    /// The same with another patience.
    pub fn worker_with<F, Fut>(&self, name: &str, backoff: Backoff, work: F)
    where
        F: Fn(Shutdown) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = base::Result<()>> + Send + 'static,
    {
        self.0.workers.start(name, backoff, self.0.stopping.clone(), work);
    }

    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.0.workers.status()
    }

    /// Names something that must be done before the process is ready: the database is migrated, the first sync is in.
    pub fn part(&self, name: &str) -> Part {
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.push((name.to_string(), false));
        self.0.ready.send_replace(false);
        Part { process: self.clone(), at: parts.len() - 1 }
    }

    /// What is still missing; nothing once the process is ready. A process without parts is ready when it runs.
    pub fn missing(&self) -> Vec<String> {
        let parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().filter(|(_, done)| !done).map(|(name, _)| name.clone()).collect()
    }

    /// Ready when every part is.
    pub async fn ready(&self) {
        let _ = self.0.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// `GET /ready` (200, or 503 while a part is missing or the process is draining) and `GET /workers`. For the root of the process's port.
    pub fn router(&self) -> Router {
        let (one, two) = (self.clone(), self.clone());
        Router::new()
            .get("/ready", move |_| {
                let (missing, draining) = (one.missing(), one.0.draining.is_triggered());
                let status = if missing.is_empty() && !draining { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = json!({"ready": status == StatusCode::OK, "missing": missing, "draining": draining});
                async move { Ok(Response::json(&body).with_status(status)) }
            })
            .get("/workers", move |_| {
                let rows: Vec<_> = two.workers().iter().map(WorkerStatus::to_json).collect();
                async move { Ok(Response::json(&json!({"workers": rows}))) }
            })
    }

    /// Serves until the process is told to end by SIGTERM, SIGINT or [`Process::stop`]; then drains the servers (each within its own limit)
    /// and after them the workers. A second signal ends at once, with status 130.
    pub async fn run(self, servers: Vec<Server>) -> base::Result<()> {
        let on = |kind| signal(kind).map_err(base::Error::internal);
        let (mut term, mut int) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        let signals = self.clone();
        let listening = tokio::spawn(async move {
            loop {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
                if signals.0.draining.is_triggered() {
                    tracing::warn!("second signal, ending at once");
                    std::process::exit(130);
                }
                tracing::info!("ending: no new requests, running ones may finish");
                signals.stop();
            }
        });
        if self.missing().is_empty() {
            self.0.ready.send_replace(true);
        }
        let mut serving = JoinSet::new();
        for server in servers {
            let stop = self.0.draining.clone();
            serving.spawn(server.serve(async move { stop.wait().await }));
        }
        self.0.draining.wait().await;
        while let Some(ended) = serving.join_next().await {
            if let Err(e) = ended {
                tracing::error!(error = %e, "a server ended badly");
            }
        }
        self.0.stopping.trigger();
        self.0.workers.finish(self.0.grace).await;
        listening.abort();
        Ok(())
    }
}

/// One thing a process waits for before it is ready.
#[must_use]
pub struct Part {
    process: Process,
    at: usize,
}

impl Part {
    /// It is there.
    pub fn done(self) {
        let mut parts = self.process.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts[self.at].1 = true;
        if parts.iter().all(|(_, done)| *done) {
            self.process.0.ready.send_replace(true);
        }
    }
}
