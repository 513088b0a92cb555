//! A copy of an image in another format, made by `qemu-img` in a process of its own. The source's header was examined before; its format is
//! named, never guessed, so that no byte of a guest can make the program open another file.

use crate::files::{Digests, Files};
use base::{Error, Result, err};
use diskimage::Format;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// What was made.
pub struct Copy {
    pub size: u64,
    pub digests: Digests,
}

/// The file of a copy.
pub fn name(id: &str, to: Format) -> String {
    format!("{id}.{to}")
}

/// Makes the copy, durable under its name. Cancelling ends the program.
pub async fn convert(files: &Files, qemu_img: &Path, id: &str, from: Format, to: Format) -> Result<Copy> {
    let name = name(id, to);
    let (source, scratch) = (files.path(id)?, files.scratch(&name)?);
    // Below those who serve: a copy is never urgent.
    let mut command = Command::new("nice");
    command.args(["-n", "10"]).arg(qemu_img).args(["convert", "-q", "-f", from.qemu_driver(), "-O", to.qemu_driver()]);
    match to {
        Format::Qcow2 => {
            command.arg("-c");
        }
        Format::Vmdk => {
            command.args(["-o", "subformat=streamOptimized"]);
        }
        _ => {}
    }
    command.arg(&source).arg(&scratch).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let made = match tokio::time::timeout(patience(files.size(id)?.unwrap_or(0)), run(command, qemu_img, to)).await {
        Ok(made) => made,
        Err(_) => {
            Err(err!(ServiceAbnormal, "the conversion to {} did not end in time and was given up; look at the image server's disk", to))
        }
    };
    if let Err(e) = made {
        files.discard(&name);
        return Err(e);
    }
    files.adopt(&name)?;
    let digests = files.digests(&name).await?;
    files.settle(&name).await?;
    let size = files.size(&name)?.ok_or_else(|| Error::internal(format!("{name} vanished")))?;
    Ok(Copy { size, digests })
}

/// Copies are made one after the other, so one that stands still would keep every other image from its end. A disk that moves a MiB a second is
/// waited for.
fn patience(size: u64) -> Duration {
    Duration::from_secs(600 + (size >> 20))
}

async fn run(mut command: Command, qemu_img: &Path, to: Format) -> Result<()> {
    let out = command.output().await.map_err(|e| Error::internal(e).with_context("starting nice"))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    // 126 and 127 are of `nice`: it found nothing to run.
    if matches!(out.status.code(), Some(126 | 127)) {
        return Err(err!(
            ServiceAbnormal,
            "the program {} is missing on the image server; install the package qemu-utils",
            qemu_img.display()
        )
        .with_context(said.trim()));
    }
    Err(err!(ServiceAbnormal, "the image could not be converted to {}", to).with_context(said.trim()))
}
