//! Hosts: the machines that run servers, and what they are plugged into.

use crate::{Bounds, brand, host_capacity, infra, place, shared};
use api_compute::{Host, HostStorage, NetInterface};
use base::{Error, Json, Kind as Cell, Resource, Result, Row, err};
use resource::{ActionFact, BoxFuture, Hooks, Input, Kind, Map, Naming, Op, Page, Params, Reply, Tying};
use serde_json::json;
use std::collections::HashMap;
use store::{Cond, Pick, Read, Select, Tx};

struct HostHooks {
    bounds: Bounds,
}

impl HostHooks {
    fn measure(&self, row: &mut Row) -> Result<()> {
        let host = Host::from_row(row);
        for (field, n, most) in [("cpu_count", host.cpu_count, 65_536), ("mem_size", host.mem_size, 1 << 30)] {
            if !(0..=most).contains(&n) {
                return Err(err!(InputParameter, "{}: {} is out of range 0 to {}", field, n, most));
            }
        }
        let (cpu, mem) = host_capacity(&self.bounds, &host);
        row.set("cpu_capacity", cpu);
        row.set("mem_capacity", mem);
        Ok(())
    }
}

impl Hooks for HostHooks {
    fn create<'a>(&'a self, op: &'a Op<'a>, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if row.text("zone_id").is_empty() {
                return Err(err!(MissingParameter, "{} is missing; name a {} by id or name", "zone_id", "zone"));
            }
            let uri = row.text("manager_uri");
            let mut db = &op.engine.db;
            if !uri.is_empty() && db.count("hosts", Cond::eq("manager_uri", uri).and(Cond::eq("deleted", false))).await? > 0 {
                return Err(err!(Conflict, "manager_uri {} belongs to another host", uri));
            }
            row.set("is_public", true);
            row.set("public_scope", "system");
            self.measure(row)
        })
    }
    fn update<'a>(&'a self, _op: &'a Op<'a>, _old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.measure(row) })
    }
    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let busy = infra::not_empty(op, rows, &[("servers", "host_id")]).await?;
            let on = |row: &Row| row.flag("enabled").then(|| err!(InvalidStatus, "host {} is enabled; disable it first", row.name()));
            Ok(rows.iter().zip(busy).map(|(row, busy)| on(row).or(busy)).collect())
        })
    }
    fn delete<'a>(
        &'a self,
        _op: &'a Op<'a>,
        tx: &'a mut Tx,
        row: &'a mut Row,
        _how: resource::Removal,
    ) -> BoxFuture<'a, Result<resource::Deleted>> {
        Box::pin(async move {
            for table in ["hoststorages", "netinterfaces"] {
                tx.update(table, Cond::eq("host_id", row.id()), vec![store::set("deleted", true)]).await?;
            }
            row.set("credential", "");
            Ok(resource::Deleted::Now)
        })
    }
    fn filter<'a>(&'a self, _op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut all = std::mem::replace(cond, Cond::True);
            for mac in params.all("any_mac") {
                let own = Select::from("netinterfaces")
                    .column("host_id", Cell::Text)
                    .filter(Cond::eq("mac", mac.as_str()).and(Cond::eq("deleted", false)));
                all = all.and(Cond::eq("access_mac", mac.as_str()).or(Cond::in_select("id", own)));
            }
            let ips = params.all("any_ip");
            if !ips.is_empty() {
                all = all.and(Cond::is_in("access_ip", ips));
            }
            if params.flag("usable") == Some(true) {
                all = all.and(Cond::eq("enabled", true)).and(Cond::eq("host_status", "online"));
            }
            if let Some(metal) = params.flag("baremetal") {
                all = all.and(Cond::eq("is_baremetal", metal));
            }
            if let Some(empty) = params.flag("is_empty") {
                let used = Select::from("servers").column("host_id", Cell::Text).filter(Cond::eq("deleted", false));
                let has = Cond::in_select("id", used);
                all = all.and(if empty { has.not() } else { has });
            }
            for wire in params.all("wire_id").into_iter().chain(params.all("wire")) {
                let on = Select::from("netinterfaces")
                    .column("host_id", Cell::Text)
                    .filter(Cond::eq("wire_id", wire.as_str()).and(Cond::eq("deleted", false)));
                all = all.and(Cond::in_select("id", on));
            }
            *cond = all;
            Ok(())
        })
    }
    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if !page.details {
                return Ok(());
            }
            brand(page);
            place(op, page, |row| row.text("zone_id").to_string()).await?;
            guests(op, page).await?;
            storages(op, page).await?;
            let nics = nics(op, page).await?;
            for i in 0..page.rows.len() {
                let host = Host::from_row(&page.rows[i]);
                let rate = |used: i64, all: i64| if all > 0 { used as f64 / all as f64 } else { 0.0 };
                let cpu = (host.cpu_count - host.cpu_reserved).max(0);
                let mem = (host.mem_size - host.mem_reserved).max(0);
                page.add(i, "cpu_commit_rate", rate(host.cpu_commit, cpu));
                page.add(i, "mem_commit_rate", rate(host.mem_commit, mem));
                page.add(i, "cpu_commit_bound", if host.cpu_cmtbound > 0.0 { host.cpu_cmtbound } else { self.bounds.cpu });
                page.add(i, "mem_commit_bound", if host.mem_cmtbound > 0.0 { host.mem_cmtbound } else { self.bounds.memory });
                page.add(i, "spec", json!({"cpu": host.cpu_count, "mem": host.mem_size, "nic_count": nics[i]}));
                for key in [
                    "allow_health_check",
                    "auto_migrate_on_host_down",
                    "auto_migrate_on_host_shutdown",
                    "can_prepare",
                    "is_prepaid_recycle",
                    "server_pending_deleted",
                ] {
                    page.add(i, key, false);
                }
                page.add(i, "isolated_device_count", 0);
                page.add(i, "ipmi_info", json!({"present": false}));
            }
            Ok(())
        })
    }
}

