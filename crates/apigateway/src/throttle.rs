//! How fast an address may fail to log in: a bucket each, that refills. Memory of this process; what must survive restarts the identity
//! service counts itself.

use base::{Clock, Result, Timestamp, err};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// Addresses remembered at most; those that have not failed lately go first.
const BUCKETS: usize = 20_000;

pub struct Throttle {
    clock: Clock,
    per_second: f64,
    at_once: f64,
    buckets: Mutex<HashMap<String, (f64, Timestamp)>>,
}

impl Throttle {
    pub fn new(clock: Clock, per_second: f64, at_once: f64) -> Throttle {
        Throttle { clock, per_second, at_once: at_once.max(1.0), buckets: Mutex::default() }
    }

    /// Takes one from the address's bucket, or refuses.
    pub fn take(&self, peer: Option<IpAddr>) -> Result<()> {
        let (key, now) = (block(peer), self.clock.now());
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let level = |(left, at): &(f64, Timestamp)| (left + now.since(*at).max(0) as f64 / 1e6 * self.per_second).min(self.at_once);
        if buckets.len() >= BUCKETS && !buckets.contains_key(&key) {
            buckets.retain(|_, b| level(b) < self.at_once);
        }
        let left = buckets.get(&key).map_or(self.at_once, level);
        let full = buckets.len() >= BUCKETS && !buckets.contains_key(&key);
        if left < 1.0 || full {
            if !full {
                buckets.insert(key, (left, now));
            }
            return Err(err!(TooManyRequests, "too many failed logins from this address; wait a minute and try again"));
        }
        buckets.insert(key, (left - 1.0, now));
        Ok(())
    }

    /// Gives one back: it was no failure.
    pub fn give_back(&self, peer: Option<IpAddr>) {
        if let Some(bucket) = self.buckets.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&block(peer)) {
            bucket.0 += 1.0;
        }
    }
}

/// How long failures are remembered, seconds.
const MEMORY: i64 = 900;

/// How often something failed since its first time within [`MEMORY`]: logins from an address, answers about a user. A login that succeeds does not
/// clear those of its address: whoever has an account of his own would clear them before each guess at another's.
pub struct Failures {
    clock: Clock,
    known: Mutex<HashMap<String, (u32, Timestamp)>>,
}

impl Failures {
    pub fn new(clock: Clock) -> Failures {
        Failures { clock, known: Mutex::default() }
    }

    pub fn note(&self, key: &str) {
        let now = self.clock.now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= BUCKETS && !known.contains_key(key) {
            known.retain(|_, (_, first)| !over(*first, now));
            if known.len() >= BUCKETS {
                return;
            }
        }
        let entry = known.entry(key.to_string()).or_insert((0, now));
        *entry = if over(entry.1, now) { (1, now) } else { (entry.0.saturating_add(1), entry.1) };
    }

    pub fn forget(&self, key: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    pub fn of(&self, key: &str) -> u32 {
        let now = self.clock.now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|(_, first)| !over(*first, now)).map_or(0, |(count, _)| *count)
    }
}

fn over(first: Timestamp, now: Timestamp) -> bool {
    first.plus_secs(MEMORY) <= now
}

/// An address as it is counted: an IPv6 host has a whole /64 to choose from.
pub fn block(peer: Option<IpAddr>) -> String {
    match peer.map(|ip| ip.to_canonical()) {
        None => "local".to_string(),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => ip.segments()[..4].iter().map(|s| format!("{s:x}:")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn failures_are_remembered_for_a_while() {
        let clock = Clock::manual(Timestamp::parse("2026-02-03T04:05:06Z").expect("a time"));
        let failures = Failures::new(clock.clone());
        (0..3).for_each(|_| failures.note("a"));
        assert_eq!((failures.of("a"), failures.of("b")), (3, 0));
        clock.advance(Duration::from_secs(899));
        assert_eq!(failures.of("a"), 3);
        clock.advance(Duration::from_secs(1));
        assert_eq!(failures.of("a"), 0);
        failures.note("a");
        assert_eq!(failures.of("a"), 1);
        failures.forget("a");
        assert_eq!(failures.of("a"), 0);
    }

    #[test]
    fn a_bucket_runs_out_and_refills() {
        let clock = Clock::manual(Timestamp::parse("2026-02-03T04:05:06Z").expect("a time"));
        let throttle = Throttle::new(clock.clone(), 1.0, 3.0);
        let from = |text: &str| text.parse::<IpAddr>().ok();
        for _ in 0..3 {
            throttle.take(from("10.0.0.1")).expect("enough");
        }
        assert!(throttle.take(from("10.0.0.1")).is_err());
        throttle.take(from("10.0.0.2")).expect("another address");
        clock.advance(Duration::from_secs(1));
        throttle.take(from("10.0.0.1")).expect("refilled");
        throttle.give_back(from("10.0.0.1"));
        throttle.take(from("10.0.0.1")).expect("given back");
        for _ in 0..3 {
            throttle.take(from("fd00::1:2:3:4")).expect("enough");
        }
        assert!(throttle.take(from("fd00::ffff:2:3:4")).is_err(), "one network");
    }
}
