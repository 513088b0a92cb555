//! Drives apt-get through a plan.

use super::packages::Package;
use super::plan::Plan;
use crate::{repo, run};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long to wait for another apt to finish.
const LOCK_WAIT: Duration = Duration::from_secs(900);

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command.args(["-q", "-y", "-o", &format!("DPkg::Lock::Timeout={}", LOCK_WAIT.as_secs())]).args(arguments);
    command
}

fn install(suite: Option<&str>, packages: &[&'static Package]) -> Option<Command> {
    if packages.is_empty() {
        return None;
    }
    let mut command = apt_get(&["install", "--no-install-recommends"]);
    if let Some(suite) = suite {
        command.args(["-t", suite]);
    }
    command.args(packages.iter().map(|p| p.name));
    Some(command)
}

/// The backported family first: the rest may depend on it, and would otherwise choose the release's version.
fn installs(plan: &Plan) -> Vec<Command> {
    [install(plan.suite.as_deref(), &plan.backported), install(None, &plan.ordinary)].into_iter().flatten().collect()
}

/// All commands of a plan, the new source aside.
pub fn commands(plan: &Plan) -> Vec<Command> {
    std::iter::once(apt_get(&["update"])).chain(installs(plan)).collect()
}

fn log(name: &str) -> PathBuf {
    repo::artefacts().join("setup").join(format!("{name}.log"))
}

pub fn carry_out(plan: &Plan) -> Result<()> {
    if let Some(source) = &plan.new_source {
        fs::write(&source.path, &source.text).with_context(|| format!("cannot write {}", source.path.display()))?;
    }
    run::step("apt-get update");
    if let Err(error) = update() {
        if let Some(source) = &plan.new_source {
            // A source that cannot be read would break every later update of this machine.
            fs::remove_file(&source.path)?;
            return Err(error.context(format!("the mirror of this machine may not have {}; its source was removed again", source.suite)));
        }
        // Some foreign source is out of order; what is known may still be enough, and if not, installing says what is missing.
        eprintln!("setup: {error:#}\nsetup: going on with the package lists as they are");
    }
    for mut command in installs(plan) {
        let mut simulation = apt_get(&["-s"]);
        simulation.args(command.get_args());
        let plan = run::read(&mut simulation)?;
        let all: Vec<&str> = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next()).collect();
        run::step(&format!("{}\n    installs or upgrades {}: {}", run::line(&command), all.len(), all.join(" ")));
        let took = run::logged(&mut command, &log("install"))?;
        eprintln!("    {}", run::seconds(took));
    }
    Ok(())
}

/// The lock of the package lists has no time limit of its own in apt, so waiting for it is done here.
fn update() -> Result<()> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        let error = match run::logged(&mut apt_get(&["update"]), &log("update")) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let held = format!("{error:#}").contains("Could not get lock");
        if !held || Instant::now() > deadline {
            return Err(error);
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}