/// Servers by state, for each host of the page, in one query.
async fn guests(op: &Op<'_>, page: &mut Page) -> Result<()> {
    let select = Select::from("servers")
        .column("host_id", Cell::Text)
        .column("status", Cell::Text)
        .column("pending_deleted", Cell::Bool)
        .column("is_system", Cell::Bool)
        .pick(Pick::Count)
        .filter(Cond::is_in("host_id", page.ids("id")).and(Cond::eq("deleted", false)))
        .group_by("host_id")
        .group_by("status")
        .group_by("pending_deleted")
        .group_by("is_system");
    let mut db = &op.engine.db;
    let mut by_host: HashMap<String, [i64; 6]> = HashMap::new();
    for row in db.rows(&select).await? {
        let n = row[4].as_int().unwrap_or(0);
        let [all, running, ready, other, pending, users] = by_host.entry(row[0].as_str().to_string()).or_default();
        *all += n;
        if row[2].as_bool() == Some(true) {
            *pending += n;
            continue;
        }
        *match row[1].as_str() {
            "running" => running,
            "ready" => ready,
            _ => other,
        } += n;
        if row[3].as_bool() != Some(true) {
            *users += n;
        }
    }
    for i in 0..page.rows.len() {
        let [all, running, ready, other, pending, users] = by_host.get(page.rows[i].id()).copied().unwrap_or_default();
        let keys = ["guests", "running_guests", "ready_guests", "other_guests", "pending_deleted_guests", "nonsystem_guests"];
        for (key, n) in keys.into_iter().zip([all, running, ready, other, pending, users]) {
            page.add(i, key, n);
        }
        page.add(i, "backup_guests", 0);
    }
    Ok(())
}

