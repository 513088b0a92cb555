//! A machine for one test: a network namespace with everything that runs in it, guests beside it, an outside world.
//!
//! The test runs itself again under `unshare`; when it ends, every process it started ends with its process namespace, and every device
//! with its network namespace. A guest is a namespace whose `eth0` is the other end of a plugged tap, carried by two `socat` as a
//! hypervisor would carry it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use api_agent::{GuestNic, GuestSpec, NetworkSpec};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Everything waited for gets this long: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
const INSIDE: &str = "HOST_NET_LAB";

/// Runs a test body on a machine of its own. Needs root.
pub fn on_a_machine(test: &str, body: impl AsyncFnOnce(Lab)) {
    on_a_machine_without(test, "", body);
}

/// The same where one program is not installed.
pub fn on_a_machine_without(test: &str, missing: &str, body: impl AsyncFnOnce(Lab)) {
    if std::env::var(INSIDE).is_ok_and(|t| t == test) {
        let filter: Targets = std::env::var("RUST_LOG").as_deref().unwrap_or("host_net=info").parse().unwrap();
        tracing_subscriber::registry().with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr)).with(filter).init();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(async { body(Lab::new()).await });
    }
    for (program, package) in [
        ("unshare", "util-linux"),
        ("ip", "iproute2"),
        ("ovs-vswitchd", "openvswitch-switch"),
        ("nft", "nftables"),
        ("busybox", "busybox"),
        ("socat", "socat"),
        ("curl", "curl"),
        ("tcpdump", "tcpdump"),
        ("ethtool", "ethtool"),
    ] {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status().unwrap();
        assert!(found.success(), "this test needs `{program}`: install package {package}");
    }
    let mut again = Command::new("unshare");
    again.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]).arg(std::env::current_exe().unwrap());
    let bin = tempfile::tempdir().unwrap();
    if !missing.is_empty() {
        let script = "for d in $(echo $PATH | tr : ' '); do for f in $d/*; do n=${f##*/}; [ $n = MISSING ] || [ -e BIN/$n ] || ln -s $f BIN/; done; done";
        sh(&script.replace("MISSING", missing).replace("BIN", &bin.path().to_string_lossy()));
        again.env("PATH", bin.path());
    }
    let status = again.args([test, "--exact", "--nocapture"]).env(INSIDE, test).status().unwrap();
    assert!(status.success(), "{test} failed on its machine (root is needed)");
}

