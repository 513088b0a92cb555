//! Whether two ways of being refused can be told apart by the time they take.

use crate::kit::Cloud;
use base::Json;
use std::time::Instant;

/// How far two ways of being refused may differ, of what one takes.
const MOST: f64 = 0.05;

/// The value below which a share of all lies.
fn quantile(all: &[f64], share: f64) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    all[((all.len() - 1) as f64 * share) as usize]
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

/// Fails when a way takes longer or shorter than the first.
pub async fn alike(cloud: &Cloud, ways: &mut [Way]) {
    // Turn by turn, each time beginning with another, so that a busy machine is busy for all. A difference that is there stays however often
    // it is measured: rounds are added to what was measured before, never in place of it, until chance is small enough. By the clock the
    // lower quartile counts, as for whoever listens: what else the machine does only makes requests longer.
    for round in 1.. {
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
        let (used, clock) = (quantile(&ways[0].processor, 0.5), quantile(&ways[0].clock, 0.25));
        let differ = |way: &Way| (quantile(&way.processor, 0.5) / used - 1.0, quantile(&way.clock, 0.25) / clock - 1.0);
        let found: Vec<(&str, f64, f64)> = ways[1..].iter().map(|way| (way.name, differ(way).0, differ(way).1)).collect();
        if found.iter().all(|(_, processor, clock)| processor.abs() <= MOST && clock.abs() <= MOST) {
            return;
        }
        assert!(
            round < 30,
            "against {} a wrong password takes {used:.4} s, {clock:.4} s; shares by processor and clock: {found:?}",
            ways[0].name
        );
    }
}
