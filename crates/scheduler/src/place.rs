//! The pure part: from a snapshot and a request to ranked candidates and a reason for every host that is not one.

use crate::{HostView, NetView, Snapshot, StorageView};
use base::{Error, Said, SaidPart, err, said};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, mem::discriminant};

/// A disk to be put somewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskWish {
    /// MiB.
    pub size: i64,
    /// Storage type; empty: any.
    pub backend: String,
    /// Exactly this storage; empty: any.
    pub storage_id: String,
    pub medium: String,
}

/// An interface to be plugged in somewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetWish {
    /// Exactly this network; empty: one that takes servers by itself.
    pub network_id: String,
    pub wire_id: String,
}

/// A server to be placed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    pub vcpu_count: i64,
    /// MiB.
    pub vmem_size: i64,
    pub disks: Vec<DiskWish>,
    pub nets: Vec<NetWish>,
    /// Empty: `hypervisor`.
    pub host_type: String,
    pub os_arch: String,
    pub prefer_host: String,
    pub prefer_zone: String,
    /// Whose the server is: decides which networks it may land on by itself.
    pub project_id: String,
    pub domain_id: String,
}

/// A host that can take it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub host_id: String,
    pub name: String,
    pub zone_id: String,
    /// Storage of each disk.
    pub storages: Vec<String>,
    /// Network of each interface.
    pub networks: Vec<String>,
    /// Higher is better.
    pub score: i64,
}

/// Why a host cannot take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Disabled,
    Offline,
    Maintenance,
    Type(String),
    NotPreferred,
    Zone,
    Architecture(String),
    Cpu {
        free: i64,
    },
    Memory {
        free: i64,
    },
    /// No storage for the disk at this position, of this many MiB; the most any fitting storage has.
    Storage {
        disk: usize,
        free: i64,
    },
    /// The network of the interface at this position is not on any of its wires.
    Network {
        nic: usize,
    },
    /// No address is left for the interface at this position.
    Addresses {
        nic: usize,
    },
}

impl Refusal {
    /// A sentence without the host's name; numbers say what would do.
    pub fn said(&self, r: &Request) -> Said {
        match self {
            Refusal::Disabled => said!("it is disabled"),
            Refusal::Offline => said!("its agent is offline"),
            Refusal::Maintenance => said!("it is under maintenance"),
            Refusal::Type(t) => said!("its type is {}", t),
            Refusal::NotPreferred => said!("another host was asked for"),
            Refusal::Zone => said!("it is in another zone"),
            Refusal::Architecture(a) => said!("its architecture is {}", a),
            Refusal::Cpu { free } => said!("{} processors wanted, {} free", r.vcpu_count, *free),
            Refusal::Memory { free } => said!("{} MiB of memory wanted, {} free", r.vmem_size, *free),
            Refusal::Storage { disk, free } => {
                let size = r.disks.get(*disk).map_or(0, |d| d.size);
                said!("no storage for disk {}: {} MiB wanted, at most {} free", *disk, size, *free)
            }
            Refusal::Network { nic } => said!("the network of interface {} is not on its wires", *nic),
            Refusal::Addresses { nic } => said!("no free address for interface {}", *nic),
        }
    }

    /// So many hosts were refused for this.
    fn counted(&self, n: usize) -> Said {
        match self {
            Refusal::Disabled => said!("{} disabled", n),
            Refusal::Offline => said!("{} offline", n),
            Refusal::Maintenance => said!("{} under maintenance", n),
            Refusal::Type(_) => said!("{} of another type", n),
            Refusal::NotPreferred => said!("{} not the one asked for", n),
            Refusal::Zone => said!("{} in another zone", n),
            Refusal::Architecture(_) => said!("{} of another architecture", n),
            Refusal::Cpu { .. } => said!("{} without enough processors", n),
            Refusal::Memory { .. } => said!("{} without enough memory", n),
            Refusal::Storage { .. } => said!("{} without enough storage", n),
            Refusal::Network { .. } => said!("{} not on the network", n),
            Refusal::Addresses { .. } => said!("{} without a free address", n),
        }
    }
}