pub struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Lab {
        sh("ip link set lo up");
        Lab { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A namespace behind a veth: the machine has `192.0.2.1/24` on `up0`, the outside `192.0.2.2`. It knows no way back to guests.
    pub fn outside(&self) -> Namespace {
        let outside = Namespace::new();
        sh(&format!("ip link add up0 type veth peer name eth0 netns {}", outside.pid()));
        sh("ip addr add 192.0.2.1/24 dev up0 && ip link set up0 up");
        outside.sh("ip addr add 192.0.2.2/24 dev eth0 && ip link set eth0 up");
        outside
    }

    /// A guest at the other end of a tap, with this hardware address, not configured.
    pub fn guest(&self, tap: &str, mac: &str) -> Guest {
        let (host, inside) = (self.path(&format!("{tap}.host")), self.path(&format!("{tap}.guest")));
        let namespace = Namespace::new();
        let end = |name: &str, own: &Path, other: &Path| {
            let tun = format!("TUN,tun-name={name},tun-type=tap,iff-no-pi");
            let link = format!("UNIX-SENDTO:{},bind={}", other.display(), own.display());
            let _ = std::fs::remove_file(own);
            vec!["socat".to_string(), "-b9000".into(), tun, link]
        };
        let mut wires = Vec::new();
        // The guest's end first, and down: nothing is sent before both are there.
        wires.push(namespace.spawn(&end("eth0", &inside, &host)));
        wait("the guest's end of the wire", || inside.exists().then_some(()));
        wires.push(Process::new(command(&end(tap, &host, &inside)).spawn().unwrap()));
        wait("the host's end of the wire", || host.exists().then_some(()));
        wait("eth0", || namespace.try_sh("ip link show eth0").status.success().then_some(()));
        namespace.sh(&format!("ip link set eth0 address {mac} && ip link set eth0 up"));
        let leases = self.path(&format!("{tap}.leases"));
        Guest { namespace, leases, mac: mac.into(), _wires: wires }
    }
}

/// A network namespace, kept by a sleeping process.
pub struct Namespace(Process);

impl Namespace {
    pub fn new() -> Namespace {
        let holder = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
        let this = Namespace(Process::new(holder));
        let here = std::fs::read_link("/proc/self/ns/net").unwrap();
        let there = format!("/proc/{}/ns/net", this.pid());
        wait("a namespace", || std::fs::read_link(&there).is_ok_and(|ns| ns != here).then_some(()));
        this.sh("ip link set lo up");
        this
    }

    pub fn pid(&self) -> u32 {
        self.0.0.id()
    }

    fn enter(&self, words: &[String]) -> Command {
        let mut all = vec!["nsenter".to_string(), "-t".into(), self.pid().to_string(), "-n".into(), "--".into()];
        all.extend_from_slice(words);
        command(&all)
    }

    pub fn spawn(&self, words: &[String]) -> Process {
        Process::new(self.enter(words).spawn().unwrap())
    }

    pub fn try_sh(&self, script: &str) -> Output {
        self.enter(&["sh".into(), "-c".into(), script.into()]).output().unwrap()
    }

    /// Runs a script and returns what it printed; it must succeed.
    pub fn sh(&self, script: &str) -> String {
        ok(script, self.try_sh(script))
    }

    /// A server that says which address a caller has.
    pub fn says_who_calls(&self, port: u16) -> Process {
        // A caller that says nothing ends its half at once: the answer has time all the same.
        let words = ["socat", "-t20", &format!("TCP-LISTEN:{port},reuseaddr,fork"), "SYSTEM:echo $SOCAT_PEERADDR"].map(str::to_string);
        let serve = self.spawn(&words);
        wait("a server outside", || self.try_sh(&format!("ss -ltn | grep -q :{port}")).status.success().then_some(()));
        serve
    }
}

impl Namespace {
    /// Writes down what passes `eth0` from now on.
    pub fn capture(&self, file: PathBuf) -> Capture {
        let words = format!("tcpdump -n -i eth0 -w {} --immediate-mode -U", file.display());
        let _dump = self.spawn(&words.split(' ').map(str::to_string).collect::<Vec<_>>());
        wait("tcpdump", || std::fs::metadata(&file).is_ok_and(|m| m.len() >= 24).then_some(()));
        Capture { file, _dump }
    }

    /// A web server over a directory.
    pub fn serves_files(&self, port: u16, dir: &Path) -> Process {
        let words = ["busybox", "httpd", "-f", "-p", &port.to_string(), "-h", &dir.to_string_lossy()].map(str::to_string);
        let serve = self.spawn(&words);
        wait("a web server", || self.try_sh(&format!("ss -ltn | grep -q :{port}")).status.success().then_some(()));
        serve
    }
}

pub struct Guest {
    pub namespace: Namespace,
    leases: PathBuf,
    mac: String,
    _wires: Vec<Process>,
}

/// What one run of the DHCP client's script was told.
pub type Lease = BTreeMap<String, String>;

impl Guest {
    pub fn sh(&self, script: &str) -> String {
        self.namespace.sh(script)
    }

    pub fn try_sh(&self, script: &str) -> Output {
        self.namespace.try_sh(script)
    }

    /// Asks for an address, takes it, and leaves the client running.
    pub fn dhcp(&self) -> (Process, Lease) {
        let script = self.leases.with_extension("sh");
        std::fs::write(&script, SCRIPT.replace("LEASES", &self.leases.to_string_lossy())).unwrap();
        sh(&format!("chmod +x {}", script.display()));
        let _ = std::fs::remove_file(&self.leases);
        let words = format!(
            "busybox udhcpc -i eth0 -f -n -t 20 -T 3 -s {} -O staticroutes -O mtu -O ntpsrv -O 58 -O 59 -x hostname:wish",
            script.display()
        );
        let client = self.namespace.spawn(&words.split(' ').map(str::to_string).collect::<Vec<_>>());
        let lease = self.lease("bound", 1);
        (client, lease)
    }

    /// Whether a client gets anything within a few tries.
    pub fn dhcp_is_silent(&self) -> bool {
        !self.try_sh("busybox udhcpc -i eth0 -f -n -q -t 3 -T 1 -s /bin/true").status.success()
    }

    /// The `count`th time the client's script was run for this reason.
    pub fn lease(&self, reason: &str, count: usize) -> Lease {
        wait(&format!("{reason} number {count} of {}", self.mac), || {
            let text = std::fs::read_to_string(&self.leases).unwrap_or_default();
            let mut runs = text.split("---\n").filter(|r| r.contains(&format!("reason={reason}\n")) && r.contains("end=\n"));
            runs.nth(count - 1).map(|r| r.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect())
        })
    }

    pub fn pings(&self, address: &str) -> bool {
        pings(|script| self.try_sh(script), address)
    }

    /// Waits until nobody answers there: a switch goes by its old rules for a moment after it was given new ones.
    pub fn loses(&self, address: &str) {
        let lost = || (!self.try_sh(&format!("ping -n -c 2 -W 1 {address}")).status.success()).then_some(());
        wait(&format!("{address} to answer no more"), lost);
    }

    /// What a URL says, with the status before it.
    pub fn get(&self, url: &str) -> String {
        let fetched = self.try_sh(&format!("curl -s -m 20 -w '\\n%{{http_code}}' {url}"));
        let text = String::from_utf8_lossy(&fetched.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", "000"));
        format!("{status} {body}")
    }
}

/// Frames written down by `tcpdump`, in the order they passed: each a moment after it did.
pub struct Capture {
    file: PathBuf,
    _dump: Process,
}

impl Capture {
    fn read(&self, filter: &str) -> Output {
        try_sh(&format!("tcpdump -n -r {} '{filter}'", self.file.display()))
    }

    /// Waits until such a frame is written down. What passed before it is, too.
    pub fn holds(&self, filter: &str) {
        // The last frame may be there by half.
        wait(&format!("frames: {filter}"), || Some(self.read(filter)).filter(|o| o.status.success() && !o.stdout.is_empty()));
    }

    /// Such frames among those written down.
    pub fn seen(&self, filter: &str) -> String {
        let read = wait(&format!("frames: {filter}"), || Some(self.read(filter)).filter(|o| o.status.success()));
        String::from_utf8(read.stdout).unwrap()
    }
}

/// Configures the interface as a distribution's script does, and writes down what it was told.
const SCRIPT: &str = r#"#!/bin/sh
case $1 in
deconfig) ip addr flush dev $interface; ip link set $interface up ;;
bound|renew)
  ip link set $interface mtu ${mtu:-1500}
  ip addr replace $ip/$mask dev $interface
  set -- "$1" $staticroutes
  reason=$1; shift
  while [ $# -ge 2 ]; do
    if [ "$2" = 0.0.0.0 ]; then ip route replace $1 dev $interface; else ip route replace $1 via $2 dev $interface onlink; fi
    shift 2
  done
  { echo "reason=$reason"; env | grep -E '^(ip|mask|router|dns|hostname|domain|mtu|ntpsrv|staticroutes|lease|serverid|broadcast|opt[0-9]+)='; echo "end="; echo "---"; } >> LEASES ;;
nak) { echo "reason=nak"; echo "end="; echo "---"; } >> LEASES ;;
esac
"#;

