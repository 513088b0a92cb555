//! The rate of what guests receive, by the kernel's token bucket on their taps. What they send is metered by the switch.

use crate::plan::Plan;
use crate::run::run;
use base::{Error, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Longest a packet waits in the bucket's queue.
const LATENCY: &str = "100ms";

/// A queueing discipline as `tc -j` prints it.
#[derive(Deserialize)]
struct Discipline {
    kind: String,
    dev: String,
    #[serde(default)]
    root: bool,
    #[serde(default)]
    options: Options,
}

#[derive(Default, Deserialize)]
struct Options {
    /// Bytes per second, of a token bucket.
    rate: Option<u64>,
}

/// Makes the limits of our taps those of the plan. A kernel that cannot is no reason to leave guests without network.
pub(crate) async fn ensure(plan: &Plan, own_taps: &BTreeSet<String>) -> Result<()> {
    let shown = run("tc", &["-j", "qdisc", "show"], "").await?;
    let has = rates(&shown).map_err(|e| Error::internal(e).with_context("answer of tc"))?;
    let wanted: BTreeMap<&str, u64> = plan.nics().filter_map(|(_, n)| Some((n.tap.as_str(), bytes_per_second(n.limit?)))).collect();
    for tap in own_taps {
        let (has, wanted) = (has.get(tap).copied(), wanted.get(tap.as_str()).copied());
        if has == wanted {
            continue;
        }
        let done = match wanted {
            Some(rate) => {
                let (rate, burst) = (format!("{}bit", rate * 8), burst(rate).to_string());
                run("tc", &["qdisc", "replace", "dev", tap, "root", "tbf", "rate", &rate, "burst", &burst, "latency", LATENCY], "").await
            }
            None => run("tc", &["qdisc", "del", "dev", tap, "root"], "").await,
        };
        if let Err(e) = done {
            tracing::warn!(tap, error = %e, context = e.context(), "the rate of a port is not as it should be");
        }
    }
    Ok(())
}

fn bytes_per_second(mbit: u32) -> u64 {
    u64::from(mbit) * 1_000_000 / 8
}

/// Bytes that may leave at once: four milliseconds' worth, but always a few large packets.
fn burst(rate: u64) -> u64 {
    (rate / 250).max(16 * 1024)
}

/// Rate of the token bucket of each device that has one.
fn rates(text: &str) -> serde_json::Result<BTreeMap<String, u64>> {
    let all: Vec<Discipline> = serde_json::from_str(text)?;
    Ok(all.into_iter().filter(|d| d.kind == "tbf" && d.root).filter_map(|d| Some((d.dev, d.options.rate?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_read_and_sized() {
        let text = r#"[{"kind":"noqueue","handle":"0:","dev":"lo","root":true,"refcnt":2,"options":{}},
            {"kind":"tbf","handle":"8001:","dev":"tap5","root":true,"refcnt":2,"options":{"rate":1250000,"burst":16384,"lat":100000}},
            {"kind":"mq","handle":"0:","dev":"eth0","root":true}]"#;
        assert_eq!(rates(text).unwrap(), BTreeMap::from([("tap5".to_string(), 1_250_000)]));
        assert_eq!(bytes_per_second(10), 1_250_000);
        assert_eq!((burst(1_250_000), burst(125_000_000)), (16384, 500_000));
        assert!(rates("{}").is_err());
    }
}