/// What came of a request.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Best first.
    pub candidates: Vec<Candidate>,
    /// Host name and reason, for every other host.
    pub refusals: Vec<(String, Refusal)>,
}

/// How many hosts an explanation names one by one.
const NAMED: usize = 10;

impl Outcome {
    /// Why there is no candidate: counted by reason, and the first hosts by name.
    pub fn explain(&self, request: &Request) -> Said {
        if self.refusals.is_empty() {
            return said!("there are no hosts; add one with wolke host");
        }
        // Thousands of refusals of a dozen kinds: words are made for the kinds alone.
        let mut kinds: Vec<(&Refusal, usize)> = Vec::new();
        for (_, refusal) in &self.refusals {
            match kinds.iter_mut().find(|(known, _)| discriminant(*known) == discriminant(refusal)) {
                Some((_, n)) => *n += 1,
                None => kinds.push((refusal, 1)),
            }
        }
        kinds.sort_by_cached_key(|(refusal, _)| refusal.counted(0).to_string());
        let summary = SaidPart::many(", ", kinds.into_iter().map(|(refusal, n)| refusal.counted(n)));
        let mut named: Vec<Said> =
            self.refusals.iter().take(NAMED).map(|(host, refusal)| said!("{}: {}", host, refusal.said(request))).collect();
        if self.refusals.len() > NAMED {
            named.push(said!("and {} more", self.refusals.len() - NAMED));
        }
        said!("{} hosts, {} ({})", self.refusals.len(), summary, SaidPart::many("; ", named))
    }

    /// The refusal of a request that nothing can take.
    pub fn refused(&self, request: &Request) -> Error {
        let why = self.explain(request);
        err!(InsufficientResource, "No matching resources: {}", why).because(why)
    }
}

/// Ranks the hosts that can take the request; says of every other why it cannot.
///
/// Looks at ten thousand hosts in about a millisecond: what depends on the request only, or on which wires a host has, is found out once; and nothing is
/// put together for a host that is not among the best.
pub fn place(snapshot: &Snapshot, request: &Request, limit: usize) -> Outcome {
    let mut out = Outcome::default();
    let mut fit: Vec<(i64, &HostView)> = Vec::new();
    let mut nets = Nets::new(snapshot, request);
    let mut disks = Vec::with_capacity(request.disks.len());
    for host in snapshot.hosts().values() {
        match admit(host, request).and_then(|()| storages(host, request, &mut disks)).and_then(|()| nets.of(host).map(drop)) {
            Ok(()) => fit.push((score(host, request), host)),
            Err(refusal) => out.refusals.push((host.name.clone(), refusal)),
        }
    }
    // Ties go by id, so that the same snapshot gives the same answer.
    let order = |a: &(i64, &HostView), b: &(i64, &HostView)| b.0.cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id));
    if fit.len() > limit && limit > 0 {
        fit.select_nth_unstable_by(limit - 1, order);
        fit.truncate(limit);
    }
    fit.sort_unstable_by(order);
    for (score, host) in fit {
        match (storages(host, request, &mut disks), nets.of(host)) {
            (Ok(()), Ok(networks)) => out.candidates.push(Candidate {
                host_id: host.id.clone(),
                name: host.name.clone(),
                zone_id: host.zone_id.clone(),
                storages: disks.iter().map(|s| s.id.clone()).collect(),
                networks: networks.iter().map(|n| n.id.clone()).collect(),
                score,
            }),
            (Err(refusal), _) | (_, Err(refusal)) => out.refusals.push((host.name.clone(), refusal)),
        }
    }
    out
}

