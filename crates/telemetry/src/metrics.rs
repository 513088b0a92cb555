//! The registry of metrics: one handle per process, passed to whoever counts.

use crate::process::Figures;
use prometheus_client::{collector::Collector, encoding::text, registry::Metric, registry::Registry};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A shared registry. Names are `<what>_<unit>` under the prefix `wolke_`; labels must come from a closed set, never from user input. Beside them stand the
/// figures of the process, by the names every dashboard knows (`process_resident_memory_bytes`). All of them: docs/metrics.md.
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
        match self.write(&mut out) {
            Ok(()) => out,
            Err(e) => {
                tracing::error!(error = %e, "metrics do not encode");
                String::new()
            }
        }
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let mut process = Registry::default();
        process.register_collector(Box::new(Figures));
        text::encode_registry(out, &process)?;
        text::encode_registry(out, &self.lock())?;
        text::encode_eof(out)
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
        let of = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap_or_default();
        assert!(of("process_resident_memory_bytes") > 100_000.0 && of("process_start_time_seconds") > 1.7e9, "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
