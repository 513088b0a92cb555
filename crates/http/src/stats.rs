//! Figures per route: plain atomics on the hot path, turned into text only when somebody reads `/metrics` or `/stats`.

use crate::app::App;
use base::Json;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};
use serde_json::{Map, json};
use std::{
    sync::{
        Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Upper bounds of the latency buckets, in microseconds.
const BUCKETS: [u64; 9] = [1_000, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 5_000_000, 60_000_000];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Hits and time of one route by status class, and its latency histogram.
#[derive(Default)]
pub(crate) struct RouteStats {
    hits: [AtomicU64; 5],
    micros: [AtomicU64; 5],
    /// The last one counts what is beyond all bounds.
    buckets: [AtomicU64; BUCKETS.len() + 1],
}

impl RouteStats {
    pub(crate) fn record(&self, status: u16, took: Duration) {
        let class = usize::from((status / 100).clamp(1, 5) - 1);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.hits[class].fetch_add(1, Relaxed);
        self.micros[class].fetch_add(micros, Relaxed);
        self.buckets[BUCKETS.iter().position(|b| micros <= *b).unwrap_or(BUCKETS.len())].fetch_add(1, Relaxed);
    }

    fn count(&self) -> u64 {
        self.hits.iter().map(|h| h.load(Relaxed)).sum()
    }
}

/// Hands the figures of an application to the metrics registry.
pub(crate) struct RouteCollector(pub Weak<App>);

impl std::fmt::Debug for RouteCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RouteCollector")
    }
}

impl Collector for RouteCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(app) = self.0.upgrade() else { return Ok(()) };
        let mut requests = encoder.encode_descriptor("http_requests", "answered requests", None, MetricType::Counter)?;
        for (service, route) in app.all_routes() {
            for (class, hits) in CLASSES.iter().zip(&route.stats.hits) {
                let n = hits.load(Relaxed);
                if n > 0 {
                    let labels = [("service", service), ("method", route.method.as_str()), ("route", &route.pattern), ("status", class)];
                    let no_example = None::<&prometheus_client::metrics::exemplar::Exemplar<[(&str, &str); 0], u64>>;
                    requests.encode_family(&labels)?.encode_counter(&n, no_example)?;
                }
            }
        }
        let mut seconds =
            encoder.encode_descriptor("http_request_seconds", "time to the head of the answer", None, MetricType::Histogram)?;
        for (service, route) in app.all_routes().filter(|(_, r)| r.stats.count() > 0) {
            let stats = &route.stats;
            let sum = stats.micros.iter().map(|m| m.load(Relaxed)).sum::<u64>() as f64 / 1e6;
            let mut buckets: Vec<(f64, u64)> =
                BUCKETS.iter().zip(&stats.buckets).map(|(b, n)| (*b as f64 / 1e6, n.load(Relaxed))).collect();
            buckets.push((f64::INFINITY, stats.buckets[BUCKETS.len()].load(Relaxed)));
            let count = buckets.iter().map(|(_, n)| n).sum();
            let labels = [("service", service), ("method", route.method.as_str()), ("route", &route.pattern)];
            seconds.encode_family(&labels)?.encode_histogram(
                sum,
                count,
                &buckets,
                None::<&std::collections::HashMap<usize, prometheus_client::metrics::exemplar::Exemplar<[(&str, &str); 0], f64>>>,
            )?;
        }
        let busy = encoder.encode_descriptor("http_requests_running", "requests being handled", None, MetricType::Gauge)?;
        ConstGauge::new(app.running() as i64).encode(busy)
    }
}

/// The document of `/stats` (spec 01 §10.1): dots are part of the keys, durations in milliseconds.
pub(crate) fn document<'a>(routes: impl Iterator<Item = &'a crate::router::Route>) -> Json {
    let mut total = ([0u64; 5], [0u64; 5]);
    let mut paths = Vec::new();
    for route in routes.filter(|r| r.stats.count() > 0) {
        let mut row = Map::new();
        row.insert("method".into(), route.method.as_str().into());
        row.insert("path".into(), route.pattern.as_str().into());
        row.insert("name".into(), route.pattern.as_str().into());
        let load = |a: &[AtomicU64; 5]| std::array::from_fn::<u64, 5, _>(|i| a[i].load(Relaxed));
        let (hits, micros) = (load(&route.stats.hits), load(&route.stats.micros));
        write(&mut row, &hits, &micros);
        for i in 0..5 {
            total.0[i] += hits[i];
            total.1[i] += micros[i];
        }
        paths.push(Json::Object(row));
    }
    let mut out = Map::new();
    out.insert("paths".into(), json!(paths));
    write(&mut out, &total.0, &total.1);
    Json::Object(out)
}

fn write(into: &mut Map<String, Json>, hits: &[u64; 5], micros: &[u64; 5]) {
    for (i, class) in [(1, "2XX"), (3, "4XX"), (4, "5XX")] {
        into.insert(format!("hit.{class}"), hits[i].into());
        into.insert(format!("duration.{class}"), (micros[i] as f64 / 1e3).into());
    }
}