fn admit(host: &HostView, r: &Request) -> Result<(), Refusal> {
    let kind = if r.host_type.is_empty() { "hypervisor" } else { r.host_type.as_str() };
    if *host.host_type != *kind {
        return Err(Refusal::Type(host.host_type.to_string()));
    }
    if !r.prefer_host.is_empty() && host.id != r.prefer_host {
        return Err(Refusal::NotPreferred);
    }
    if !r.prefer_zone.is_empty() && host.zone_id != r.prefer_zone {
        return Err(Refusal::Zone);
    }
    if !host.enabled {
        return Err(Refusal::Disabled);
    }
    if !host.online {
        return Err(Refusal::Offline);
    }
    if host.maintenance {
        return Err(Refusal::Maintenance);
    }
    if !r.os_arch.is_empty() && !host.architecture.is_empty() && *host.architecture != *r.os_arch {
        return Err(Refusal::Architecture(host.architecture.to_string()));
    }
    let cpu = host.cpu_capacity - host.cpu_commit;
    if cpu < r.vcpu_count {
        return Err(Refusal::Cpu { free: cpu });
    }
    let mem = host.mem_capacity - host.mem_commit;
    if mem < r.vmem_size {
        return Err(Refusal::Memory { free: mem });
    }
    Ok(())
}

/// The emptier after placement the better: spreads load, keeps room for large servers everywhere.
fn score(host: &HostView, r: &Request) -> i64 {
    let share = |free: i64, all: i64| if all > 0 { free.max(0) * 1000 / all } else { 0 };
    share(host.cpu_capacity - host.cpu_commit - host.promised.cpu - r.vcpu_count, host.cpu_capacity)
        + share(host.mem_capacity - host.mem_commit - host.promised.mem - r.vmem_size, host.mem_capacity)
}

/// A storage for each disk, into `out`: the one with most room left, counting the disks already put there.
fn storages<'s>(host: &'s HostView, r: &Request, out: &mut Vec<&'s StorageView>) -> Result<(), Refusal> {
    out.clear();
    for (i, disk) in r.disks.iter().enumerate() {
        let taken = |one: &StorageView| out.iter().zip(&r.disks).filter(|(s, _)| std::ptr::eq(**s, one)).map(|(_, d)| d.size).sum::<i64>();
        let fits = |s: &&StorageView| {
            s.usable
                && (disk.storage_id.is_empty() || s.id == disk.storage_id)
                && (disk.backend.is_empty() || *s.storage_type == *disk.backend)
                && (disk.medium.is_empty() || *s.medium == *disk.medium)
        };
        // The last of several with as much room: the first by id.
        let best = host.storages.iter().rev().filter(fits).map(|s| (s.free - taken(s), s)).max_by_key(|(free, _)| *free);
        match best {
            Some((free, storage)) if free >= disk.size => out.push(storage),
            other => return Err(Refusal::Storage { disk: i, free: other.map_or(0, |(free, _)| free.max(0)) }),
        }
    }
    Ok(())
}

/// The networks of a request's interfaces, found once for each set of wires: hosts have the same few.
struct Nets<'s> {
    snapshot: &'s Snapshot,
    request: &'s Request,
    /// Networks a server may land on by itself, by wire.
    open: HashMap<&'s str, Vec<&'s NetView>>,
    /// Where in `found` the answer for a set of wires is.
    by_wires: HashMap<*const String, usize>,
    found: Vec<Result<Vec<&'s NetView>, Refusal>>,
}

