//! Machine set-up: which Debian packages are missing, and their installation.
//!
//! Called by `cargo xtask setup`, by the test run, and by whoever starts guests on this machine. It prints what it is going to do before it
//! does it, does nothing when nothing is missing, and never starts or stops a daemon: the daemons of the installed packages, running or
//! not, are never used. Everything here starts its own, in private directories.

mod apt;
pub mod machine;
pub mod packages;
pub mod plan;
mod sources;

pub use packages::Group;

use crate::run;
use anyhow::Result;
use machine::Machine;
use packages::PACKAGES;
use plan::Plan;
use std::time::Instant;

/// How a set-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was there; nothing was done.
    Complete,
    /// Packages were installed, and now all is there.
    Installed,
    /// Something is missing: only checked, not permitted, or not possible. It has been said what.
    Incomplete,
}

/// Installs what the groups need; with `check` only says what is missing.
pub fn setup(groups: &[Group], check: bool) -> Result<Outcome> {
    let started = Instant::now();
    let machine = Machine::here();
    let plan = plan::plan(&machine, groups);
    if plan.is_empty() {
        let count = PACKAGES.iter().filter(|p| groups.contains(&p.group)).count();
        eprintln!("setup: all {count} packages are installed ({})", machine.pretty);
        return Ok(Outcome::Complete);
    }
    print_missing(&plan, groups);
    if let Some(obstacle) = &plan.obstacle {
        eprintln!("setup: {obstacle}");
        return Ok(Outcome::Incomplete);
    }
    if check || !machine.root {
        print_commands(&plan, machine.root);
        return Ok(Outcome::Incomplete);
    }
    apt::carry_out(&plan)?;
    let left: Vec<&str> = plan::plan(&Machine::here(), groups).missing().map(|p| p.name).collect();
    if !left.is_empty() {
        anyhow::bail!("apt-get succeeded, but these are still not installed: {}", left.join(" "));
    }
    eprintln!("setup: done in {}", run::seconds(started.elapsed()));
    Ok(Outcome::Installed)
}

fn print_missing(plan: &Plan, groups: &[Group]) {
    eprintln!("setup: missing packages");
    for group in Group::ALL.into_iter().filter(|group| groups.contains(group)) {
        let present = PACKAGES.iter().filter(|p| p.group == group).count();
        let missing: Vec<_> = plan.missing().filter(|p| p.group == group).collect();
        eprintln!("  {}: {} of {present} installed", group.name(), present - missing.len());
        for package in missing {
            let origin = if plan.backported.iter().any(|p| p.name == package.name) { plan.suite.as_deref() } else { None };
            eprintln!("    {:<20} {}{}", package.name, package.why, origin.map(|suite| format!(" [from {suite}]")).unwrap_or_default());
        }
    }
    if let Some(source) = &plan.new_source {
        eprintln!("  package source for {} (a copy of this machine's own): {}", source.suite, source.path.display());
    }
}

/// What an administrator has to run, for those who may not.
fn print_commands(plan: &Plan, root: bool) {
    let sudo = if root { "" } else { "sudo " };
    if !root {
        eprintln!("setup: not root, so nothing was installed. The control plane runs without these; guests and their networks do not.");
    }
    eprintln!("setup: to install them, run:");
    if let Some(source) = &plan.new_source {
        eprintln!("  {sudo}tee {} >/dev/null <<'END'\n{}END", source.path.display(), source.text);
    }
    for command in apt::commands(plan) {
        eprintln!("  {sudo}{}", run::line(&command));
    }
}
