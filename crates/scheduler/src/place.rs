//! The pure part: from a snapshot and a request to ranked candidates and a reason for every host that is not one.

use crate::{HostView, NetView, Shared, Snapshot, StorageView};
use base::{Error, Said, SaidPart, err, said};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    mem::discriminant,
};

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
    /// Exactly this network; empty: one that takes servers by itself and is the project's own or shared with it.
    pub network_id: String,
    pub wire_id: String,
    /// Of those that take servers by themselves, one with addresses of the outside; without it, only of the inside.
    pub exit: bool,
    /// Of those that take servers by themselves, one that is not shared.
    pub private: bool,
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
    /// One of these zones; empty: any.
    pub prefer_zones: Vec<String>,
    /// Whose the server is: decides which networks it may land on by itself, and which hosts take it.
    pub project_id: String,
    pub domain_id: String,
    /// Hosts of every domain count: the server is there already, or nobody said whose it is.
    pub any_domain: bool,
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
    /// It belongs to another domain and is not shared with the server's.
    Domain,
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
    /// The interface at this position names no network, and those on its wires are other projects' and not shared with the server's.
    Ownership {
        nic: usize,
    },
    /// The interface at this position names no network, and none on its wires is as it was wished for: of the outside or the inside, shared or not.
    Kind {
        nic: usize,
    },
    /// No address is left for the interface at this position.
    Addresses {
        nic: usize,
    },
}

impl Refusal {
    /// The predicate it comes from (spec 12 §6.1); empty where the host was not looked at, because others were asked for.
    pub fn predicate(&self) -> &'static str {
        match self {
            Refusal::Disabled | Refusal::Offline | Refusal::Maintenance => "host_status",
            Refusal::Type(_) => "host_hypervisor_runtime",
            Refusal::NotPreferred | Refusal::Zone => "",
            Refusal::Domain => "domain_ownership",
            Refusal::Architecture(_) | Refusal::Cpu { .. } => "host_cpu",
            Refusal::Memory { .. } => "host_memory",
            Refusal::Storage { .. } => "host_storage",
            Refusal::Network { .. } | Refusal::Ownership { .. } | Refusal::Kind { .. } | Refusal::Addresses { .. } => "host_network",
        }
    }

    /// A sentence without the host's name; numbers say what would do.
    pub fn said(&self, r: &Request) -> Said {
        match self {
            Refusal::Disabled => said!("it is disabled"),
            Refusal::Offline => said!("its agent is offline"),
            Refusal::Maintenance => said!("it is under maintenance"),
            Refusal::Type(t) => said!("its type is {}", t),
            Refusal::NotPreferred => said!("another host was asked for"),
            Refusal::Zone => said!("it is in another zone"),
            Refusal::Domain => said!("it belongs to another domain and is not shared with this one"),
            Refusal::Architecture(a) => said!("its architecture is {}", a),
            Refusal::Cpu { free } => said!("{} processors wanted, {} free", r.vcpu_count, *free),
            Refusal::Memory { free } => said!("{} MiB of memory wanted, {} free", r.vmem_size, *free),
            Refusal::Storage { disk, free } => {
                let size = r.disks.get(*disk).map_or(0, |d| d.size);
                said!("no storage for disk {}: {} MiB wanted, at most {} free", *disk, size, *free)
            }
            Refusal::Network { nic } => said!("the network of interface {} is not on its wires", *nic),
            Refusal::Ownership { nic } => {
                said!("for interface {} it has only networks that are not shared with the project; name another", *nic)
            }
            Refusal::Kind { nic } if r.nets.get(*nic).is_some_and(|n| n.private) => {
                said!("for interface {} it has no network of the project alone; leave out private, or name a network", *nic)
            }
            Refusal::Kind { nic } if r.nets.get(*nic).is_some_and(|n| n.exit) => {
                said!("for interface {} it has no network with outside addresses; leave out exit, or name a network", *nic)
            }
            Refusal::Kind { nic } => said!("for interface {} it has only networks with outside addresses; name one, or ask for exit", *nic),
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
            Refusal::Domain => said!("{} of another domain", n),
            Refusal::Architecture(_) => said!("{} of another architecture", n),
            Refusal::Cpu { .. } => said!("{} without enough processors", n),
            Refusal::Memory { .. } => said!("{} without enough memory", n),
            Refusal::Storage { .. } => said!("{} without enough storage", n),
            Refusal::Network { .. } => said!("{} not on the network", n),
            Refusal::Ownership { .. } => said!("{} without a network shared with the project", n),
            Refusal::Kind { .. } => said!("{} without such a network", n),
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
            (Ok(()), Ok(networks)) => out.candidates.push(candidate(host, &disks, networks, score)),
            (Err(refusal), _) | (_, Err(refusal)) => out.refusals.push((host.name.clone(), refusal)),
        }
    }
    out
}

