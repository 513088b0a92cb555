//! Flows and meters of a bridge: what is there, and changes to it in one bundle.

use crate::flows::{Layout, bundle, owned};
use crate::run::run;
use base::{Error, Result};
use std::path::{Path, PathBuf};

/// Whether a bridge holds exactly this of an owner. Removing a meter takes the flows with it that use it, so counting flows is enough.
pub(crate) async fn holds(rundir: &Path, bridge: &str, owner: u32, layout: &Layout) -> Result<bool> {
    let marked = count(rundir, bridge, &format!("cookie=0x{:x}/-1", layout.mark(owner))).await?;
    // Somebody may have removed some since the mark was set; the mark itself counts as one.
    Ok(marked == 1 && count(rundir, bridge, &owned(owner)).await? == layout.flows.len() + 1)
}

/// Makes the flows of an owner on a bridge these, in one step no packet sees the middle of. `old` is what the bridge is known to hold.
pub(crate) async fn apply(rundir: &Path, bridge: &str, owner: u32, old: Option<&Layout>, new: &Layout) -> Result<()> {
    let lines = bundle(owner, old, new);
    if lines.is_empty() {
        return Ok(());
    }
    tracing::debug!(bridge, lines = lines.len(), whole = old.is_none(), "changing flows");
    let had = |port: &u16| old.and_then(|o| o.meters.get(port));
    for (port, mbit) in new.meters.iter().filter(|(port, mbit)| had(port) != Some(mbit)) {
        set_meter(rundir, bridge, *port, *mbit).await?;
    }
    ofctl(rundir, bridge, &["--bundle", "add-flows"], &["-"], &lines.join("\n")).await?;
    for port in old.iter().flat_map(|o| o.meters.keys()).filter(|port| !new.meters.contains_key(port)) {
        delete_meter(rundir, bridge, *port).await?;
    }
    Ok(())
}

/// Limits what a port sends. A quarter of a second may come at once: with less, TCP does not reach the rate.
async fn set_meter(rundir: &Path, bridge: &str, port: u16, mbit: u32) -> Result<()> {
    let rate = u64::from(mbit) * 1000;
    let meter = format!("meter={port},kbps,burst,band=type=drop,rate={rate},burst_size={}", rate / 4);
    // There is no command for "whether it is there or not".
    match ofctl(rundir, bridge, &["mod-meter"], &[&meter], "").await {
        Ok(_) => Ok(()),
        Err(_) => ofctl(rundir, bridge, &["add-meter"], &[&meter], "").await.map(drop),
    }
}

/// Removes a meter and the flows that use it; one that is not there is success.
pub(crate) async fn delete_meter(rundir: &Path, bridge: &str, port: u16) -> Result<()> {
    ofctl(rundir, bridge, &["del-meter"], &[&format!("meter={port}")], "").await.map(drop)
}

/// Removes all flows of an owner from a bridge.
pub(crate) async fn delete_all(rundir: &Path, bridge: &str, owner: u32) -> Result<()> {
    ofctl(rundir, bridge, &["del-flows"], &[&owned(owner)], "").await.map(drop)
}

async fn count(rundir: &Path, bridge: &str, selector: &str) -> Result<usize> {
    // No tool gives this one as JSON; the line ends in `flow_count=N`.
    let text = ofctl(rundir, bridge, &["dump-aggregate"], &[selector], "").await?;
    let number = text.trim_end().rsplit("flow_count=").next().and_then(|n| n.parse().ok());
    number.ok_or_else(|| Error::internal(format!("answer of ovs-ofctl dump-aggregate: {text}")))
}

async fn ofctl(rundir: &Path, bridge: &str, command: &[&str], args: &[&str], stdin: &str) -> Result<String> {
    let target = format!("unix:{}", socket(rundir, bridge).display());
    run("ovs-ofctl", &[&["--timeout=45", "-O", "OpenFlow14"], command, &[&target], args].concat(), stdin).await
}

fn socket(rundir: &Path, bridge: &str) -> PathBuf {
    rundir.join(format!("{bridge}.mgmt"))
}
