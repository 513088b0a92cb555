//! Waiting longer after each failure, never in step with others.

use std::time::Duration;

/// Between two tries to reach the region: ten thousand hosts then come back within ten seconds, not all at once.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);

/// Doubles from the first pause to the last; each pause is drawn from its upper half.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl Backoff {
    pub fn new(first: Duration, last: Duration) -> Backoff {
        Backoff { first, last, failures: 0 }
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }

    pub async fn pause(&mut self) {
        let random = getrandom::u32().unwrap_or(u32::MAX / 2);
        let pause = nth_pause(self.first, self.last, self.failures, random);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(pause).await;
    }
}

fn nth_pause(first: Duration, last: Duration, failures: u32, random: u32) -> Duration {
    let whole = first.saturating_mul(2u32.saturating_pow(failures.min(20))).min(last);
    whole / 2 + (whole / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_last_and_jitters() {
        let (first, last) = (Duration::from_secs(1), Duration::from_secs(60));
        let pauses = |random| (0..10).map(move |n| nth_pause(first, last, n, random).as_millis()).collect::<Vec<_>>();
        assert_eq!(pauses(u32::MAX), [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000, 60000]);
        assert_eq!(pauses(0)[..3], [500, 1000, 2000]);
        assert_eq!(nth_pause(first, last, u32::MAX, 0), Duration::from_secs(30));
    }
}
