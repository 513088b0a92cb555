//! Figures of the engine.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfTask {
    pub task: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    pub task: String,
    /// `complete`, `failed` or `cancelled`.
    pub outcome: &'static str,
}

/// Counters and gauges; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub claimed: Family<OfTask, Counter>,
    pub ended: Family<Outcome, Counter>,
    /// Tasks this process made stuck.
    pub stuck: Family<OfTask, Counter>,
    pub steps: Counter,
    pub retries: Counter,
    pub undone: Counter,
    pub polls: Counter,
    /// Bodies that found that another worker has their task.
    pub lost: Counter,
    /// Bodies that are not parked in a wait.
    pub active: Gauge,
    pub parked: Gauge,
    /// Seconds from the request to the first worker.
    pub queued_seconds: Histogram,
    pub step_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let seconds = || Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0]);
        Metrics {
            claimed: Family::default(),
            ended: Family::default(),
            stuck: Family::default(),
            steps: Counter::default(),
            retries: Counter::default(),
            undone: Counter::default(),
            polls: Counter::default(),
            lost: Counter::default(),
            active: Gauge::default(),
            parked: Gauge::default(),
            queued_seconds: seconds(),
            step_seconds: seconds(),
        }
    }
}

impl Metrics {
    /// Shows them among a process's.
    pub fn register(&self, to: &telemetry::Metrics) {
        to.add("task_claimed", "tasks taken by a worker of this process", self.claimed.clone());
        to.add("task_ended", "tasks ended, by outcome; a rise of failed wants a look at their errors", self.ended.clone());
        to.add("task_stuck", "tasks whose undo kept failing; each waits for an operator", self.stuck.clone());
        to.add("task_steps", "steps done and written down", self.steps.clone());
        to.add(
            "task_retries",
            "attempts repeated after a passing error; a rise is a database or a service in trouble",
            self.retries.clone(),
        );
        to.add("task_undone", "steps taken back", self.undone.clone());
        to.add("task_polls", "looks of waiting steps", self.polls.clone());
        to.add(
            "task_lost",
            "tasks let go because another worker had them; a rise is a process that stalls for longer than its lease",
            self.lost.clone(),
        );
        to.add("task_active", "tasks at work", self.active.clone());
        to.add("task_parked", "tasks that only wait", self.parked.clone());
        to.add("task_queued_seconds", "from the request to the first worker", self.queued_seconds.clone());
        to.add("task_step_seconds", "duration of a step that was written down", self.step_seconds.clone());
    }
}
