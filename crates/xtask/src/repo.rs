//! Where things are in the repository.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the checkout: the directory above `crates/`, found from where this crate was built, or from the current directory when the
/// checkout has been moved since.
pub fn root() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/")).to_path_buf();
    if built.join("Cargo.toml").is_file() {
        return built;
    }
    let here = std::env::current_dir().unwrap_or_default();
    here.ancestors().find(|dir| dir.join("crates/xtask").is_dir()).map_or(built, Path::to_path_buf)
}

/// Where cargo puts its output.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Where test runs keep what they make for themselves and never clean: always below `target/`, whatever cargo's output directory is, so
/// that several of those share one guest image.
pub fn artefacts() -> PathBuf {
    root().join("target")
}

/// The cargo that runs this task, else the one on the path.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What cargo said about this program would reach the build scripts of others, which then run anew, and all that rests on them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || text.starts_with("CARGO_BIN_")
            || text == "CARGO_CRATE_NAME"
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Every file git tracks or would track, relative to the root. Files deleted but not yet committed are left out.
pub fn files() -> Result<Vec<String>> {
    let out = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .context("git is needed to list the files of the repository")?;
    if !out.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    let mut files: Vec<String> = out
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| root().join(name).is_file())
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// What `cargo metadata --no-deps` says about the crates of the workspace.
pub fn metadata() -> Result<serde_json::Value> {
    let out = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output().context("cannot run cargo")?;
    if !out.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}
