//! What the scheduler knows: hosts, their storages and wires, and networks, kept in step by the change feed.

use crate::{Outcome, Request, place};
use api_compute::{DOCUMENT_ALONE, Host, HostStorage, NetInterface, Network, Storage};
use base::{Error, Json, Resource, Result, Row, Value};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    net::Ipv4Addr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use store::{Cond, Db, Read, Select};

/// How long the follower rests, so that what changes together is read together. Who places meanwhile knows that much less: the host he chooses is looked at
/// once more when its room is taken, and who finds none catches up himself.
const REST: Duration = Duration::from_millis(100);

const HOST: [&str; 20] = [
    "id",
    "name",
    "zone_id",
    "host_type",
    "cpu_architecture",
    "host_status",
    "status",
    "enabled",
    "is_maintenance",
    "cpu_capacity",
    "cpu_commit",
    "cpu_reserved",
    "mem_capacity",
    "mem_commit",
    "mem_reserved",
    "domain_id",
    "is_public",
    "public_scope",
    "shared_project_ids",
    "shared_domain_ids",
];
const STORAGE: [&str; 8] = ["id", "storage_type", "medium_type", "virtual_limit", "used_capacity", "reserved", "enabled", "status"];

/// One of few texts that all hosts share. Ten thousand copies of it would lie all over memory, and reading them is most of what a placement takes.
pub type Word = Arc<str>;

/// Whose something is, and who else may have servers on it (spec 01 §6.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Empty: it belongs to a domain as a whole.
    pub project_id: String,
    pub domain_id: String,
    pub shared: Shared,
}

/// With whom beside its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shared {
    #[default]
    Nobody,
    /// These projects.
    Projects(Vec<String>),
    /// The owner's whole domain, and these.
    Domains(Vec<String>),
    Everybody,
}

impl Reach {
    /// Of a row as it is now, for who must not rely on what the snapshot knew.
    pub fn of(row: &Row) -> Reach {
        let (project, domain) = (row.text("tenant_id").into(), row.text("domain_id").into());
        let [projects, domains] = ["shared_project_ids", "shared_domain_ids"].map(|column| list(row.get(column)));
        Reach {
            project_id: project,
            domain_id: domain,
            shared: Shared::of(row.flag("is_public"), row.text("public_scope"), projects, domains),
        }
    }

    /// Whether servers of a project in a domain may be there without anybody naming it.
    pub fn covers(&self, project: &str, domain: &str) -> bool {
        let own = if self.project_id.is_empty() { self.domain_id == domain } else { self.project_id == project };
        match &self.shared {
            Shared::Everybody => true,
            _ if own => true,
            Shared::Nobody => false,
            Shared::Projects(ids) => ids.iter().any(|id| id == project),
            Shared::Domains(ids) => self.domain_id == domain || ids.iter().any(|id| id == domain),
        }
    }
}

