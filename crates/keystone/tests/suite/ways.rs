//! Whether two ways of being refused can be told apart by the time they take.

use crate::kit::Cloud;
use base::Json;
use std::time::{Duration, Instant};

/// How far two ways of being refused may differ, of what one takes.
const MOST: f64 = 0.05;

/// How far times differ from those of the first way, taken turn by turn: the middle of their ratios, less one; and how far they differ for certain
/// (but one time in two thousand), whatever the noise was: nothing, when the ratios lie on both sides of one. Pairs of one turn have the same
/// machine under them, so that one that grows busy makes no difference.
fn apart(first: &[f64], other: &[f64]) -> (f64, f64) {
    let mut ratios: Vec<f64> = first.iter().zip(other).map(|(a, b)| (b / a).ln()).collect();
    ratios.sort_by(f64::total_cmp);
    let n = ratios.len();
    // The middle lies between these ranks, of whatever kind the noise is (binomial, 3.5 deviations).
    let reach = (1.75 * (n as f64).sqrt()).ceil() as usize;
    let at = |rank: usize| ratios[rank.min(n - 1)];
    let (low, high) = (at((n / 2).saturating_sub(reach)), at(n / 2 + reach));
    let certain = if low > 0.0 {
        low.exp_m1()
    } else if high < 0.0 {
        -high.exp_m1()
    } else {
        0.0
    };
    (at(n / 2).exp_m1(), certain)
}

/// Processor time of this process's threads so far, seconds; `/proc` gives nanoseconds. Those that hash stay for seconds when they are idle.
fn processor() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("proc").flatten();
    let used = |text: String| text.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    tasks.filter_map(|t| used(std::fs::read_to_string(t.path().join("schedstat")).ok()?)).sum::<f64>() / 1e9
}

/// A way of being refused: what is asked, and what the attempts took, by the processor and by the clock.
pub struct Way {
    pub name: &'static str,
    pub body: Json,
    processor: Vec<f64>,
    clock: Vec<f64>,
}

impl Way {
    pub fn of(name: &'static str, body: Json) -> Way {
        Way { name, body, processor: Vec::new(), clock: Vec::new() }
    }
}

/// Rounds of turns until what is found counts.
const ROUNDS: usize = 20;
/// On a machine so busy that rounds take this long, what was found until then counts. A test may ask twice.
const ENOUGH: Duration = Duration::from_secs(100);

/// Fails when a way takes longer or shorter than the first.
pub async fn alike(cloud: &Cloud, ways: &mut [Way]) {
    // Turn by turn, each time beginning with another, so that a busy machine is busy for all. A difference that is there stays however often
    // it is measured: rounds are added to what was measured before, never in place of it, until chance is small enough. What is too far apart
    // after all of them counts if it is no chance: on a machine that does much else the clock alone says little, the processor's time enough.
    let begun = Instant::now();
    for round in 1..=ROUNDS {
        for turn in 0..16 {
            for i in 0..ways.len() {
                let at = (turn + i) % ways.len();
                let way = &mut ways[at];
                let (clock, used) = (Instant::now(), processor());
                cloud.send("POST", "/v3/auth/tokens", None, None, Some(way.body.clone())).await;
                way.processor.push(processor() - used);
                way.clock.push(clock.elapsed().as_secs_f64());
            }
        }
        let (first, others) = ways.split_first().expect("ways");
        let found: Vec<_> = others
            .iter()
            .flat_map(|way| {
                let measures = [("processor", &first.processor, &way.processor), ("clock", &first.clock, &way.clock)];
                measures.map(|(by, first, other)| (way.name, by, apart(first, other)))
            })
            .collect();
        if found.iter().all(|(_, _, (middle, _))| middle.abs() <= MOST) {
            return;
        }
        let told: Vec<_> = found.iter().filter(|(_, _, (_, certain))| *certain > MOST).collect();
        let last = round == ROUNDS || begun.elapsed() > ENOUGH;
        assert!(!last || told.is_empty(), "the time tells {} from {told:?}; all: {found:?}", first.name);
        if last {
            break;
        }
    }
    eprintln!("the machine is too busy for differences of {MOST} by the clock");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around `around`, with the noise of a busy machine: mostly longer, now and then several times as long.
    fn times(around: f64, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1u32 << 31)
        };
        (0..16 * ROUNDS).map(|_| around * (1.0 + random() * 0.5 + if random() < 0.1 { random() * 4.0 } else { 0.0 })).collect()
    }

    #[test]
    fn noise_is_no_difference_and_a_difference_is_found_in_noise() {
        let (middle, certain) = apart(&times(0.05, 1), &times(0.05, 2));
        assert!(middle.abs() <= MOST && certain <= MOST, "{middle} {certain}");
        for other in [0.06, 0.04] {
            let (middle, certain) = apart(&times(0.05, 1), &times(other, 3));
            assert!(middle.abs() > 0.15 && certain > MOST, "{other}: {middle} {certain}");
        }
    }
}
