//! The registry of metrics: one handle per process, passed to whoever counts.

use prometheus_client::{collector::Collector, encoding::text, registry::Metric, registry::Registry};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A shared registry. Names are `<what>_<unit>` under the prefix `wolke_`; labels must come from a closed set, never from user input.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics(Arc::new(Mutex::new(Registry::with_prefix("wolke"))))
    }
}

impl Metrics {
    /// Content type of [`Metrics::text`].
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // A panic while encoding leaves the registry itself whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a metric and hands it back: `let failed = metrics.add("sync_failures", "syncs that failed", Counter::default())`.
    /// A counter's name gets `_total` by itself.
    pub fn add<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.lock().register(name, help, metric.clone());
        metric
    }

    /// Registers something that is read only when the metrics are.
    pub fn collect(&self, collector: impl Collector) {
        self.lock().register_collector(Box::new(collector));
    }

    /// The OpenMetrics text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        match text::encode(&mut out, &self.lock()) {
            Ok(()) => out,
            Err(e) => {
                tracing::error!(error = %e, "metrics do not encode");
                String::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn a_registered_counter_is_in_the_text() {
        let metrics = Metrics::default();
        let failed: Counter = metrics.add("sync_failures", "syncs that failed", Counter::default());
        failed.inc_by(3);
        let text = metrics.text();
        assert!(text.contains("wolke_sync_failures_total 3\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
