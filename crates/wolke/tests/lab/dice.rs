//! Chance that can be had again: everything a run draws follows from its seed.

use std::time::Duration;

/// SplitMix64.
pub struct Dice {
    pub seed: u64,
    state: u64,
}

impl Dice {
    /// Of the seed in `WOLKE_SEED`, or one that is new.
    pub fn new() -> Dice {
        let given = std::env::var("WOLKE_SEED").ok().map(|text| text.parse().expect("WOLKE_SEED is a number"));
        let seed = given.unwrap_or_else(|| u64::from(getrandom::u32().expect("random bytes")));
        Dice { seed, state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `below` - 1.
    pub fn roll(&mut self, below: usize) -> usize {
        (self.next() % below as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }

    pub fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.next() % longest.as_micros() as u64)
    }
}
