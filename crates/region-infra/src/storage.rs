//! Storages and their image caches.

use crate::{Bounds, brand, infra, place, shared, storage_limit};
use api_compute::{Storage, StorageCache};
use base::{Error, Kind as Cell, Resource, Result, Row, err};
use resource::{BoxFuture, Hooks, Kind, Map, Naming, Op, Page, Params};
use std::collections::HashMap;
use store::{Cond, Pick, Read, Select};

const SHARED: [&str; 5] = ["nfs", "gpfs", "rbd", "clvm", "slvm"];

struct StorageHooks {
    bounds: Bounds,
}

impl StorageHooks {
    fn measure(&self, row: &mut Row) -> Result<()> {
        let storage = Storage::from_row(row);
        if storage.capacity < 0 {
            return Err(err!(InputParameter, "capacity: {} MiB is out of range", storage.capacity));
        }
        row.set("virtual_limit", storage_limit(&self.bounds, &storage));
        Ok(())
    }
}

impl Hooks for StorageHooks {
    fn create<'a>(&'a self, _op: &'a Op<'a>, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let kind = row.text("storage_type").to_string();
            if !["local", "lvm", "nvme"].contains(&kind.as_str()) && !SHARED.contains(&kind.as_str()) {
                return Err(err!(
                    InputParameter,
                    "storage_type: {} is not one of {}",
                    kind,
                    "local, lvm, nvme, nfs, gpfs, rbd, clvm, slvm"
                ));
            }
            let medium = row.text("medium_type");
            if !["rotate", "ssd", "hybrid"].contains(&medium) {
                return Err(err!(InputParameter, "medium_type: {} is not one of {}", medium, "rotate, ssd, hybrid"));
            }
            // Until a host says that it has it. Agents have directories of their own disks only, so the other types stay offline: a record of what is there.
            row.set("status", "offline");
            row.set("enabled", true);
            row.set("is_public", true);
            row.set("public_scope", "system");
            self.measure(row)
        })
    }
    fn update<'a>(&'a self, _op: &'a Op<'a>, _old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.measure(row) })
    }
    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(infra::not_empty(op, rows, &[("hoststorages", "storage_id"), ("disks", "storage_id")]))
    }
    fn filter<'a>(&'a self, _op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut all = std::mem::replace(cond, Cond::True);
            if let Some(share) = params.flag("share").or(params.flag("local").map(|l| !l)) {
                let is = Cond::is_in("storage_type", SHARED);
                all = all.and(if share { is } else { is.not() });
            }
            if params.flag("usable") == Some(true) {
                all = all.and(Cond::eq("enabled", true)).and(Cond::eq("status", "online"));
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
            infra::count_into(op, page, "host_count", "hoststorages", "storage_id", Cond::True).await?;
            infra::count_into(op, page, "disk_count", "disks", "storage_id", Cond::True).await?;
            for i in 0..page.rows.len() {
                let s = Storage::from_row(&page.rows[i]);
                page.add(i, "virtual_capacity", s.virtual_limit);
                page.add(i, "used_capacity", s.used_capacity);
                page.add(i, "used", s.used_capacity);
                page.add(i, "waste_capacity", 0);
                page.add(i, "wasted", 0);
                page.add(i, "free_capacity", s.virtual_limit - s.used_capacity);
                page.add(i, "real_time_used_capacity", s.actual_capacity_used);
                page.add(i, "commit_bound", if s.cmtbound > 0.0 { s.cmtbound } else { self.bounds.storage });
                page.add(i, "commit_rate", if s.capacity > 0 { s.used_capacity as f64 / s.capacity as f64 } else { 0.0 });
                page.add(i, "snapshot_count", 0);
            }
            Ok(())
        })
    }
}

/// What the storage of a host shows of both: a constant number of queries for a page.
pub(crate) async fn of_host(op: &Op<'_>, page: &mut Page) -> Result<()> {
    if !page.details {
        return Ok(());
    }
    let mut db = &op.engine.db;
    let storages: HashMap<String, Storage> =
        db.list::<Storage>(Cond::is_in("id", page.ids("storage_id"))).await?.into_iter().map(|s| (s.meta.id.clone(), s)).collect();
    let enabled = Cond::is_in("id", page.ids("host_id")).and(Cond::eq("enabled", true));
    let enabled = db.texts("hosts", "id", enabled).await?;
    let here = Cond::is_in("host_id", page.ids("host_id")).and(Cond::is_in("storage_id", page.ids("storage_id")));
    let disks = Select::from("disks").column("host_id", Cell::Text).column("storage_id", Cell::Text).pick(Pick::Count);
    let disks = db.rows(&disks.filter(here.and(Cond::eq("deleted", false))).group_by("host_id").group_by("storage_id")).await?;
    for i in 0..page.rows.len() {
        let (host, storage) = (page.rows[i].text("host_id").to_string(), page.rows[i].text("storage_id").to_string());
        let Some(s) = storages.get(&storage) else { continue };
        let mine = disks.iter().find(|d| d[0].as_str() == host && d[1].as_str() == storage);
        let disks = mine.and_then(|d| d[2].as_int()).unwrap_or(0);
        page.add(i, "account_read_only", false);
        page.add(i, "can_update", true);
        page.add(i, "can_delete", disks == 0);
        page.add(i, "host_enabled", enabled.contains(&host));
        page.add(i, "enabled", s.enabled.enabled);
        page.add(i, "storage_type", s.storage_type.as_str());
        page.add(i, "medium_type", s.medium_type.as_str());
        page.add(i, "cmtbound", s.cmtbound);
        page.add(i, "capacity", s.capacity);
        page.add(i, "used_capacity", s.used_capacity);
        page.add(i, "free_capacity", s.virtual_limit - s.used_capacity);
        page.add(i, "waste_capacity", 0);
        page.add(i, "guest_disk_count", disks);
    }
    Ok(())
}

pub(crate) fn kind(bounds: &Bounds) -> Kind {
    Kind::new::<Storage, _>(&shared(StorageHooks { bounds: bounds.clone() }))
        .naming(Naming::Global)
        .context("zones", "zone_id")
        .sums(&["capacity", "actual_capacity_used"])
        .done()
}

pub(crate) fn cache() -> Kind {
    Kind::new::<StorageCache, _>(&shared(resource::NoHooks)).naming(Naming::Free).read_only().done()
}
