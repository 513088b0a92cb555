//! What is visible of a reconciler.

use base::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// What a run did: `Counts::default().with("deleted", 3)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts(pub Vec<(&'static str, i64)>);

impl Counts {
    #[must_use]
    pub fn with(mut self, what: &'static str, count: i64) -> Counts {
        self.0.push((what, count));
        self
    }

    pub fn get(&self, what: &str) -> i64 {
        self.0.iter().find(|(w, _)| *w == what).map_or(0, |(_, n)| *n)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    #[default]
    Idle,
    Running,
    /// Another process has the turn.
    Elsewhere,
    /// The last run failed and the next one waits longer.
    BackingOff,
    /// It was stopped.
    Stopped,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Last {
    #[serde(serialize_with = "as_text")]
    pub started: Timestamp,
    pub took: Duration,
    /// `None`: it succeeded. Otherwise the error with its cause, for operators.
    pub error: Option<String>,
    pub counts: Counts,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    pub name: String,
    pub period: Duration,
    pub phase: Phase,
    /// Runs that ended, in this process.
    pub runs: u64,
    pub failures: u64,
    /// Failures since the last success.
    pub failing: u32,
    pub last: Option<Last>,
    /// The last run that succeeded, also when it is not the last.
    pub last_success: Option<Last>,
}

fn as_text<S: serde::Serializer>(at: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(at)
}
