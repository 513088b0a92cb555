//! The counters and their names, as existing clients know them (spec 01 §14): `all.` before what belongs to projects and networks, nothing before
//! hosts, storages and zones; `domain.` before all of a domain's; nothing before a project's own. Memory and disks are in MiB, `storage_gb` in GiB.
//!
//! However many rows there are, a scope is counted with a constant number of statements. What the platform does not have has no counter
//! (`docs/compat/compute-climc.md`): a zero stands only where there could be something and is nothing.

use super::Within;
use base::{Ctx, Json, Kind, Result, Scope, Timestamp, Value};
use resource::Engine;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::Ipv4Addr,
};
use store::{Cond, Pick, Read, Select};

const DAY: i64 = 86_400_000_000;
const ARCHES: [&str; 3] = ["", "x86_64", "aarch64"];
/// Servers of one state: name, in the recycle bin, status (empty: any), whether they are counted by age too.
const FAMILIES: [(&str, bool, &str, bool); 4] = [
    ("servers", false, "", true),
    ("running_servers", false, "running", false),
    ("ready_servers", false, "ready", false),
    ("pending_delete_servers", true, "", true),
];

type Out = serde_json::Map<String, Json>;

/// One scope's counting.
struct Tally<'a> {
    ctx: &'a Ctx,
    within: &'a Within,
    at: Scope,
    /// Microseconds.
    now: i64,
    out: &'a mut Out,
}

/// What a disk's storage tells of it.
struct Store {
    kind: String,
    medium: String,
    system: bool,
    mounted: bool,
    domain: String,
    /// Capacity, given away, in truth used, can be given away.
    sums: [i64; 4],
}

pub(super) async fn count(engine: &Engine, ctx: &Ctx, asked: Scope, within: &Within) -> Result<Out> {
    let mut db = &engine.db;
    let stores = Select::from("storages")
        .column("id", Kind::Text)
        .column("storage_type", Kind::Text)
        .column("medium_type", Kind::Text)
        .column("domain_id", Kind::Text)
        .column("is_sys_disk_store", Kind::Bool);
    let stores = ["capacity", "used_capacity", "actual_capacity_used", "virtual_limit"]
        .into_iter()
        .fold(stores, |q, c| q.column(c, Kind::Int))
        .filter(live().and(within.storages()));
    let ties = Select::from("hoststorages").column("storage_id", Kind::Text).pick(Pick::Count).filter(live()).group_by("storage_id");
    let count = |table: &'static str| Select::from(table).pick(Pick::Count).filter(live());
    let [stores, ties, zones, regions] = take(db.together(&[stores, ties, count("zones"), count("cloudregions")]).await?)?;
    let mounted: HashSet<&str> = ties.iter().map(|r| r[0].as_str()).collect();
    let stores: HashMap<&str, Store> = stores
        .iter()
        .map(|r| {
            let store = Store {
                kind: r[1].as_str().into(),
                medium: r[2].as_str().into(),
                domain: r[3].as_str().into(),
                system: r[4].as_bool() == Some(true),
                mounted: mounted.contains(r[0].as_str()),
                sums: [5, 6, 7, 8].map(|i| int(&r[i])),
            };
            (r[0].as_str(), store)
        })
        .collect();
    let mut out = Out::new();
    if asked == Scope::System && within.whole() {
        out.insert("zones".into(), sum(&zones, 0, |_| true).into());
        out.insert("regions".into(), sum(&regions, 0, |_| true).into());
    }
    for at in [Scope::System, Scope::Domain, Scope::Project] {
        if at <= asked {
            Tally { ctx, within, at, now: engine.clock.now().micros(), out: &mut out }.level(db, &stores).await?;
        }
    }
    Ok(out)
}

fn live() -> Cond {
    Cond::eq("deleted", false)
}

fn int(value: &Value) -> i64 {
    value.as_int().unwrap_or(0)
}

/// The sum of a column over the rows that fit.
fn sum(rows: &[Vec<Value>], column: usize, fits: impl Fn(&[Value]) -> bool) -> i64 {
    rows.iter().filter(|r| fits(r)).map(|r| int(&r[column])).sum()
}

fn take<const N: usize>(answers: Vec<Vec<Vec<Value>>>) -> Result<[Vec<Vec<Value>>; N]> {
    answers.try_into().map_err(|_| base::Error::internal("a look at the database with another number of answers"))
}

fn rate(part: i64, whole: i64) -> Json {
    if part == 0 || whole <= 0 { Json::from(0) } else { Json::from((part as f64 / whole as f64 * 10_000.0).round() / 10_000.0) }
}

