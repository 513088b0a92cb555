//! Flows of a bridge: what is there, and changes to it in one bundle.

use crate::flows::{bundle, mark, owned};
use crate::run::run;
use base::{Error, Result};
use std::path::{Path, PathBuf};

use crate::flows::Flow;

/// Whether a bridge holds exactly these flows of an owner.
pub(crate) async fn holds(rundir: &Path, bridge: &str, owner: u32, flows: &[Flow]) -> Result<bool> {
    let marked = count(rundir, bridge, &format!("cookie=0x{:x}/-1", mark(owner, flows))).await?;
    // Somebody may have removed some since the mark was set; the mark itself counts as one.
    Ok(marked == 1 && count(rundir, bridge, &owned(owner)).await? == flows.len() + 1)
}

/// Makes the flows of an owner on a bridge these, in one step no packet sees the middle of. `old` is what the bridge is known to hold.
pub(crate) async fn apply(rundir: &Path, bridge: &str, owner: u32, old: Option<&[Flow]>, new: &[Flow]) -> Result<()> {
    let lines = bundle(owner, old, new);
    if lines.is_empty() {
        return Ok(());
    }
    tracing::debug!(bridge, lines = lines.len(), whole = old.is_none(), "changing flows");
    ofctl(rundir, bridge, &["--bundle", "add-flows"], &["-"], &lines.join("\n")).await.map(drop)
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
