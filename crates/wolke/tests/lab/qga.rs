//! Runs commands in a guest, through its guest agent's socket.

use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub struct GuestAgent(PathBuf);

/// Another for each exchange: an answer that comes late is nobody's.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl GuestAgent {
    pub fn new(socket: &Path) -> GuestAgent {
        GuestAgent(socket.to_path_buf())
    }

    /// One command of the protocol on a connection of its own; `None` when nobody answers.
    fn call(&self, execute: &str, arguments: Json) -> Option<Json> {
        let mut stream = UnixStream::connect(&self.0).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        // What an earlier connection left half-said ends at the byte 0xff.
        stream.write_all(b"\xff").ok()?;
        let mark = u64::from(std::process::id()) << 16 | NEXT.fetch_add(1, Ordering::Relaxed);
        writeln!(stream, "{}", json!({"execute": "guest-sync", "arguments": {"id": mark}})).ok()?;
        loop {
            let line = lines.next()?.ok()?;
            if serde_json::from_str::<Json>(line.trim_start_matches('\u{fffd}')).is_ok_and(|l| l["return"] == mark) {
                break;
            }
        }
        writeln!(stream, "{}", json!({"execute": execute, "arguments": arguments})).ok()?;
        let answer: Json = serde_json::from_str(&lines.next()?.ok()?).ok()?;
        answer.get("return").cloned()
    }

    /// What a shell command prints. It must succeed.
    pub async fn run(&self, script: &str) -> String {
        let arguments = json!({"path": "/bin/sh", "arg": ["-c", script], "capture-output": true});
        let started = super::machine::wait("the guest agent", || self.call("guest-exec", arguments.clone())).await;
        let ended = super::machine::wait("the command's end", || {
            self.call("guest-exec-status", json!({"pid": started["pid"]})).filter(|s| s["exited"] == true)
        })
        .await;
        assert_eq!(ended["exitcode"], 0, "{script}: {ended}");
        let text = ended["out-data"].as_str().unwrap_or_default();
        String::from_utf8(base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).expect("base64")).expect("text")
    }
}
