//! What of the region is counted for Prometheus: read from the scheduler's memory when somebody looks, never from the database.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::{counter::ConstCounter, gauge::ConstGauge};
use scheduler::{HostView, Scheduler};
use std::{fmt, sync::Arc};

pub(crate) struct Figures(pub Arc<Scheduler>);

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

/// A host is counted once, by the first of these that holds.
fn state(host: &HostView) -> usize {
    match host {
        HostView { enabled: false, .. } => 0,
        HostView { maintenance: true, .. } => 1,
        HostView { online: false, .. } => 2,
        _ => 3,
    }
}

const STATES: [&str; 4] = ["disabled", "maintenance", "offline", "online"];
const MIB: i64 = 1 << 20;

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut hosts, mut cpu, mut cpu_taken, mut mem, mut mem_taken) = ([0i64; STATES.len()], 0, 0, 0, 0);
        self.0.with(|snapshot| {
            for host in snapshot.hosts().values() {
                hosts[state(host)] += 1;
                cpu += host.cpu_capacity;
                cpu_taken += host.cpu_commit;
                mem += host.mem_capacity;
                mem_taken += host.mem_commit;
            }
        });
        let zero = ConstGauge::new(0i64);
        let mut family = encoder.encode_descriptor("hosts", "hosts by what they are", None, zero.metric_type())?;
        for (word, number) in STATES.iter().zip(hosts) {
            ConstGauge::new(number).encode(family.encode_family(&[("state", *word)])?)?;
        }
        let all = [
            ("host_processors", "processors that hosts give, with overcommitment", cpu),
            ("host_processors_taken", "processors that servers have taken of them", cpu_taken),
            ("host_memory_bytes", "memory that hosts give, with overcommitment", mem * MIB),
            ("host_memory_taken_bytes", "memory that servers have taken of it", mem_taken * MIB),
        ];
        for (name, help, number) in all {
            let gauge = ConstGauge::new(number);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let (placed, refused) = self.0.counts();
        let zero = ConstCounter::new(0u64);
        let help = "looks for a place, by whether a host was found; a server may need two";
        let mut family = encoder.encode_descriptor("placements", help, None, zero.metric_type())?;
        for (word, number) in [("placed", placed), ("refused", refused)] {
            ConstCounter::new(number).encode(family.encode_family(&[("outcome", word)])?)?;
        }
        Ok(())
    }
}
