//! The table that is printed.

use crate::load::Run;
use std::fmt;

/// Rows of what, measured, goal, ratio, ratio to the peer.
#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 5]>,
}

impl Table {
    pub fn section(&mut self, title: &str) {
        println!("\n## {title}");
        self.rows.push([format!("**{title}**"), String::new(), String::new(), String::new(), String::new()]);
    }

    /// A figure; `ratio` above 1 is better than the goal, 0 is no goal.
    pub fn row(&mut self, what: &str, measured: &str, goal: &str, ratio: f64, peer: &str) {
        let ratio = if ratio > 0.0 { format!("{ratio:.2}") } else { String::new() };
        println!("{what}: {measured} {goal} {ratio} {peer}");
        self.rows.push([what.into(), measured.into(), goal.into(), ratio, peer.into()]);
    }

    /// A load; goal and peer in requests a second, 0 for none.
    pub fn load(&mut self, what: &str, connections: usize, run: &Run, goal: f64, peer: f64) {
        let measured = format!(
            "{:.0}/s, p50 {:.2} ms, p99 {:.2} ms, processor {:.0} µs{}",
            run.rate,
            run.p50 * 1e3,
            run.p99 * 1e3,
            run.cpu * 1e6,
            if run.database > 0.0 { format!(" + {:.0} µs", run.database * 1e6) } else { String::new() }
        );
        let (aim, ratio) = if goal > 0.0 { (format!("≥ {goal:.0}/s"), run.rate / goal) } else { (String::new(), 0.0) };
        let peer = if peer > 0.0 { format!("{:.0}×", run.rate / peer) } else { String::new() };
        self.row(&format!("{what}, {connections} at once"), &measured, &aim, ratio, &peer);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | goal | measured : goal | against the peer |\n|---|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}