fn candidate(host: &HostView, disks: &[&StorageView], networks: &[&NetView], score: i64) -> Candidate {
    Candidate {
        host_id: host.id.clone(),
        name: host.name.clone(),
        zone_id: host.zone_id.clone(),
        storages: disks.iter().map(|s| s.id.clone()).collect(),
        networks: networks.iter().map(|n| n.id.clone()).collect(),
        score,
    }
}

/// Deals `count` servers over the hosts that can take them, best first, one to each host in a round, as long as it has room and its networks addresses.
pub fn deal(snapshot: &Snapshot, request: &Request, count: usize) -> (Vec<Candidate>, Outcome) {
    let out = place(snapshot, request, count);
    let mut hosts: Vec<(i64, HostView)> =
        out.candidates.iter().filter_map(|c| Some((c.score, snapshot.hosts().get(&c.host_id)?.clone()))).collect();
    let mut left = Snapshot::default();
    left.networks = snapshot.networks.clone();
    let mut dealt: Vec<Candidate> = Vec::with_capacity(count);
    while dealt.len() < count && !hosts.is_empty() {
        hosts.retain_mut(|(score, host)| {
            if dealt.len() == count {
                return true;
            }
            let mut disks = Vec::new();
            let taken = admit(host, request).and_then(|()| storages(host, request, &mut disks)).and_then(|()| {
                let mut nets = Nets::new(&left, request);
                nets.of(host).map(|networks| candidate(host, &disks, networks, *score))
            });
            let Ok(taken) = taken else { return false };
            host.cpu_commit += request.vcpu_count;
            host.mem_commit += request.vmem_size;
            for (id, disk) in taken.storages.iter().zip(&request.disks) {
                host.storages.iter_mut().filter(|s| s.id == *id).for_each(|s| s.free -= disk.size);
            }
            for id in &taken.networks {
                left.networks.entry(id.clone()).and_modify(|n| n.free -= 1);
            }
            dealt.push(taken);
            true
        });
    }
    (dealt, out)
}

