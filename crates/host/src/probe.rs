//! The machine the agent runs on: what it is, and how busy.

use crate::{machine_room::MachineRoom, site::Boot};
use api_agent::{BridgeFacts, HostFacts, HostStats, StorageFacts};
use base::Result;
use host_net::BoxFuture;
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// This host, read from `/proc` and `/sys`.
pub struct Host {
    /// Directories of local storages.
    pub storages: Vec<PathBuf>,
    /// Integration bridge.
    pub bridge: String,
    pub zone: String,
    /// Address it is reached at; empty: the one of the default route's interface.
    pub access_ip: String,
    /// Version of the agent.
    pub version: String,
    /// Busy and total ticks at the last look.
    ticks: Mutex<(u64, u64)>,
}

impl Host {
    pub fn new(storages: Vec<PathBuf>, bridge: String, zone: String, access_ip: String, version: String) -> Host {
        Host { storages, bridge, zone, access_ip, version, ticks: Mutex::default() }
    }

    /// MiB the machine has.
    pub fn memory_mb(&self) -> i64 {
        meminfo("MemTotal") / 1024
    }

    fn storages(&self) -> Vec<StorageFacts> {
        self.storages
            .iter()
            .map(|path| {
                let (capacity_mb, used_mb) = space(path);
                StorageFacts {
                    path: path.display().to_string(),
                    storage_type: "local".into(),
                    medium_type: if rotates(path) { "rotate" } else { "ssd" }.into(),
                    capacity_mb,
                    used_mb,
                }
            })
            .collect()
    }

    fn look(&self) -> HostFacts {
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            cpuinfo.lines().find(|l| l.starts_with(name)).and_then(|l| l.split(':').nth(1)).unwrap_or_default().trim().to_string()
        };
        let number = |text: String| text.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let sockets = cpuinfo.lines().filter(|l| l.starts_with("physical id")).collect::<std::collections::HashSet<_>>().len().max(1);
        let os = read("/etc/os-release");
        let release =
            |key: &str| os.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default().trim_matches('"').to_string();
        let uname = rustix::system::uname();
        let (interface, mac) = access();
        let access_ip = if self.access_ip.is_empty() { address(&interface) } else { self.access_ip.clone() };
        let dmi = |name: &str| read(&format!("/sys/class/dmi/id/{name}")).trim().to_string();
        let sys_info: BTreeMap<String, String> =
            [("manufacture", dmi("sys_vendor")), ("model", dmi("product_name")), ("sn", dmi("product_serial"))]
                .into_iter()
                .filter(|(_, v)| !v.is_empty())
                .map(|(k, v)| (k.to_string(), v))
                .collect();
        HostFacts {
            hostname: uname.nodename().to_string_lossy().into_owned(),
            access_ip: access_ip.clone(),
            access_mac: mac.clone(),
            cpu_count: cpuinfo.lines().filter(|l| l.starts_with("processor")).count().max(1) as i64,
            node_count: sockets as i64,
            cpu_desc: field("model name"),
            cpu_mhz: number(field("cpu MHz")),
            cpu_cache: number(field("cache size")),
            cpu_architecture: uname.machine().to_string_lossy().into_owned(),
            mem_size: meminfo("MemTotal") / 1024,
            os_distribution: release("NAME"),
            os_version: release("VERSION_ID"),
            kernel_version: uname.release().to_string_lossy().into_owned(),
            version: self.version.clone(),
            zone: self.zone.clone(),
            storages: self.storages(),
            bridges: vec![BridgeFacts { bridge: self.bridge.clone(), interface, mac, ip_addr: access_ip, wire: String::new(), mtu: 1500 }],
            sys_info,
            ..HostFacts::default()
        }
    }

    fn busy(&self) -> f64 {
        let stat = read("/proc/stat");
        let ticks: Vec<u64> =
            stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        let (total, idle) = (ticks.iter().sum::<u64>(), ticks.get(3).copied().unwrap_or(0) + ticks.get(4).copied().unwrap_or(0));
        let mut last = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        let (busy, all) = ((total - idle).saturating_sub(last.0), total.saturating_sub(last.1));
        *last = (total - idle, total);
        if all == 0 { 0.0 } else { (busy as f64 * 1000.0 / all as f64).round() / 10.0 }
    }
}

impl MachineRoom for Host {
    fn facts(&self) -> BoxFuture<'_, Result<HostFacts>> {
        Box::pin(async { Ok(self.look()) })
    }

    fn stats(&self) -> BoxFuture<'_, HostStats> {
        Box::pin(async {
            let used = (meminfo("MemTotal") - meminfo("MemAvailable")).max(0) / 1024;
            HostStats { memory_used_mb: used, cpu_usage_percent: self.busy(), storages: self.storages() }
        })
    }

    fn boot(&self) -> Boot {
        let seconds = read("/proc/stat").lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse::<i64>().ok()).unwrap_or(0);
        Boot { id: read("/proc/sys/kernel/random/boot_id").trim().to_string(), at: seconds * 1_000_000 }
    }
}

/// A file of the kernel, empty when it is not there: what is unknown is reported as unknown.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// KiB.
fn meminfo(key: &str) -> i64 {
    read("/proc/meminfo").lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// MiB of the filesystem, all and used.
fn space(path: &PathBuf) -> (i64, i64) {
    match rustix::fs::statvfs(path) {
        Ok(s) => {
            let mib = |blocks: u64| i64::try_from(blocks.saturating_mul(s.f_frsize) >> 20).unwrap_or(i64::MAX);
            (mib(s.f_blocks), mib(s.f_blocks.saturating_sub(s.f_bavail)))
        }
        Err(_) => (0, 0),
    }
}

/// Whether the disk under a directory turns; unknown counts as not.
fn rotates(path: &PathBuf) -> bool {
    let Ok(stat) = rustix::fs::stat(path) else { return false };
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let own = format!("/sys/dev/block/{major}:{minor}/queue/rotational");
    let parent = format!("/sys/dev/block/{major}:{minor}/../queue/rotational");
    let text = if fs::exists(&own).unwrap_or(false) { read(&own) } else { read(&parent) };
    text.trim() == "1"
}

/// Interface of the default route, and its MAC.
fn access() -> (String, String) {
    let routes = read("/proc/net/route");
    let name = routes
        .lines()
        .skip(1)
        .filter_map(|l| {
            let mut words = l.split_whitespace();
            let (name, destination) = (words.next()?, words.next()?);
            (destination == "00000000").then(|| name.to_string())
        })
        .next()
        .unwrap_or_default();
    let mac = if name.is_empty() { String::new() } else { read(&format!("/sys/class/net/{name}/address")).trim().to_string() };
    (name, mac)
}

/// The address this machine has towards others: what the kernel would send from. Nothing is sent.
fn address(interface: &str) -> String {
    let here = || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect("192.0.2.1:9").ok()?;
        Some(socket.local_addr().ok()?.ip().to_string())
    };
    if interface.is_empty() { "127.0.0.1".to_string() } else { here().unwrap_or_else(|| "127.0.0.1".to_string()) }
}