impl<'s> Nets<'s> {
    fn new(snapshot: &'s Snapshot, request: &'s Request) -> Nets<'s> {
        let mut open: HashMap<&str, Vec<&NetView>> = HashMap::new();
        if request.nets.iter().any(|wish| wish.network_id.is_empty()) {
            for n in snapshot.networks.values().filter(|n| n.takes_servers && (n.public || n.project_id == request.project_id)) {
                open.entry(&n.wire_id).or_default().push(n);
            }
        }
        Nets { snapshot, request, open, by_wires: HashMap::new(), found: Vec::new() }
    }

    fn of(&mut self, host: &'s HostView) -> Result<&[&'s NetView], Refusal> {
        // A set of wires is kept once, so that where it lies says which it is.
        let at = match self.by_wires.get(&host.wires.as_ptr()) {
            Some(at) => *at,
            None => {
                self.found.push(self.find(&host.wires));
                self.by_wires.insert(host.wires.as_ptr(), self.found.len() - 1);
                self.found.len() - 1
            }
        };
        match &self.found[at] {
            Ok(networks) => Ok(networks),
            Err(refusal) => Err(refusal.clone()),
        }
    }

    fn find(&self, wires: &[String]) -> Result<Vec<&'s NetView>, Refusal> {
        let mut out: Vec<&NetView> = Vec::with_capacity(self.request.nets.len());
        for (nic, wish) in self.request.nets.iter().enumerate() {
            let left = |n: &NetView| n.free - out.iter().filter(|o| o.id == n.id).count() as i64;
            if !wish.network_id.is_empty() {
                let net = self.snapshot.networks.get(&wish.network_id).filter(|n| wires.contains(&n.wire_id));
                let Some(net) = net else { return Err(Refusal::Network { nic }) };
                if left(net) < 1 {
                    return Err(Refusal::Addresses { nic });
                }
                out.push(net);
                continue;
            }
            let reachable = || {
                let wires = wires.iter().filter(|w| wish.wire_id.is_empty() || **w == wish.wire_id);
                wires.filter_map(|w| self.open.get(w.as_str())).flatten().copied()
            };
            // Networks marked for it come first; then the one with most room.
            let best =
                reachable().filter(|n| left(n) > 0).max_by(|a, b| (a.auto, a.free).cmp(&(b.auto, b.free)).then_with(|| b.id.cmp(&a.id)));
            match best {
                Some(net) => out.push(net),
                None if reachable().next().is_some() => return Err(Refusal::Addresses { nic }),
                None => return Err(Refusal::Network { nic }),
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Load;
    use std::sync::Arc;

    /// Of storages with as much room the first by id, wherever it stood.
    #[test]
    fn ties_go_by_id() {
        let (mut s, r) = (world(), request());
        for _ in 0..2 {
            let storages: Vec<_> = ["t", "s", "u"].map(|id| StorageView { id: id.into(), ..host("a").storages[0].clone() }).into();
            change(&mut s, "a", |h| h.storages = storages.clone());
            assert_eq!(place(&s, &r, 5).candidates[0].storages, ["s"]);
        }
        assert!(
            Arc::ptr_eq(&s.hosts()["a"].host_type, &s.hosts()["b"].host_type) && Arc::ptr_eq(&s.hosts()["a"].wires, &s.hosts()["b"].wires)
        );
    }

    #[test]
    fn a_promise_decides_between_hosts_and_never_whether_there_is_room() {
        let mut s = world();
        let best = |s: &Snapshot| place(s, &request(), 2).candidates.into_iter().map(|c| c.host_id).collect::<Vec<_>>();
        assert_eq!(best(&s), ["a", "b"]);
        change(&mut s, "a", |h| h.promised = Load { cpu: 1, mem: 256 });
        assert_eq!(best(&s), ["b", "a"]);
        change(&mut s, "b", |h| h.promised = Load { cpu: 1000, mem: 100_000 });
        assert_eq!(best(&s), ["a", "b"]);
    }

    fn host(id: &str) -> HostView {
        HostView {
            id: id.into(),
            name: id.into(),
            zone_id: "z".into(),
            host_type: "hypervisor".into(),
            enabled: true,
            online: true,
            cpu_capacity: 64,
            mem_capacity: 8192,
            storages: vec![StorageView {
                id: format!("s-{id}"),
                storage_type: "local".into(),
                medium: "ssd".into(),
                free: 20_480,
                usable: true,
            }],
            wires: ["w".to_string()].into(),
            ..HostView::default()
        }
    }

    fn world() -> Snapshot {
        let mut s = Snapshot::default();
        for id in ["a", "b"] {
            s.put(host(id));
        }
        s.networks.insert(
            "n".into(),
            NetView { id: "n".into(), wire_id: "w".into(), free: 2, takes_servers: true, public: true, ..NetView::default() },
        );
        s
    }

    fn request() -> Request {
        Request {
            vcpu_count: 1,
            vmem_size: 1024,
            disks: vec![DiskWish { size: 10_240, ..DiskWish::default() }],
            nets: vec![NetWish { network_id: "n".into(), ..NetWish::default() }],
            ..Request::default()
        }
    }

    fn check(change: impl Fn(&mut Snapshot, &mut Request), want: Result<&str, Refusal>) {
        let (mut s, mut r) = (world(), request());
        change(&mut s, &mut r);
        let out = place(&s, &r, 5);
        match want {
            Ok(first) => assert_eq!(out.candidates.first().map(|c| c.host_id.as_str()), Some(first), "{:?}", out.refusals),
            Err(refusal) => {
                assert!(out.candidates.is_empty(), "{:?}", out.candidates);
                assert!(out.refusals.iter().any(|(_, r)| *r == refusal), "{:?}", out.refusals);
                assert!(out.explain(&r).to_string().starts_with("2 hosts"), "{}", out.explain(&r));
            }
        }
    }

    fn change(s: &mut Snapshot, id: &str, f: impl Fn(&mut HostView)) {
        let mut host = s.hosts()[id].clone();
        f(&mut host);
        s.put(host);
    }

    fn all(s: &mut Snapshot, f: impl Fn(&mut HostView)) {
        ["a", "b"].into_iter().for_each(|id| change(s, id, &f));
    }

    #[test]
    fn cases() {
        check(|_, _| {}, Ok("a"));
        check(|s, _| change(s, "a", |h| h.mem_commit = 4096), Ok("b"));
        check(|_, r| r.prefer_host = "b".into(), Ok("b"));
        check(|s, _| all(s, |h| h.enabled = false), Err(Refusal::Disabled));
        check(|s, _| all(s, |h| h.online = false), Err(Refusal::Offline));
        check(|s, _| all(s, |h| h.maintenance = true), Err(Refusal::Maintenance));
        check(|_, r| r.vcpu_count = 65, Err(Refusal::Cpu { free: 64 }));
        check(|_, r| r.vmem_size = 9000, Err(Refusal::Memory { free: 8192 }));
        check(|_, r| r.disks[0].size = 30_000, Err(Refusal::Storage { disk: 0, free: 20_480 }));
        check(
            |_, r| r.disks = vec![r.disks[0].clone(), r.disks[0].clone(), r.disks[0].clone()],
            Err(Refusal::Storage { disk: 2, free: 0 }),
        );
        check(|_, r| r.disks[0].backend = "rbd".into(), Err(Refusal::Storage { disk: 0, free: 0 }));
        check(|s, _| all(s, |h| h.wires = Arc::default()), Err(Refusal::Network { nic: 0 }));
        check(|s, _| s.networks.get_mut("n").unwrap().free = 0, Err(Refusal::Addresses { nic: 0 }));
        check(|_, r| r.nets[0].network_id = String::new(), Ok("a"));
        check(|_, r| r.nets = vec![NetWish::default(); 3], Err(Refusal::Addresses { nic: 2 }));
        check(|_, r| r.prefer_zone = "other".into(), Err(Refusal::Zone));
        check(|_, r| r.host_type = "baremetal".into(), Err(Refusal::Type("hypervisor".into())));
    }

    /// What one host can reach is not taken for what another can.
    #[test]
    fn each_host_gets_networks_of_its_own_wires() {
        let (mut s, mut r) = (world(), request());
        change(&mut s, "b", |h| h.wires = ["v".to_string(), "w".to_string()].into());
        s.put(HostView { wires: ["x".to_string()].into(), ..host("c") });
        for (id, wire, free) in [("m", "v", 9), ("k", "v", 9)] {
            let net = NetView { id: id.into(), wire_id: wire.into(), free, takes_servers: true, public: true, ..NetView::default() };
            s.networks.insert(id.into(), net);
        }
        r.nets = vec![NetWish::default(), NetWish { wire_id: "w".into(), ..NetWish::default() }];
        let out = place(&s, &r, 5);
        let networks: Vec<_> = out.candidates.iter().map(|c| (c.host_id.as_str(), c.networks.join(" "))).collect();
        assert_eq!(networks, [("a", "n n".to_string()), ("b", "k n".to_string())], "{out:?}");
        assert_eq!(out.refusals, [("c".to_string(), Refusal::Network { nic: 0 })]);
    }

    #[test]
    fn no_hosts_is_said() {
        assert!(place(&Snapshot::default(), &request(), 5).explain(&request()).to_string().contains("no hosts"));
    }
}