fn admit(host: &HostView, r: &Request) -> Result<(), Refusal> {
    let kind = if r.host_type.is_empty() { "hypervisor" } else { r.host_type.as_str() };
    if *host.host_type != *kind {
        return Err(Refusal::Type(host.host_type.to_string()));
    }
    if !r.prefer_host.is_empty() && host.id != r.prefer_host {
        return Err(Refusal::NotPreferred);
    }
    let elsewhere = !r.prefer_zones.is_empty() && !r.prefer_zones.contains(&host.zone_id);
    if elsewhere || (!r.prefer_zone.is_empty() && host.zone_id != r.prefer_zone) {
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
    if !r.any_domain && !host.reach.covers(&r.project_id, &r.domain_id) {
        return Err(Refusal::Domain);
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
    /// Wires with networks that take servers by themselves, though not this project's.
    closed: HashSet<&'s str>,
    /// Where in `found` the answer for a set of wires is.
    by_wires: HashMap<*const String, usize>,
    found: Vec<Result<Vec<&'s NetView>, Refusal>>,
}

impl<'s> Nets<'s> {
    fn new(snapshot: &'s Snapshot, request: &'s Request) -> Nets<'s> {
        let mut open: HashMap<&str, Vec<&NetView>> = HashMap::new();
        let mut closed = HashSet::new();
        if request.nets.iter().any(|wish| wish.network_id.is_empty()) {
            for n in snapshot.networks.values().filter(|n| n.takes_servers) {
                if n.reach.covers(&request.project_id, &request.domain_id) {
                    open.entry(&n.wire_id).or_default().push(n);
                } else {
                    closed.insert(n.wire_id.as_str());
                }
            }
        }
        Nets { snapshot, request, open, closed, by_wires: HashMap::new(), found: Vec::new() }
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
            let wires = || wires.iter().map(String::as_str).filter(|w| wish.wire_id.is_empty() || *w == wish.wire_id);
            let mine = || wires().filter_map(|w| self.open.get(w)).flatten().copied();
            let reachable = || mine().filter(|n| n.exit == wish.exit && !(wish.private && n.reach.shared != Shared::Nobody));
            // Networks marked for it come first; then the one with most room.
            let best =
                reachable().filter(|n| left(n) > 0).max_by(|a, b| (a.auto, a.free).cmp(&(b.auto, b.free)).then_with(|| b.id.cmp(&a.id)));
            match best {
                Some(net) => out.push(net),
                None if reachable().next().is_some() => return Err(Refusal::Addresses { nic }),
                None if mine().next().is_some() => return Err(Refusal::Kind { nic }),
                None if wires().any(|w| self.closed.contains(w)) => return Err(Refusal::Ownership { nic }),
                None => return Err(Refusal::Network { nic }),
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Load, Reach};
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
                ..StorageView::default()
            }],
            wires: ["w".to_string()].into(),
            ..HostView::default()
        }
    }

    fn everybodys() -> Reach {
        Reach { shared: Shared::Everybody, ..Reach::default() }
    }

    fn world() -> Snapshot {
        let mut s = Snapshot::default();
        for id in ["a", "b"] {
            s.put(host(id));
        }
        s.networks.insert(
            "n".into(),
            NetView { id: "n".into(), wire_id: "w".into(), free: 2, takes_servers: true, reach: everybodys(), ..NetView::default() },
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
        let any = |f: fn(&mut NetWish)| {
            move |_: &mut Snapshot, r: &mut Request| {
                r.nets = vec![NetWish::default()];
                f(&mut r.nets[0]);
            }
        };
        check(any(|n| n.exit = true), Err(Refusal::Kind { nic: 0 }));
        check(any(|n| n.private = true), Err(Refusal::Kind { nic: 0 }));
        check(any(|n| n.wire_id = "other".into()), Err(Refusal::Network { nic: 0 }));
        let outside = |s: &mut Snapshot, r: &mut Request, exit: bool| {
            s.networks.get_mut("n").unwrap().exit = true;
            r.nets = vec![NetWish { exit, ..NetWish::default() }];
        };
        check(|s, r| outside(s, r, true), Ok("a"));
        check(|s, r| outside(s, r, false), Err(Refusal::Kind { nic: 0 }));
        check(|s, _| s.networks.get_mut("n").unwrap().exit = true, Ok("a"));
        let alone = |s: &mut Snapshot, r: &mut Request| {
            s.networks.get_mut("n").unwrap().reach.shared = Shared::Nobody;
            r.nets = vec![NetWish { private: true, ..NetWish::default() }];
        };
        check(alone, Ok("a"));
        check(|_, r| r.prefer_zone = "other".into(), Err(Refusal::Zone));
        check(|_, r| r.prefer_zones = vec!["other".into()], Err(Refusal::Zone));
        check(|_, r| r.prefer_zones = vec!["other".into(), "z".into()], Ok("a"));
        check(|_, r| r.host_type = "baremetal".into(), Err(Refusal::Type("hypervisor".into())));
    }

    /// Whose servers land on what by themselves: the owner, how it is shared, and for three projects of two domains whether it takes their servers.
    #[test]
    fn only_what_is_shared_takes_a_server_by_itself() {
        let ids = |id: &str| vec![id.to_string()];
        let owners = [("a", "east"), ("b", "east"), ("c", "west")];
        let cases = [
            (Shared::Nobody, [true, false, false], [true, true, false]),
            (Shared::Projects(ids("b")), [true, true, false], [true, true, false]),
            (Shared::Projects(ids("c")), [true, false, true], [true, true, true]),
            (Shared::Domains(vec![]), [true, true, false], [true, true, false]),
            (Shared::Domains(ids("west")), [true, true, true], [true, true, true]),
            (Shared::Domains(ids("north")), [true, true, false], [true, true, false]),
            (Shared::Everybody, [true, true, true], [true, true, true]),
        ];
        for (shared, network, machine) in cases {
            for (n, (project, domain)) in owners.into_iter().enumerate() {
                let (mut s, mut r) = (world(), request());
                (r.project_id, r.domain_id) = (project.into(), domain.into());
                all(&mut s, |h| h.reach = everybodys().into());
                r.nets[0].network_id = String::new();
                s.networks.get_mut("n").unwrap().reach = Reach { project_id: "a".into(), domain_id: "east".into(), shared: shared.clone() };
                let out = place(&s, &r, 5);
                assert_eq!(!out.candidates.is_empty(), network[n], "a network shared with {shared:?}, a server of {project}: {out:?}");
                assert!(out.refusals.iter().all(|(_, why)| *why == Refusal::Ownership { nic: 0 }), "{out:?}");
                // Who names it has been asked before whether he sees it.
                r.nets[0].network_id = "n".into();
                assert_eq!(place(&s, &r, 5).candidates.len(), 2);

                let whole = Reach { domain_id: "east".into(), shared: shared.clone(), ..Reach::default() };
                all(&mut s, |h| h.reach = whole.clone().into());
                let out = place(&s, &r, 5);
                assert_eq!(!out.candidates.is_empty(), machine[n], "a host shared with {shared:?}, a server of {project}: {out:?}");
                assert!(out.refusals.iter().all(|(_, why)| *why == Refusal::Domain), "{out:?}");
                r.any_domain = true;
                assert_eq!(place(&s, &r, 5).candidates.len(), 2, "who is there already stays");
            }
        }
    }

    /// As many as there is room for, and addresses: of two hosts with room for seven servers each, on a network with two addresses and one with one.
    #[test]
    fn no_more_are_dealt_than_there_are_addresses() {
        let (mut s, mut r) = (world(), request());
        r.disks[0].size = 10_000;
        let hosts = |s: &Snapshot, r: &Request| deal(s, r, 9).0.into_iter().map(|c| c.host_id).collect::<Vec<_>>();
        assert_eq!(hosts(&s, &r), ["a", "b"]);
        r.nets[0].network_id = String::new();
        let more = NetView { id: "m".into(), free: 1, ..s.networks["n"].clone() };
        s.networks.insert("m".into(), more);
        assert_eq!(hosts(&s, &r), ["a", "b", "a"]);
        s.networks.get_mut("n").unwrap().free = 100;
        assert_eq!(hosts(&s, &r), ["a", "b", "a", "b"], "each has room for two disks");
        r.disks.clear();
        assert_eq!((hosts(&s, &r).len(), deal(&s, &r, 100).0.len()), (9, 16), "each has memory for eight");
    }

    /// What one host can reach is not taken for what another can.
    #[test]
    fn each_host_gets_networks_of_its_own_wires() {
        let (mut s, mut r) = (world(), request());
        change(&mut s, "b", |h| h.wires = ["v".to_string(), "w".to_string()].into());
        s.put(HostView { wires: ["x".to_string()].into(), ..host("c") });
        for (id, wire, free) in [("m", "v", 9), ("k", "v", 9)] {
            let net = NetView { id: id.into(), wire_id: wire.into(), free, takes_servers: true, reach: everybodys(), ..NetView::default() };
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