impl Shared {
    /// As a row has it.
    fn of(public: bool, scope: &str, projects: &Json, domains: &Json) -> Shared {
        let ids = |list: &Json| list.as_array().into_iter().flatten().filter_map(|id| Some(id.as_str()?.to_string())).collect();
        match scope {
            _ if !public => Shared::Nobody,
            "system" => Shared::Everybody,
            "domain" => Shared::Domains(ids(domains)),
            "project" => Shared::Projects(ids(projects)),
            _ => Shared::Nobody,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct HostView {
    pub id: String,
    pub name: String,
    pub zone_id: String,
    /// Domain whose servers it takes, and the others.
    pub reach: Arc<Reach>,
    pub host_type: Word,
    pub architecture: Word,
    pub enabled: bool,
    pub online: bool,
    pub maintenance: bool,
    pub status: String,
    pub cpu_capacity: i64,
    pub cpu_commit: i64,
    pub cpu_reserved: i64,
    pub mem_capacity: i64,
    pub mem_commit: i64,
    pub mem_reserved: i64,
    /// What it was chosen for since it was last read, and may not have taken yet. It decides between hosts, never whether one has room.
    pub promised: Load,
    /// In the order of their ids.
    pub storages: Vec<StorageView>,
    /// Wires it is plugged into.
    pub wires: Arc<[String]>,
}

/// Processors and MiB of memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    pub cpu: i64,
    pub mem: i64,
}

#[derive(Clone, Debug, Default)]
pub struct StorageView {
    pub id: String,
    pub storage_type: Word,
    pub medium: Word,
    /// MiB that may still be given.
    pub free: i64,
    /// MiB that may be given in all.
    pub total: i64,
    /// MiB kept free.
    pub reserved: i64,
    pub usable: bool,
}

#[derive(Clone, Debug, Default)]
pub struct NetView {
    pub id: String,
    pub wire_id: String,
    pub reach: Reach,
    pub free: i64,
    /// Marked for servers that name no network.
    pub auto: bool,
    /// Has addresses of the outside.
    pub exit: bool,
    /// A network of guests, available, and not marked as one that must be named.
    pub takes_servers: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    hosts: BTreeMap<String, HostView>,
    pub networks: HashMap<String, NetView>,
    words: HashSet<Word>,
    wires: HashSet<Arc<[String]>>,
    reaches: HashSet<Arc<Reach>>,
}

impl Snapshot {
    /// By id.
    pub fn hosts(&self) -> &BTreeMap<String, HostView> {
        &self.hosts
    }

    /// Takes a host in, in the place of the one with its id.
    pub fn put(&mut self, mut host: HostView) {
        let HostView { host_type, architecture, storages, wires, reach, .. } = &mut host;
        storages.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let words = storages.iter_mut().flat_map(|s| [&mut s.storage_type, &mut s.medium]).chain([host_type, architecture]);
        words.for_each(|word| shared(&mut self.words, word));
        shared(&mut self.wires, wires);
        shared(&mut self.reaches, reach);
        self.hosts.insert(host.id.clone(), host);
    }
}

/// The one that is known already, where there is one.
fn shared<T: ?Sized + Eq + Hash>(known: &mut HashSet<Arc<T>>, one: &mut Arc<T>) {
    match known.get(one) {
        Some(same) => *one = same.clone(),
        None => _ = known.insert(one.clone()),
    }
}

fn astray() -> Error {
    Error::internal("what was read of hosts is not what was asked for")
}

fn list(cell: &Value) -> &Json {
    if let Value::Json(list) = cell { list } else { &Json::Null }
}

fn number(cell: &Value) -> i64 {
    cell.as_int().unwrap_or(0)
}

/// Keeps a snapshot in memory and answers requests from it.
pub struct Scheduler {
    db: Db,
    state: RwLock<Snapshot>,
    cursor: tokio::sync::Mutex<i64>,
    placed: AtomicU64,
    refused: AtomicU64,
}

impl Scheduler {
    /// Reads everything once.
    pub async fn start(db: Db) -> Result<Scheduler> {
        let cursor = db.feed().head().await?;
        let scheduler = Scheduler {
            db,
            state: RwLock::default(),
            cursor: tokio::sync::Mutex::new(cursor),
            placed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        };
        scheduler.reload(None).await?;
        Ok(scheduler)
    }

    /// Follows the feed until the process ends.
    pub async fn follow(&self) -> Result<()> {
        loop {
            let at = *self.cursor.lock().await;
            self.db.feed().wait(at, Duration::from_secs(30)).await?;
            self.catch_up().await?;
            tokio::time::sleep(REST).await;
        }
    }

    /// Takes in everything committed so far: an answer after this knows of every commit before it.
    pub async fn catch_up(&self) -> Result<()> {
        let mut cursor = self.cursor.lock().await;
        let head = self.db.feed().settle().await?;
        while *cursor != head {
            let batch = self.db.feed().after(*cursor, 1000).await?;
            if batch.lost {
                // First the mark, then the reading: what changes in between is read twice, not missed.
                self.reload(None).await?;
                *cursor = batch.cursor;
                return Ok(());
            }
            if batch.changes.is_empty() {
                return Ok(());
            }
            let (mut hosts, mut networks) = (HashSet::new(), HashSet::new());
            let mut storages = HashSet::new();
            for (_, _, change) in &batch.changes {
                match change.kind.as_str() {
                    "host" if change.data[DOCUMENT_ALONE] == true => false,
                    "host" => hosts.insert(change.id.clone()),
                    "storage" => storages.insert(change.id.clone()),
                    "network" => networks.insert(change.id.clone()),
                    _ => false,
                };
            }
            if !storages.is_empty() {
                let mut db = &self.db;
                let ties: Vec<HostStorage> = db.list(Cond::is_in("storage_id", storages)).await?;
                hosts.extend(ties.into_iter().map(|t| t.host_id));
            }
            self.load_hosts(Some(&hosts)).await?;
            self.load_networks(Some(&networks)).await?;
            *cursor = batch.cursor;
            if *cursor >= head {
                break;
            }
        }
        Ok(())
    }

    async fn reload(&self, only: Option<&HashSet<String>>) -> Result<()> {
        self.load_hosts(only).await?;
        self.load_networks(only).await
    }

    async fn load_hosts(&self, only: Option<&HashSet<String>>) -> Result<()> {
        if only.is_some_and(HashSet::is_empty) {
            return Ok(());
        }
        let among = |column: &'static str| only.map_or(Cond::True, |ids| Cond::is_in(column, ids.iter().map(String::as_str)));
        let live = || Cond::eq("deleted", false);
        let ties = || live().and(among("host_id"));
        let tied = Select::of(HostStorage::facts(), &["storage_id"]).filter(ties());
        let asks = [
            Select::of(Host::facts(), &HOST).filter(live().and(among("id"))),
            Select::of(HostStorage::facts(), &["host_id", "storage_id"]).filter(ties()),
            Select::of(NetInterface::facts(), &["host_id", "wire_id"]).filter(ties()),
            Select::of(Storage::facts(), &STORAGE).filter(live().and(Cond::in_select("id", tied))),
        ];
        let mut db = &self.db;
        let Ok([hosts, ties, nics, storages]) = <[_; 4]>::try_from(db.together(&asks).await?) else { return Err(astray()) };
        let storages: HashMap<&str, &[Value]> = storages.iter().map(|s| (s[0].as_str(), &s[..])).collect();
        let mut by_host: HashMap<&str, (Vec<StorageView>, Vec<String>)> = HashMap::new();
        for tie in &ties {
            let Some([id, kind, medium, limit, used, reserved, enabled, status]) = storages.get(tie[1].as_str()) else { continue };
            let view = StorageView {
                id: id.as_str().into(),
                storage_type: kind.as_str().into(),
                medium: medium.as_str().into(),
                free: number(limit) - number(used),
                total: number(limit),
                reserved: number(reserved),
                usable: enabled.as_bool() == Some(true) && status.as_str() == "online",
            };
            by_host.entry(tie[0].as_str()).or_default().0.push(view);
        }
        for nic in &nics {
            by_host.entry(nic[0].as_str()).or_default().1.push(nic[1].as_str().into());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match only {
            None => *state = Snapshot { networks: std::mem::take(&mut state.networks), ..Snapshot::default() },
            Some(ids) => ids.iter().for_each(|id| drop(state.hosts.remove(id))),
        }
        for host in &hosts {
            let [
                id,
                name,
                zone,
                kind,
                architecture,
                online,
                status,
                enabled,
                maintenance,
                cpu,
                cpu_commit,
                cpu_reserved,
                mem,
                mem_commit,
                mem_reserved,
                domain,
                public,
                scope,
                shared_projects,
                shared_domains,
            ] = &host[..]
            else {
                return Err(astray());
            };
            let (storages, mut wires) = by_host.remove(id.as_str()).unwrap_or_default();
            wires.sort_unstable();
            let shared = Shared::of(public.as_bool() == Some(true), scope.as_str(), list(shared_projects), list(shared_domains));
            let view = HostView {
                id: id.as_str().into(),
                name: name.as_str().into(),
                zone_id: zone.as_str().into(),
                reach: Arc::new(Reach { project_id: String::new(), domain_id: domain.as_str().into(), shared }),
                host_type: kind.as_str().into(),
                architecture: architecture.as_str().into(),
                online: online.as_str() == "online",
                status: status.as_str().into(),
                enabled: enabled.as_bool() == Some(true),
                maintenance: maintenance.as_bool() == Some(true),
                cpu_capacity: number(cpu),
                cpu_commit: number(cpu_commit),
                cpu_reserved: number(cpu_reserved),
                mem_capacity: number(mem),
                mem_commit: number(mem_commit),
                mem_reserved: number(mem_reserved),
                promised: Load::default(),
                storages,
                wires: wires.into(),
            };
            state.put(view);
        }
        Ok(())
    }

    async fn load_networks(&self, only: Option<&HashSet<String>>) -> Result<()> {
        if only.is_some_and(HashSet::is_empty) {
            return Ok(());
        }
        let among = only.map_or(Cond::True, |ids| Cond::is_in("id", ids.iter().map(String::as_str)));
        let mut db = &self.db;
        let networks: Vec<Network> = db.list(Cond::eq("deleted", false).and(among)).await?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match only {
            None => state.networks.clear(),
            Some(ids) => ids.iter().for_each(|id| drop(state.networks.remove(id))),
        }
        for n in networks {
            let at = &n.shared;
            let shared = Shared::of(at.is_public, &at.public_scope, &at.shared_project_ids, &at.shared_domain_ids);
            let view = NetView {
                wire_id: n.wire_id,
                reach: Reach { project_id: n.owned.tenant_id, domain_id: n.owned.domain_id, shared },
                free: n.size - n.used,
                auto: n.is_auto_alloc == Some(true),
                exit: n.guest_ip_start.parse::<Ipv4Addr>().is_ok_and(|a| !a.is_private()),
                takes_servers: n.server_type == "guest" && n.status.status == "available" && n.is_auto_alloc != Some(false),
                id: n.meta.id,
            };
            state.networks.insert(view.id.clone(), view);
        }
        Ok(())
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    /// The best hosts for a request, at most `limit`, from what is known now. The first is promised to it: of many requests at once not all go to the host
    /// that was the emptiest when they came.
    pub fn place(&self, request: &Request, limit: usize) -> Outcome {
        let outcome = self.with(|snapshot| place(snapshot, request, limit));
        if let Some(best) = outcome.candidates.first() {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(host) = state.hosts.get_mut(&best.host_id) {
                host.promised.cpu += request.vcpu_count;
                host.promised.mem += request.vmem_size;
            }
        }
        let count = if outcome.candidates.is_empty() { &self.refused } else { &self.placed };
        count.fetch_add(1, Relaxed);
        outcome
    }

    /// Requests for which there was a host, and for which there was none, since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.placed.load(Relaxed), self.refused.load(Relaxed))
    }

    /// Lets a reader look at the snapshot.
    pub fn with<T>(&self, f: impl FnOnce(&Snapshot) -> T) -> T {
        f(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}
