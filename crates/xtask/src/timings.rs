//! How long building takes, cold and after a change on each floor, against the budgets in `docs/benchmarks.md`.
//!
//! Measured in a copy of the repository, because a change has to be a real one: a new public function at the end of a crate. Nothing
//! of the working tree is touched.

use crate::{repo, run};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const BUDGETS: &str = "docs/benchmarks.md";

/// What is measured after the cold build: name of the budget, and crates of which the first present one is changed.
const CHANGES: &[(&str, &[&str])] = &[
    ("build after a change of the ground", &["base"]),
    ("build after a change of the platform", &["resource", "store"]),
    ("build after a change of a contract", &["api-compute", "api-identity", "api-image", "api-agent"]),
    ("build after a change of a service", &["region-compute", "keystone", "glance", "host"]),
];

/// Measures, prints a table, and gives whether every measure keeps its budget.
pub fn timings() -> Result<bool> {
    let budgets = budgets(&fs::read_to_string(repo::root().join(BUDGETS)).with_context(|| format!("cannot read {BUDGETS}"))?);
    let work = repo::target_dir().join("timings");
    let copy = work.join("copy");
    let target = work.join("target");
    for dir in [&copy, &target] {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
    }
    for file in repo::files()? {
        let to = copy.join(&file);
        fs::create_dir_all(to.parent().context("a file has a directory")?)?;
        fs::copy(repo::root().join(&file), to)?;
    }
    run::read(cargo(&copy, &target).arg("fetch"))?;

    let mut rows: Vec<(String, Duration)> = Vec::new();
    rows.push(("cold build".into(), build(&copy, &target, &["--timings"])?));
    rows.push(("build without a change".into(), build(&copy, &target, &[])?));
    for (name, candidates) in CHANGES {
        let Some(source) = candidates.iter().map(|name| copy.join("crates").join(name).join("src/lib.rs")).find(|path| path.is_file())
        else {
            eprintln!("    ({name}: no such crate yet)");
            continue;
        };
        change(&source)?;
        rows.push(((*name).to_string(), build(&copy, &target, &[])?));
    }

    let mut kept = true;
    println!("| measure | budget | now | |\n|---|---|---|---|");
    for (name, took) in &rows {
        let budget = budgets.get(name);
        let over = budget.is_some_and(|budget| took > budget);
        kept &= !over;
        let budget = budget.map_or("none".to_string(), |budget| run::seconds(*budget));
        println!("| `{name}` | {budget} | {} | {} |", run::seconds(*took), if over { "OVER" } else { "" });
    }
    eprintln!("{}/cargo-timings/ has what the cold build spent its time on", target.display());
    Ok(kept)
}

fn cargo(copy: &Path, target: &Path) -> Command {
    let mut command = repo::cargo();
    command.current_dir(copy).env("CARGO_TARGET_DIR", target);
    command
}

fn build(copy: &Path, target: &Path, more: &[&str]) -> Result<Duration> {
    let mut command = cargo(copy, target);
    command.args(["build", "-q", "--workspace"]).args(more);
    run::step(&run::line(&command));
    let started = Instant::now();
    if !run::shown(&mut command)? {
        anyhow::bail!("the build failed");
    }
    let took = started.elapsed();
    eprintln!("    {}", run::seconds(took));
    Ok(took)
}

/// A change that everything above has to take notice of.
fn change(source: &Path) -> Result<()> {
    let mut file = OpenOptions::new().append(true).open(source)?;
    writeln!(file, "\n/// What the measurement changes.\npub fn measured_change(n: u64) -> u64 {{\n    n.wrapping_mul(3)\n}}")?;
    Ok(())
}

/// Rows of the budget table: a first cell in backticks and a second of whole seconds, `` | `cold build` | 600 s | ``.
fn budgets(text: &str) -> BTreeMap<String, Duration> {
    text.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            let seconds = cells.next()?.strip_suffix(" s")?.parse().ok()?;
            Some((name.to_string(), Duration::from_secs(seconds)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_has_a_budget() {
        let budgets = budgets(&fs::read_to_string(repo::root().join(BUDGETS)).expect("the budgets"));
        for name in CHANGES.iter().map(|(name, _)| *name).chain(["cold build", "build without a change"]) {
            assert!(budgets.contains_key(name), "{BUDGETS} has no budget `{name}`");
        }
    }
}