async fn storages(op: &Op<'_>, page: &mut Page) -> Result<()> {
    let mut db = &op.engine.db;
    let ties: Vec<HostStorage> = db.list(Cond::is_in("host_id", page.ids("id")).and(Cond::eq("deleted", false))).await?;
    let ids: Vec<&str> = ties.iter().map(|t| t.storage_id.as_str()).collect();
    let found: HashMap<String, api_compute::Storage> =
        db.list::<api_compute::Storage>(Cond::is_in("id", ids)).await?.into_iter().map(|s| (s.meta.id.clone(), s)).collect();
    for i in 0..page.rows.len() {
        let mine = || ties.iter().filter(|t| t.host_id == page.rows[i].id()).filter_map(|t| found.get(&t.storage_id));
        let (size, used, really, limit) = mine()
            .fold((0, 0, 0, 0), |a, s| (a.0 + s.capacity, a.1 + s.used_capacity, a.2 + s.actual_capacity_used, a.3 + s.virtual_limit));
        page.add(i, "storage", size);
        page.add(i, "storage_used", used);
        page.add(i, "actual_storage_used", really);
        page.add(i, "storage_waste", 0);
        page.add(i, "storage_virtual", limit);
        page.add(i, "storage_free", limit - used);
        page.add(i, "storage_commit_rate", if size > 0 { used as f64 / size as f64 } else { 0.0 });
    }
    Ok(())
}

/// Interfaces; how many each host of the page has.
async fn nics(op: &Op<'_>, page: &mut Page) -> Result<Vec<usize>> {
    let mut db = &op.engine.db;
    let nics: Vec<NetInterface> = db.list(Cond::is_in("host_id", page.ids("id")).and(Cond::eq("deleted", false))).await?;
    let wires: HashMap<String, String> = {
        let ids: Vec<&str> = nics.iter().map(|n| n.wire_id.as_str()).collect();
        let select = Select::from("wires").column("id", Cell::Text).column("name", Cell::Text).filter(Cond::is_in("id", ids));
        db.rows(&select).await?.into_iter().map(|r| (r[0].as_str().to_string(), r[1].as_str().to_string())).collect()
    };
    let mut counts = Vec::with_capacity(page.rows.len());
    for i in 0..page.rows.len() {
        let mine: Vec<Json> = nics
            .iter()
            .filter(|n| n.host_id == page.rows[i].id())
            .map(|n| {
                json!({"mac": n.mac, "bridge": n.bridge, "interface": n.interface, "ip_addr": n.ip_addr, "mtu": n.mtu, "index": n.index, "nic_type": "admin",
                    "link_up": true, "rate": 0, "vlan_id": 1, "masklen": 0, "masklen6": 0, "bandwidth": 0, "wire_id": n.wire_id, "wire": wires.get(&n.wire_id)})
            })
            .collect();
        counts.push(mine.len());
        page.add(i, "nic_count", mine.len());
        page.add(i, "nic_info", mine);
    }
    Ok(counts)
}

const BOUND: ActionFact = ActionFact {
    name: "set-commit-bound",
    doc: "Set how often processors and memory may be given away.",
    inputs: &[
        Input { name: "cpu_cmtbound", kind: Cell::Float, required: false, doc: "Virtual processors on one real one." },
        Input { name: "mem_cmtbound", kind: Cell::Float, required: false, doc: "Virtual memory on a unit of real memory." },
    ],
};

fn set_bound<'a>(hooks: &'a HostHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let mut new = row.clone();
        for key in ["cpu_cmtbound", "mem_cmtbound"] {
            if let Some(bound) = body.get(key).and_then(|j| j.as_f64().or_else(|| j.as_str()?.parse().ok())) {
                if !(0.0..=1000.0).contains(&bound) {
                    return Err(err!(InputParameter, "{}: {} is out of range 0 to {}", key, bound, 1000));
                }
                new.set(key, bound);
            }
        }
        hooks.measure(&mut new)?;
        let (row, new) = (&row, &new);
        op.engine
            .db
            .tx(|tx| {
                store::work(async move {
                    let mut new = new.clone();
                    tx.save(row, &mut new).await?;
                    resource::audit(tx, op.ctx, &new, "set_commit_bound", String::new()).await?;
                    tx.emit(resource::changed(&new)).await
                })
            })
            .await?;
        Ok(Reply::Object)
    })
}

