//! Compares what lies on simulated machines with what the region's rows say. To be asked when nothing is going on.

use crate::fleet::machines;
use anyhow::{Context, Result};
use api_compute::{Disk, GuestNetwork, Server};
use base::Json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use store::{Cond, Db, Read};

/// Every machine's directory.
fn dirs(state: &Path) -> Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    for entry in std::fs::read_dir(machines(state)).with_context(|| format!("{} has no hosts", state.display()))? {
        dirs.push(entry?.path());
    }
    dirs.sort();
    Ok(dirs)
}

/// Names of what lies on a machine; a file that is being written has no name yet.
fn names(dir: PathBuf) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).filter(|n| !n.starts_with('.')).collect()
}

/// Ids of all guests that have a process.
pub fn guests(state: &Path) -> Result<Vec<String>> {
    Ok(dirs(state)?.into_iter().flat_map(|d| names(d.join("machines"))).collect())
}

/// Kills the process of a guest, whether its host's agent is alive or not. Tells whether there was one.
pub fn kill_guest(state: &Path, guest: &str) -> Result<bool> {
    let mut killed = false;
    for dir in dirs(state)? {
        killed |= std::fs::remove_file(dir.join("machines").join(guest)).is_ok();
    }
    Ok(killed)
}

/// Everything that is on a machine and in no row, or in a row and on no machine; empty when all is well.
pub async fn strays(mut db: &Db, state: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for dir in dirs(state)? {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let credential = std::fs::read(dir.join("agent/credential")).with_context(|| format!("{name} never enrolled"))?;
        let credential: Json = serde_json::from_slice(&credential)?;
        let host = credential["host_id"].as_str().context("a credential names its host")?;
        let here = || Cond::eq("host_id", host).and(Cond::eq("deleted", false));
        let disks: Vec<Disk> = db.list(here()).await?;
        let servers: Vec<Server> = db.list(here().and(Cond::ne("existence", ""))).await?;
        let on: Vec<&Server> = servers.iter().filter(|s| s.power_states == "on").collect();
        let nics: Vec<GuestNetwork> =
            db.list(Cond::is_in("guest_id", on.iter().map(|s| s.meta.id.as_str())).and(Cond::eq("deleted", false))).await?;
        let mut compare = |what: &str, dir: PathBuf, rows: BTreeSet<String>| {
            let there = names(dir);
            found.extend(there.difference(&rows).map(|id| format!("{name}: {what} {id} is there, and no row says so")));
            found.extend(rows.difference(&there).map(|id| format!("{name}: {what} {id} has a row, and is not there")));
        };
        compare("disk", dir.join("disks"), disks.into_iter().map(|d| d.meta.id).collect());
        compare("process", dir.join("machines"), on.iter().map(|s| s.meta.id.clone()).collect());
        compare("tap", dir.join("taps"), nics.into_iter().map(|n| n.ifname).collect());
        // A guest that was never started has no record; one that is gone must have none.
        let servers: BTreeSet<String> = servers.into_iter().map(|s| s.meta.id).collect();
        let records = names(dir.join("agent/guests"));
        found.extend(records.difference(&servers).map(|id| format!("{name}: records of guest {id} are there, and no row says so")));
    }
    Ok(found)
}