impl Tally<'_> {
    /// What belongs to the projects of this scope.
    fn owned(&self) -> Cond {
        match self.at {
            Scope::System => Cond::True,
            Scope::Domain => Cond::eq("domain_id", self.ctx.caller.project_domain_id.as_str()),
            _ => Cond::eq("tenant_id", self.ctx.caller.project_id.as_str()),
        }
    }

    fn put(&mut self, key: &str, value: impl Into<Json>) {
        let prefix = match self.at {
            Scope::System => "all.",
            Scope::Domain => "domain.",
            _ => "",
        };
        self.out.insert(format!("{prefix}{key}"), value.into());
    }

    /// Of a host or a storage: these have no word before them where all are counted.
    fn put_place(&mut self, key: &str, value: impl Into<Json>) {
        let prefix = if self.at == Scope::System { "" } else { "domain." };
        self.out.insert(format!("{prefix}{key}"), value.into());
    }

    fn servers(&self) -> Cond {
        live().and(self.owned()).and(self.within.lying("host_id", "hosts", self.within.hosts()))
    }

    async fn level(&mut self, mut db: &store::Db, stores: &HashMap<&str, Store>) -> Result<()> {
        let ages = [("", Cond::True), (".last_month", since(self.now - 30 * DAY)), (".last_week", since(self.now - 7 * DAY))];
        let of_age = |age: &Cond| {
            let select = Select::from("servers").column("status", Kind::Text).column("pending_deleted", Kind::Bool);
            let select = select.column("os_arch", Kind::Text).pick(Pick::Count).pick(Pick::Sum("vcpu_count".into()));
            let select = select.pick(Pick::Sum("vmem_size".into())).filter(self.servers().and(age.clone()));
            select.group_by("status").group_by("pending_deleted").group_by("os_arch")
        };
        let tied = || Select::from("guestdisks").column("disk_id", Kind::Text).filter(live());
        let disks = |attached: bool| {
            let here = self.within.lying("storage_id", "storages", self.within.storages());
            let held = Cond::in_select("id", tied());
            let cond = live().and(Cond::eq("pending_deleted", false)).and(self.owned()).and(here);
            let select = Select::from("disks").column("storage_id", Kind::Text).column("status", Kind::Text).pick(Pick::Count);
            let select = select.pick(Pick::Sum("disk_size".into())).filter(cond.and(if attached { held } else { held.not() }));
            select.group_by("storage_id").group_by("status")
        };
        let networks = live().and(self.owned()).and(self.within.lying("wire_id", "wires", self.within.wires()));
        let ranges = Select::from("networks").column("server_type", Kind::Text).column("guest_ip_start", Kind::Text);
        let ranges = ranges.column("size", Kind::Int).filter(networks.clone());
        let nics = |binned: bool| {
            let guests = Select::from("servers").column("id", Kind::Text).filter(self.servers().and(Cond::eq("pending_deleted", binned)));
            Select::from("guestnetworks").pick(Pick::Count).filter(live().and(Cond::in_select("guest_id", guests)))
        };
        let aside = Select::from("networks").column("id", Kind::Text).filter(networks);
        let aside = Select::from("reservedips").pick(Pick::Count).filter(Cond::in_select("network_id", aside));
        let place = |table: &'static str, cond: Cond| {
            let cond = if self.at == Scope::Project { Cond::False } else { live().and(self.owned()).and(cond) };
            Select::from(table).filter(cond)
        };
        let hosts = place("hosts", self.within.hosts()).column("enabled", Kind::Bool).column("host_type", Kind::Text).pick(Pick::Count);
        let hosts = HOST_SUMS.iter().fold(hosts, |q, c| q.pick(Pick::Sum((*c).into()))).group_by("enabled").group_by("host_type");
        let asked = [
            of_age(&ages[0].1),
            of_age(&ages[1].1),
            of_age(&ages[2].1),
            disks(true),
            disks(false),
            ranges,
            nics(false),
            nics(true),
            aside,
            place("vpcs", self.within.vpcs()).pick(Pick::Count),
            place("wires", self.within.wires()).pick(Pick::Count),
            hosts,
        ];
        let [all, month, week, attached, detached, ranges, nics, binned, aside, vpcs, wires, hosts] = take(db.together(&asked).await?)?;
        self.put_servers(db, &ages, &[all.as_slice(), &month, &week], tied).await?;
        self.put_disks(stores, &[(true, &attached), (false, &detached)]);
        self.put_networks(&ranges, &nics, &binned, &aside);
        if self.at >= Scope::Domain {
            self.put("vpcs", sum(&vpcs, 0, |_| true));
            self.put("wires", sum(&wires, 0, |_| true));
            self.put_hosts(&hosts);
            self.put_storages(stores);
            let running = |column| sum(&all, column, |r| r[0].as_str() == "running" && r[1].as_bool() != Some(true));
            self.put("cpu_commit_rate.running", rate(running(4), sum(&hosts, 3, |_| true) - sum(&hosts, 4, |_| true)));
            self.put("memory_commit_rate.running", rate(running(5), sum(&hosts, 6, |_| true) - sum(&hosts, 7, |_| true)));
        }
        Ok(())
    }

    async fn put_servers(
        &mut self,
        mut db: &store::Db,
        ages: &[(&str, Cond)],
        rows: &[&[Vec<Value>]],
        tied: impl Fn() -> Select,
    ) -> Result<()> {
        // The sizes of disks are asked for where there are servers, all at once.
        let (mut keys, mut sizes) = (Vec::new(), Vec::new());
        for ((age, young), rows) in ages.iter().zip(rows) {
            for (family, binned, status, by_age) in FAMILIES {
                if !age.is_empty() && !by_age {
                    continue;
                }
                for arch in ARCHES {
                    let fits = |r: &[Value]| {
                        (r[1].as_bool() == Some(true)) == binned
                            && (status.is_empty() || r[0].as_str() == status)
                            && (arch.is_empty() || r[2].as_str() == arch)
                    };
                    let key = if arch.is_empty() { format!("{family}{age}") } else { format!("{family}{age}.{arch}") };
                    let n = sum(rows, 3, fits);
                    self.put(&key, n);
                    self.put(&format!("{key}.any_pool"), n);
                    self.put(&format!("{key}.cpu"), sum(rows, 4, fits));
                    self.put(&format!("{key}.memory"), sum(rows, 5, fits));
                    // Servers here have no twin on another host and hold no passed-through device.
                    for none in ["disk", "ha", "ha.cpu", "ha.memory", "ha.disk", "isolated_devices"] {
                        self.put(&format!("{key}.{none}"), 0);
                    }
                    if n == 0 {
                        continue;
                    }
                    let mut these = self.servers().and(young.clone()).and(Cond::eq("pending_deleted", binned));
                    for (column, word) in [("status", status), ("os_arch", arch)] {
                        these = if word.is_empty() { these } else { these.and(Cond::eq(column, word)) };
                    }
                    let guests = Select::from("servers").column("id", Kind::Text).filter(these);
                    let of = live().and(Cond::in_select("id", tied().filter(Cond::in_select("guest_id", guests))));
                    sizes.push(Select::from("disks").pick(Pick::Sum("disk_size".into())).filter(of));
                    keys.push(key);
                }
            }
        }
        let sizes = if sizes.is_empty() { Vec::new() } else { db.together(&sizes).await? };
        for (key, size) in keys.iter().zip(sizes) {
            self.put(&format!("{key}.disk"), sum(&size, 0, |_| true));
        }
        Ok(())
    }

    /// `groups`: rows of storage, status, count and MiB, of disks that a server has or that none has.
    fn put_disks(&mut self, stores: &HashMap<&str, Store>, groups: &[(bool, &Vec<Vec<Value>>)]) {
        let kinds: BTreeSet<(&str, &str)> =
            stores.values().flat_map(|s| [("storage_type", s.kind.as_str()), ("medium_type", s.medium.as_str())]).collect();
        for (base, system) in [("disks", false), ("disks.system", true)] {
            for part in ["", ".attached", ".detached", ".mounted", ".unmounted", ".unready"] {
                let (mut count, mut size, mut by_kind) = (0, 0, BTreeMap::new());
                for (attached, rows) in groups {
                    for row in rows.iter() {
                        let store = stores.get(row[0].as_str());
                        let mounted = store.is_some_and(|s| s.mounted);
                        let fits = match part {
                            ".attached" => *attached,
                            ".detached" => !attached,
                            ".mounted" => mounted,
                            ".unmounted" => !mounted,
                            ".unready" => row[1].as_str() != "ready",
                            _ => true,
                        };
                        if !fits || (system && !store.is_some_and(|s| s.system)) {
                            continue;
                        }
                        count += int(&row[2]);
                        size += int(&row[3]);
                        for key in store.into_iter().flat_map(|s| [("storage_type", s.kind.as_str()), ("medium_type", s.medium.as_str())]) {
                            *by_kind.entry(key).or_insert(0) += int(&row[3]);
                        }
                    }
                }
                // Nobody's disks are counted but the owners': each key has its twin.
                for owner in ["", ".owner"] {
                    self.put(&format!("{base}{part}{owner}"), size);
                    self.put(&format!("{base}{part}.count{owner}"), count);
                    if matches!(part, "" | ".attached" | ".detached") {
                        for (word, kind) in &kinds {
                            let size = by_kind.get(&(*word, *kind)).copied().unwrap_or(0);
                            self.put(&format!("{base}{part}{owner}.{word}.{kind}"), size);
                        }
                    }
                }
            }
        }
    }

    fn put_networks(&mut self, ranges: &[Vec<Value>], nics: &[Vec<Value>], binned: &[Vec<Value>], aside: &[Vec<Value>]) {
        self.put("networks", ranges.len());
        let public = |r: &[Value]| r[1].as_str().parse::<Ipv4Addr>().is_ok_and(|a| !a.is_private());
        for (key, exit) in [("ports", false), ("ports_exit", true)] {
            self.put(key, sum(ranges, 2, |r| public(r) == exit));
            for of in ["guest", "baremetal"] {
                self.put(&format!("{key}.{of}"), sum(ranges, 2, |r| public(r) == exit && r[0].as_str() == of));
            }
        }
        let [nics, binned, aside] = [nics, binned, aside].map(|rows| sum(rows, 0, |_| true));
        self.put("nics", nics + binned + aside);
        self.put("nics.guest", nics);
        self.put("nics.guest.pending_delete", binned);
        self.put("nics.reserve", aside);
        // Only guests and what is set aside hold addresses of networks here; hosts' own are the operator's.
        for none in ["host", "group", "lb", "eip", "db", "netif"] {
            self.put(&format!("nics.{none}"), 0);
        }
    }

    /// `rows`: enabled, type, count and then [`HOST_SUMS`].
    fn put_hosts(&mut self, rows: &[Vec<Value>]) {
        for (name, metal, enabled) in [("hosts", false, false), ("enabled_hosts", false, true), ("baremetals", true, false)] {
            let of = |column| sum(rows, column, |r| (r[1].as_str() == "baremetal") == metal && (!enabled || r[0].as_bool() == Some(true)));
            let [n, cpus, cpus_kept, cpus_given, memory, kept, given, cpus_virtual, memory_virtual, storage] =
                [2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(of);
            for (key, value) in [
                ("", n),
                (".any_pool", n),
                (".cpu", cpus - cpus_kept),
                (".cpu.total", cpus),
                (".cpu.used", cpus_given),
                (".memory", memory - kept),
                (".memory.total", memory),
                (".memory.reserved", kept),
                (".memory.used", given),
                (".storage_gb", storage / 1024),
                // Nothing is kept back for devices that are passed through: none are.
                (".cpu.reserved.isolated", 0),
                (".memory.reserved.isolated", 0),
                (".storage.reserved.isolated", 0),
            ] {
                self.put_place(&format!("{name}{key}"), value);
            }
            if !metal {
                self.put_place(&format!("{name}.cpu.virtual"), cpus_virtual);
                self.put_place(&format!("{name}.memory.virtual"), memory_virtual);
            }
        }
    }

    fn put_storages(&mut self, stores: &HashMap<&str, Store>) {
        let domain = self.ctx.caller.project_domain_id.as_str();
        for (name, system) in [("storages", false), ("storages.system", true)] {
            let (mut sums, mut by_kind) = ([0; 4], BTreeMap::new());
            for store in stores.values().filter(|s| (self.at == Scope::System || s.domain == domain) && (!system || s.system)) {
                sums.iter_mut().zip(store.sums).for_each(|(all, one)| *all += one);
                for (word, kind) in [("storage_type", &store.kind), ("medium_type", &store.medium)] {
                    *by_kind.entry(format!("{name}.{word}.{kind}")).or_insert(0) += store.sums[0];
                }
            }
            let [capacity, given, really, limit] = sums;
            self.put_place(name, capacity);
            self.put_place(&format!("{name}.virtual"), limit);
            self.put_place(&format!("{name}.actual_capacity_used"), really);
            self.put_place(&format!("{name}.commit_rate"), rate(given, capacity));
            for (key, size) in by_kind {
                self.put_place(&key, size);
            }
        }
    }
}

/// Sums of a host's columns, in the order [`Tally::put_hosts`] reads them.
const HOST_SUMS: [&str; 9] =
    ["cpu_count", "cpu_reserved", "cpu_commit", "mem_size", "mem_reserved", "mem_commit", "cpu_capacity", "mem_capacity", "storage_size"];

fn since(micros: i64) -> Cond {
    Cond::cmp("created_at", store::Op::Ge, Timestamp(micros))
}