pub(crate) fn kind(bounds: &Bounds) -> Kind {
    let hooks = shared(HostHooks { bounds: bounds.clone() });
    Kind::new::<Host, _>(&hooks)
        .naming(Naming::Global)
        .context("zones", "zone_id")
        .sums(&["cpu_count", "mem_size", "storage_size"])
        .action(BOUND, set_bound)
        .done()
}

struct StorageTie;

/// Refuses where disks lie on the storage at this host: their files are below its directory.
async fn no_disks(tx: &mut Tx, tie: &Row) -> Result<()> {
    // Whoever takes room on a storage writes its row: nobody does in between.
    tx.lock("storages", Cond::eq("id", tie.text("storage_id"))).await?;
    let here = Cond::eq("host_id", tie.text("host_id")).and(Cond::eq("storage_id", tie.text("storage_id"))).and(Cond::eq("deleted", false));
    match tx.count("disks", here).await? {
        0 => Ok(()),
        n => Err(err!(NotEmpty, "{} disks lie on the storage at this host; delete them first", n)),
    }
}

impl Hooks for StorageTie {
    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(crate::storage::of_host(op, page))
    }
    fn update<'a>(&'a self, _op: &'a Op<'a>, old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let path = row.text("mount_point");
            if path != old.text("mount_point") && (!path.starts_with('/') || path.chars().any(char::is_control)) {
                return Err(err!(InputParameter, "mount_point: {} is not the whole path of a directory", path));
            }
            Ok(())
        })
    }
    fn updated<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { if old.get("mount_point") == row.get("mount_point") { Ok(()) } else { no_disks(tx, old).await } })
    }
    fn delete<'a>(
        &'a self,
        _op: &'a Op<'a>,
        tx: &'a mut Tx,
        row: &'a mut Row,
        _how: resource::Removal,
    ) -> BoxFuture<'a, Result<resource::Deleted>> {
        Box::pin(async move {
            no_disks(tx, row).await?;
            // Whoever chose it for a disk already finds that nobody has it any more.
            let others = Cond::eq("storage_id", row.text("storage_id")).and(Cond::eq("deleted", false)).and(Cond::ne("id", row.id()));
            if !tx.exists("hoststorages", others).await?
                && let Some(storage) = tx.one(api_compute::Storage::facts(), row.text("storage_id")).await?
            {
                let mut off = storage.clone();
                off.set("status", "offline");
                tx.save(&storage, &mut off).await?;
                tx.emit(resource::changed(&off)).await?;
            }
            if let Some(host) = tx.one(Host::facts(), row.text("host_id")).await? {
                tx.emit(resource::changed(&host)).await?;
            }
            Ok(resource::Deleted::Now)
        })
    }
}

/// Why a storage is not tied to a host by request: an agent serves the directories of its own configuration, and names them when it registers.
fn not_by_request(host: &Row, storage: &Row) -> Error {
    err!(
        UnsupportedOperation,
        "storage {} cannot be tied to host {}: a host serves the directories its agent is configured with, and they are tied when it registers",
        storage.name(),
        host.name()
    )
}

pub(crate) fn hoststorage() -> Kind {
    Kind::new::<HostStorage, _>(&shared(StorageTie))
        .naming(Naming::Free)
        .joint(("hosts", "host_id"), ("storages", "storage_id"), Tying::Not(not_by_request))
        .done()
}

pub(crate) fn netinterface() -> Kind {
    Kind::new::<NetInterface, _>(&shared(resource::NoHooks)).naming(Naming::Free).read_only().context("hosts", "host_id").done()
}
