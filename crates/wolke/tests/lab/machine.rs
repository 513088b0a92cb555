//! A machine for one test: a network and a process namespace, in which a platform may do to the host what it wants. When the test ends, however
//! it ends, its processes end with it, and its devices with them.

use super::{Platform, until_none};
use api_compute::{Disk, GuestNetwork, Server};
use http::Method;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use store::{Cond, Db, Read};

const INSIDE: &str = "WOLKE_TEST_MACHINE";

/// Runs a test body on a machine of its own. Needs root. The first process there only takes care of orphans.
pub fn on_a_machine(test: &str, body: impl AsyncFnOnce()) {
    if std::env::var(INSIDE).is_ok_and(|t| t == test) {
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        return runtime.block_on(async { body().await });
    }
    for (program, package) in [
        ("unshare", "util-linux"),
        ("ip", "iproute2"),
        ("ovs-vswitchd", "openvswitch-switch"),
        ("nft", "nftables"),
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("qemu-img", "qemu-utils"),
    ] {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status().expect("sh");
        assert!(found.success(), "this test needs `{program}`: install package {package}");
    }
    let mut again = Command::new("unshare");
    again.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", "\"$@\" & wait $!", "sh"]);
    again.arg(std::env::current_exe().expect("a path"));
    let status = again.args([test, "--exact", "--nocapture"]).env(INSIDE, test).status().expect("unshare");
    assert!(status.success(), "{test} failed on its machine (root is needed)");
}

/// The disk of the test guest (images/testvm).
pub fn guest_disk() -> PathBuf {
    let disk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guest/testvm.qcow2");
    assert!(
        disk.exists(),
        "the disk of the test guest is missing: run `cargo xtask test`, or images/testvm/build.sh target/guest/testvm.qcow2"
    );
    disk
}

/// Command lines of the processes of this machine that have not ended.
fn processes() -> Vec<(u32, Vec<String>)> {
    let pids = std::fs::read_dir("/proc").expect("processes").flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let line = |pid: u32| {
        let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (pid, text.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect::<Vec<_>>())
    };
    // That of a process that has ended is empty.
    pids.map(line).filter(|(_, words)| words.len() > 1).collect()
}

impl Platform {
    pub fn host_data(&self) -> PathBuf {
        self.data().join("host")
    }

    /// Guests that have a QEMU process, and its number. One that only tries out what this machine can do has no guest.
    pub fn qemus(&self) -> Vec<(String, u32)> {
        let guests = self.host_data().join("guests");
        let guest = |words: &[String]| {
            let file = words.windows(2).find(|pair| pair[0] == "-pidfile").map(|pair| PathBuf::from(&pair[1]))?;
            Some(file.strip_prefix(&guests).ok()?.iter().next()?.to_string_lossy().into_owned())
        };
        processes().into_iter().filter_map(|(pid, words)| Some((guest(&words)?, pid))).collect()
    }

    /// The agent's process.
    pub fn agent(&self) -> Option<u32> {
        let host = self.host_data().display().to_string();
        let is = |words: &[String]| words.get(1).is_some_and(|w| w == "host") && words.contains(&host);
        processes().into_iter().find(|(_, words)| is(words)).map(|(pid, _)| pid)
    }

    pub async fn host_is_online(&self) {
        until_none(super::PATIENCE, async || {
            let hosts = self.get("hosts?host_status=online&limit=0").await.map(|h| h["total"].as_u64());
            (!matches!(hosts, Ok(Some(1)))).then(|| format!("hosts online: {hosts:?}; {}", self.log("up.log"))).into_iter().collect()
        })
        .await;
    }

    /// Everything of this machine's only host that has no row, or a row and is not there.
    pub async fn strays_of_host(&self, mut db: &Db) -> Vec<String> {
        let live = || Cond::eq("deleted", false);
        let servers: Vec<Server> = db.list(live().and(Cond::ne("existence", ""))).await.expect("servers");
        let disks: Vec<Disk> = db.list(live()).await.expect("disks");
        let on: BTreeSet<String> = servers.iter().filter(|s| s.power_states == "on").map(|s| s.meta.id.clone()).collect();
        let nics: Vec<GuestNetwork> =
            db.list(Cond::is_in("guest_id", on.iter().map(String::as_str)).and(live())).await.expect("interfaces");
        let taps: BTreeSet<String> = nics.into_iter().map(|n| n.ifname).collect();
        let mut found = Vec::new();
        let mut compare = |what: &str, there: BTreeSet<String>, rows: &BTreeSet<String>| {
            found.extend(there.difference(rows).map(|name| format!("{what} {name} is there, and no row says so")));
            found.extend(rows.difference(&there).map(|name| format!("{what} {name} has a row, and is not there")));
        };
        compare("process of", self.qemus().into_iter().map(|(guest, _)| guest).collect(), &on);
        compare("device", devices(), &taps);
        compare("port", self.ports(), &taps);
        compare("disk", stems(&self.host_data().join("storage/disks")), &disks.into_iter().map(|d| d.meta.id).collect());
        let known: BTreeSet<String> = servers.into_iter().map(|s| s.meta.id).collect();
        let records = stems(&self.host_data().join("guests"));
        found.extend(records.difference(&known).map(|id| format!("records of guest {id} are there, and no row says so")));
        found
    }

    /// Ports of guests on the bridge.
    fn ports(&self) -> BTreeSet<String> {
        let db = format!("--db=unix:{}", self.host_data().join("net/ovs/db.sock").display());
        let out = Command::new("ovs-vsctl").args([&db, "--timeout=30", "list-ports", "wolke0"]).output().expect("ovs-vsctl");
        assert!(out.status.success(), "ovs-vsctl: {}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.lines().filter(|name| is_tap(name)).map(str::to_string).collect()
    }

    /// Puts the disk of the test guest into the image service, as `testvm`.
    pub fn upload_guest(&self) {
        self.upload("testvm", "qcow2", &guest_disk());
    }

    pub async fn create(&self, name: &str, disk: &str, memory: u32) {
        let server = json!({"name": name, "vcpu_count": 1, "vmem_size": memory, "disks": [disk], "nets": ["default"], "auto_start": true,
            "disable_delete": false});
        self.ask(Method::POST, "servers", Some(json!({ "server": server }))).await.expect("it is taken");
    }
}

/// Devices of guests: all but ours, which begin with `wk` and the bridge's name, and those the kernel and the switch have by themselves.
fn devices() -> BTreeSet<String> {
    let text = std::fs::read_to_string("/proc/net/dev").expect("devices");
    text.lines().skip(2).filter_map(|l| l.split_once(':')).map(|(name, _)| name.trim().to_string()).filter(|n| is_tap(n)).collect()
}

fn is_tap(name: &str) -> bool {
    !["lo", "wk", "wolke0", "ovs-", "sit", "ip6", "tunl", "gre", "erspan"].iter().any(|own| name.starts_with(own))
}

/// Names of a directory's files without what follows the first dot; half-made ones begin with it.
fn stems(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| Some(e.file_name().to_str()?.split('.').next()?.to_string())).collect()
}

/// Kills a process without warning; one that has ended meanwhile has.
pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a process");
    let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Waits for something that comes by itself.
pub async fn wait<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(started.elapsed() < super::PATIENCE, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
