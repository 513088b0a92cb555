//! Figures of this process, from /proc.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge};
use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

/// What `/process_stats` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Percent of one core since the last look; the first look covers the process's life.
    pub cpu_percent: f64,
    /// Resident memory as percent of the machine's.
    pub mem_percent: f64,
    /// Resident memory in bytes.
    pub mem_size: u64,
    pub threads: u64,
    pub open_files: u64,
}

/// The same for Prometheus, by the names its own client libraries give them.
#[derive(Debug)]
pub(crate) struct Figures;

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Look { used, started, mem_size, threads, open_files, .. } = look();
        let boot = read("/proc/stat").lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse::<f64>().ok()).unwrap_or(0.0);
        let mut put =
            |name: &str, help: &str, figure: Figure| figure.encode(encoder.encode_descriptor(name, help, None, figure.metric_type())?);
        put("process_cpu_seconds", "processor time used", Figure::Sum(used))?;
        put("process_resident_memory_bytes", "memory in use", Figure::Now(mem_size as f64))?;
        put("process_open_fds", "open files and sockets", Figure::Now(open_files as f64))?;
        put("process_threads", "threads", Figure::Now(threads as f64))?;
        put("process_start_time_seconds", "start, in seconds since 1970", Figure::Now(boot + started))
    }
}

enum Figure {
    Sum(f64),
    Now(f64),
}

impl EncodeMetric for Figure {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Figure::Sum(v) => ConstCounter::new(*v).encode(encoder),
            Figure::Now(v) => ConstGauge::new(*v).encode(encoder),
        }
    }
    fn metric_type(&self) -> MetricType {
        match self {
            Figure::Sum(_) => MetricType::Counter,
            Figure::Now(_) => MetricType::Gauge,
        }
    }
}

/// Reads the figures; a figure that cannot be read is 0.
pub fn stats() -> Stats {
    static LAST: Mutex<Option<(Instant, f64)>> = Mutex::new(None);
    let Look { used, started, uptime, mem_size, threads, open_files } = look();
    let total_kib =
        read("/proc/meminfo").lines().find_map(|l| l.strip_prefix("MemTotal:")?.split_ascii_whitespace().next()?.parse::<u64>().ok());

    let now = Instant::now();
    let mut last = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (span, work) = match last.replace((now, used)) {
        Some((at, before)) => (now.duration_since(at).as_secs_f64(), used - before),
        None => (uptime - started, used),
    };
    Stats {
        cpu_percent: if span > 0.0 { (work / span * 100.0).max(0.0) } else { 0.0 },
        mem_percent: total_kib.filter(|t| *t > 0).map_or(0.0, |t| mem_size as f64 / (t as f64 * 1024.0) * 100.0),
        mem_size,
        threads,
        open_files,
    }
}

/// What `/proc` says now; seconds, bytes and numbers.
struct Look {
    used: f64,
    /// Since boot, as the machine's own `uptime` is.
    started: f64,
    uptime: f64,
    mem_size: u64,
    threads: u64,
    open_files: u64,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn look() -> Look {
    let (used, started, threads) = stat(&read("/proc/self/stat"));
    let pages = read("/proc/self/statm").split_ascii_whitespace().nth(1).and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
    Look {
        used,
        started,
        uptime: read("/proc/uptime").split_ascii_whitespace().next().and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0),
        mem_size: pages * rustix::param::page_size() as u64,
        threads,
        open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as u64),
    }
}

/// Seconds of processor used, start in seconds since boot, and threads, out of proc(5) `stat`.
fn stat(text: &str) -> (f64, f64, u64) {
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |n: usize| rest.split_ascii_whitespace().nth(n - 3).and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
    let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
    ((field(14) + field(15)) as f64 / ticks, field(22) as f64 / ticks, field(20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_size() {
        let s = stats();
        assert!(s.mem_size > 100_000 && s.mem_percent > 0.0 && s.threads >= 1 && s.open_files >= 3, "{s:?}");
        assert!(stats().cpu_percent.is_finite());
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 200 100 0 0 20 0 9 0 4200 0 0";
        let (used, started, threads) = stat(line);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!((used, started, threads), (300.0 / ticks, 4200.0 / ticks, 9));
    }
}
