//! The console as a person uses it: a real browser before a whole platform with a real guest. What it does is in `web/e2e/run.mjs`. With
//! `WOLKE_PICTURES=docs/screenshots` it takes the pictures of docs/ instead, by `web/e2e/look.mjs`.

mod lab;

use lab::machine::{guest_disk, on_a_machine};
use lab::{Platform, page};
use serde_json::Value as Json;
use std::path::PathBuf;

#[test]
fn vm_platform_in_a_browser() {
    on_a_machine("vm_platform_in_a_browser", async || {
        let platform = Platform::start(&["--set", "apigateway.enable_totp=true"], false).await;
        platform.host_is_online().await;
        let admin = std::fs::read_to_string(platform.data().join("admin.json")).expect("a profile");
        let admin: Json = serde_json::from_str(&admin).expect("JSON");
        let pictures = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("console");
        let docs = std::env::var_os("WOLKE_PICTURES");
        let mut script = page::script(if docs.is_some() { "look.mjs" } else { "run.mjs" });
        script.arg(platform.url()).arg(admin["password"].as_str().expect("a password")).arg(&pictures);
        if let Some(docs) = docs {
            script.env("WOLKE_DOCS", page::root().join(docs));
        }
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
