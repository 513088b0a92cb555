//! The disk of the test guest: `images/testvm/build.sh` makes it, tests boot copies of it.

use crate::{repo, run};
use anyhow::Result;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where the image is once [`build`] has run.
pub fn path() -> PathBuf {
    repo::artefacts().join("guest/testvm.qcow2")
}

/// Makes the image unless it is up to date, and gives its path. Boot it through an overlay: it is shared by all tests.
pub fn build() -> Result<PathBuf> {
    let mut command = Command::new(repo::root().join("images/testvm/build.sh"));
    command.arg(path()).stdin(Stdio::null());
    if !run::shown(&mut command)? {
        anyhow::bail!("the guest image could not be built; what is missing stands above, `cargo xtask setup` installs it");
    }
    Ok(path())
}

/// Whether a source text is of a test that boots the guest.
pub fn is_used_in(source: &str) -> bool {
    source.contains("guest_image::") || source.contains("testvm.qcow2")
}