pub fn pings(run: impl Fn(&str) -> Output, address: &str) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if run(&format!("ping -n -c 1 -W 2 {address}")).status.success() {
            return true;
        }
    }
    false
}

/// A process that ends with its owner.
pub struct Process(Child);

impl Process {
    pub fn new(child: Child) -> Process {
        Process(child)
    }

    /// Waits for its end.
    pub fn finish(&mut self) {
        self.0.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        sh(&format!("kill -{name} {}", self.0.id()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).process_group(0);
    command
}

pub fn try_sh(script: &str) -> Output {
    command(&["sh".into(), "-c".into(), script.into()]).output().unwrap()
}

/// Runs a script on the machine and returns what it printed; it must succeed.
pub fn sh(script: &str) -> String {
    ok(script, try_sh(script))
}

fn ok(script: &str, output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Tries until there is an answer.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited {} s for {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn nat_network(id: &str, cidr: &str, gateway: &str) -> NetworkSpec {
    NetworkSpec {
        id: id.into(),
        name: id.into(),
        cidr: cidr.into(),
        gateway: gateway.into(),
        nat: true,
        dns: vec!["9.9.9.9".into()],
        ntp: vec!["10.7.7.7".into()],
        domain: "cloud.example".into(),
        mtu: 1442,
        lease_secs: 3600,
        ..Default::default()
    }
}

/// A guest with one NIC, `tap<n>`, hardware address ending in `n`.
pub fn guest_spec(n: u8, network: &str, ip: &str) -> GuestSpec {
    let nic = GuestNic {
        index: 0,
        mac: mac(n),
        network_id: network.into(),
        ip_addr: ip.into(),
        ifname: format!("tap{n}"),
        is_default: true,
        src_mac_check: true,
        src_ip_check: true,
        ..Default::default()
    };
    let meta = api_agent::GuestMeta { hostname: format!("vm-{n}"), ssh_keys: vec![format!("ssh-ed25519 KEY{n}")], ..Default::default() };
    GuestSpec { id: format!("guest-{n}"), name: format!("Guest {n}"), nics: vec![nic], meta, ..Default::default() }
}

pub fn mac(n: u8) -> String {
    format!("00:22:0a:00:00:{n:02x}")
}
