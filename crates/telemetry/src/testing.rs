//! For tests: a collector that fails a test on a WARN or ERROR line it did not expect.
//!
//! ```
//! let log = telemetry::testing::Watch::start();
//! tracing::warn!("disk is slow");
//! log.expect("disk is slow");
//! ```
//!
//! A watch belongs to the thread that made it; a test with its own multi-thread runtime installs it in the workers with
//! `runtime.on_thread_start(log.installer())`.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{Dispatch, Event, Level, Subscriber, dispatcher, field::Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Collects while it lives; dropping it fails the test if an unexpected line is left.
#[must_use]
pub struct Watch {
    lines: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Vec<String>>>,
    dispatch: Dispatch,
    _here: dispatcher::DefaultGuard,
}

impl Watch {
    pub fn start() -> Watch {
        let (lines, told) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(Collect { lines: lines.clone(), told: told.clone() }));
        Watch { lines, told, _here: dispatcher::set_default(&dispatch), dispatch }
    }

    /// Makes a thread report to this watch for the rest of its life.
    pub fn installer(&self) -> impl Fn() + Send + Sync + 'static {
        let dispatch = self.dispatch.clone();
        move || std::mem::forget(dispatcher::set_default(&dispatch))
    }

    /// Takes out the lines that contain `part`; fails when there is none.
    #[track_caller]
    pub fn expect(&self, part: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lines.len();
        lines.retain(|l| !l.contains(part));
        assert!(lines.len() < before, "no WARN or ERROR line with {part:?}; there are {lines:#?}");
    }

    /// Takes out the lines of INFO that contain every part, and says how many there were. Such lines are never unexpected.
    pub fn told(&self, parts: &[&str]) -> usize {
        let mut lines = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lines.len();
        lines.retain(|l| !parts.iter().all(|part| l.contains(part)));
        before - lines.len()
    }

    /// The lines so far, oldest first: `WARN target: message key=value`.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        if !lines.is_empty() && !std::thread::panicking() {
            panic!("unexpected log lines: {lines:#?}");
        }
    }
}

struct Collect {
    lines: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Vec<String>>>,
}

impl<S: Subscriber> Layer<S> for Collect {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        if *meta.level() > Level::INFO {
            return;
        }
        let mut line = Text(format!("{} {}:", meta.level(), meta.target()));
        event.record(&mut line);
        let into = if *meta.level() == Level::INFO { &self.told } else { &self.lines };
        into.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        // Writing into a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unexpected_line_fails_and_an_expected_one_does_not() {
        let log = Watch::start();
        tracing::info!("fine");
        tracing::warn!(host = "h1", "disk is slow");
        log.expect("disk is slow");
        assert_eq!((log.told(&["INFO", "fine"]), log.told(&["fine"])), (1, 0));
        drop(log);

        let failed = std::panic::catch_unwind(|| {
            let log = Watch::start();
            let worker = std::thread::spawn({
                let install = log.installer();
                move || {
                    install();
                    tracing::error!("surprise");
                }
            });
            worker.join().unwrap();
            drop(log);
        })
        .unwrap_err();
        assert!(failed.downcast_ref::<String>().unwrap().contains("surprise"));

        let missing = std::panic::catch_unwind(|| Watch::start().expect("never said"));
        assert!(missing.is_err());
    }
}
