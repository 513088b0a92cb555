//! Figures of the engine.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::Registry;

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
    pub fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("task");
        r.register("claimed", "Tasks taken by this worker", self.claimed.clone());
        r.register("ended", "Tasks ended, by outcome", self.ended.clone());
        r.register("stuck", "Tasks whose undo kept failing", self.stuck.clone());
        r.register("steps", "Steps journaled", self.steps.clone());
        r.register("retries", "Attempts repeated after a passing error", self.retries.clone());
        r.register("undone", "Steps undone", self.undone.clone());
        r.register("polls", "Looks of waiting steps", self.polls.clone());
        r.register("lost", "Bodies dropped because another worker has the task", self.lost.clone());
        r.register("active", "Bodies at work", self.active.clone());
        r.register("parked", "Bodies that only wait", self.parked.clone());
        r.register("queued_seconds", "From the request to the first worker", self.queued_seconds.clone());
        r.register("step_seconds", "Duration of a journaled step", self.step_seconds.clone());
    }
}
