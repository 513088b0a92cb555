//! Cloud regions, zones, VPCs, wires.

use crate::{brand, place, shared};
use api_compute::{CloudRegion, Host, Vpc, Wire, Zone};
use base::{Error, Resource, Result, Row, Scope, err};
use resource::{BoxFuture, Hooks, Kind, Map, Naming, Op, Page};
use std::collections::HashMap;
use store::{Cond, Pick, Read, Select};

/// How many rows of a table refer to each of these ids.
pub(crate) async fn counts(
    op: &Op<'_>,
    table: &'static str,
    column: &'static str,
    ids: Vec<String>,
    also: Cond,
) -> Result<HashMap<String, i64>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let cond = Cond::is_in(column, ids).and(Cond::eq("deleted", false)).and(also);
    let select = Select::from(table).column(column, base::Kind::Text).pick(Pick::Count).filter(cond).group_by(column);
    let mut db = &op.engine.db;
    Ok(db.rows(&select).await?.into_iter().map(|r| (r[0].as_str().to_string(), r[1].as_int().unwrap_or(0))).collect())
}

/// Adds one counter to each row of a page.
pub(crate) async fn count_into(
    op: &Op<'_>,
    page: &mut Page,
    key: &'static str,
    table: &'static str,
    column: &'static str,
    also: Cond,
) -> Result<()> {
    let found = counts(op, table, column, page.ids("id"), also).await?;
    for i in 0..page.rows.len() {
        let n = found.get(page.rows[i].id()).copied().unwrap_or(0);
        page.add(i, key, n);
    }
    Ok(())
}

/// Refuses rows that others still stand on: one query for each table that may refer to them.
pub(crate) async fn not_empty(op: &Op<'_>, rows: &[Row], tables: &[(&'static str, &'static str)]) -> Result<Vec<Option<Error>>> {
    let mut out: Vec<Option<Error>> = rows.iter().map(|_| None).collect();
    let ids: Vec<String> = rows.iter().map(|r| r.id().to_string()).collect();
    for (table, column) in tables {
        let found = counts(op, table, column, ids.clone(), Cond::True).await?;
        for (row, slot) in rows.iter().zip(&mut out) {
            if let Some(n) = found.get(row.id()).filter(|n| **n > 0)
                && slot.is_none()
            {
                *slot = Some(err!(NotEmpty, "{} {} still has {} {}; delete them first", row.facts.name, row.name(), n, table));
            }
        }
    }
    Ok(out)
}

fn builtin(row: &Row) -> Option<Error> {
    (row.id() == "default").then(|| err!(ProtectedResource, "{} {} is built in and cannot be deleted", row.facts.name, row.name()))
}

struct RegionHooks;

impl Hooks for RegionHooks {
    fn create<'a>(&'a self, _op: &'a Op<'a>, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            row.set("status", "inservice");
            row.set("enabled", true);
            Ok(())
        })
    }
    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let busy = not_empty(op, rows, &[("zones", "cloudregion_id"), ("vpcs", "cloudregion_id")]).await?;
            Ok(rows.iter().zip(busy).map(|(row, busy)| builtin(row).or(busy)).collect())
        })
    }
    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if !page.details {
                return Ok(());
            }
            for i in 0..page.rows.len() {
                page.add(i, "cloud_env", "onpremise");
            }
            count_into(op, page, "zone_count", "zones", "cloudregion_id", Cond::True).await?;
            count_into(op, page, "vpc_count", "vpcs", "cloudregion_id", Cond::True).await?;
            let guests = guests(op).await?;
            for i in 0..page.rows.len() {
                let n = guests.get(page.rows[i].id()).copied().unwrap_or(0);
                page.add(i, "guest_count", n);
            }
            Ok(())
        })
    }
}

/// How many servers the caller may list lie in each region: counted by host, for a server has no place but its host's.
async fn guests(op: &Op<'_>) -> Result<HashMap<String, i64>> {
    let caller = &op.ctx.caller;
    let own = match op.engine.reach_of(op.ctx, "server", "list", &[]) {
        Scope::System => Cond::True,
        Scope::Domain => Cond::eq("domain_id", caller.project_domain_id.as_str()),
        Scope::None => Cond::False,
        _ => Cond::eq("tenant_id", caller.project_id.as_str()),
    };
    let alive = Cond::eq("deleted", false).and(Cond::eq("pending_deleted", false));
    let select = Select::from("servers").column("host_id", base::Kind::Text).pick(Pick::Count).filter(alive.and(own)).group_by("host_id");
    let db = &op.engine.db;
    let mut read = db;
    let found = read.rows(&select).await?;
    let hosts = db.known(Host::facts(), &["zone_id"], found.iter().map(|row| row[0].as_str())).await?;
    let zones = db.known(Zone::facts(), &["cloudregion_id"], hosts.values().map(|host| host[0].as_str())).await?;
    let mut out = HashMap::new();
    for row in &found {
        if let Some(zone) = hosts.get(row[0].as_str()).and_then(|host| zones.get(host[0].as_str())) {
            *out.entry(zone[0].as_str().to_string()).or_default() += row[1].as_int().unwrap_or(0);
        }
    }
    Ok(out)
}

pub(crate) fn cloudregion() -> Kind {
    Kind::new::<CloudRegion, _>(&shared(RegionHooks)).naming(Naming::Global).done()
}

struct ZoneHooks;

impl Hooks for ZoneHooks {
    fn create<'a>(&'a self, _op: &'a Op<'a>, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            row.set("status", "enable");
            Ok(())
        })
    }
    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(not_empty(op, rows, &[("hosts", "zone_id"), ("wires", "zone_id"), ("storages", "zone_id")]))
    }
    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if !page.details {
                return Ok(());
            }
            let metal = || Cond::eq("is_baremetal", true);
            let on = || Cond::eq("enabled", true);
            count_into(op, page, "hosts", "hosts", "zone_id", metal().not()).await?;
            count_into(op, page, "hosts_enabled", "hosts", "zone_id", metal().not().and(on())).await?;
            count_into(op, page, "baremetals", "hosts", "zone_id", metal()).await?;
            count_into(op, page, "baremetals_enabled", "hosts", "zone_id", metal().and(on())).await?;
            count_into(op, page, "wires", "wires", "zone_id", Cond::True).await?;
            count_into(op, page, "storages", "storages", "zone_id", Cond::True).await?;
            let mut db = &op.engine.db;
            let wires: Vec<(String, String)> = db
                .rows(
                    &Select::from("wires")
                        .column("id", base::Kind::Text)
                        .column("zone_id", base::Kind::Text)
                        .filter(Cond::is_in("zone_id", page.ids("id"))),
                )
                .await?
                .into_iter()
                .map(|r| (r[0].as_str().to_string(), r[1].as_str().to_string()))
                .collect();
            let nets = counts(op, "networks", "wire_id", wires.iter().map(|(w, _)| w.clone()).collect(), Cond::True).await?;
            for i in 0..page.rows.len() {
                let n: i64 = wires.iter().filter(|(_, z)| z == page.rows[i].id()).filter_map(|(w, _)| nets.get(w)).sum();
                page.add(i, "networks", n);
                page.add(i, "provider", "OneCloud");
            }
            for i in 0..page.rows.len() {
                let region = page.rows[i].text("cloudregion_id").to_string();
                page.add(i, "region_id", region.clone());
                let name = page.extras[i].iter().find(|(k, _)| k == "cloudregion").map(|(_, v)| v.clone()).unwrap_or_default();
                page.add(i, "region", name);
            }
            Ok(())
        })
    }
}

pub(crate) fn zone() -> Kind {
    Kind::new::<Zone, _>(&shared(ZoneHooks)).naming(Naming::Global).context("cloudregions", "cloudregion_id").done()
}

struct VpcHooks;

const PRIVATE: [&str; 3] = ["192.168.0.0/16", "10.0.0.0/8", "172.16.0.0/12"];

impl Hooks for VpcHooks {
    fn create<'a>(&'a self, _op: &'a Op<'a>, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let (v4, v6) = (row.text("cidr_block").to_string(), row.text("cidr_block6").to_string());
            if !(PRIVATE.contains(&v4.as_str()) || v4.is_empty() && !v6.is_empty()) {
                return Err(err!(InputParameter, "cidr_block: {} is not one of {}", v4, PRIVATE.join(", ")));
            }
            if !v6.is_empty() && !v6.starts_with("fd") {
                return Err(err!(InputParameter, "cidr_block6: {} must start with fd", v6));
            }
            let mode = row.text("external_access_mode");
            if !["none", "eip", "eip-distgw"].contains(&mode) {
                return Err(err!(InputParameter, "external_access_mode: {} is not one of {}", mode, "none, eip, eip-distgw"));
            }
            // Only the classic network, which is built in, has anybody who makes it work.
            row.set("status", "unavailable");
            row.set("enabled", true);
            Ok(())
        })
    }
    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let busy = not_empty(op, rows, &[("wires", "vpc_id")]).await?;
            Ok(rows.iter().zip(busy).map(|(row, busy)| builtin(row).or(busy)).collect())
        })
    }
    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if !page.details {
                return Ok(());
            }
            brand(page);
            place(op, page, |_| String::new()).await?;
            count_into(op, page, "wire_count", "wires", "vpc_id", Cond::True).await
        })
    }
}

pub(crate) fn vpc() -> Kind {
    Kind::new::<Vpc, _>(&shared(VpcHooks)).context("cloudregions", "cloudregion_id").done()
}

struct WireHooks;

impl Hooks for WireHooks {
    fn create<'a>(&'a self, _op: &'a Op<'a>, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            // The existing command line says 0 when it says nothing.
            if row.int("mtu") == 0 {
                row.set("mtu", 1500i64);
            }
            check_wire(row)?;
            row.set("status", "available");
            // A wire is a piece of the data centre: whoever may use the zone may use it.
            row.set("is_public", true);
            row.set("public_scope", "system");
            Ok(())
        })
    }
    fn update<'a>(&'a self, _op: &'a Op<'a>, _old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { check_wire(row) })
    }
    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(not_empty(op, rows, &[("networks", "wire_id"), ("netinterfaces", "wire_id")]))
    }
    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if !page.details {
                return Ok(());
            }
            brand(page);
            place(op, page, |row| row.text("zone_id").to_string()).await?;
            count_into(op, page, "networks", "networks", "wire_id", Cond::True).await?;
            count_into(op, page, "host_count", "netinterfaces", "wire_id", Cond::True).await?;
            for i in 0..page.rows.len() {
                let classic = page.rows[i].text("vpc_id") == "default";
                page.add(i, "is_default_vpc", classic);
            }
            Ok(())
        })
    }
}

fn check_wire(row: &Row) -> Result<()> {
    if row.int("bandwidth") < 1 {
        return Err(err!(InputParameter, "bandwidth: {} Mbit/s is out of range; give at least 1, as in 1000", row.int("bandwidth")));
    }
    if !(576..=65_535).contains(&row.int("mtu")) {
        return Err(err!(InputParameter, "mtu: {} is out of range 576 to 65535", row.int("mtu")));
    }
    Ok(())
}

pub(crate) fn wire() -> Kind {
    Kind::new::<Wire, _>(&shared(WireHooks)).context("zones", "zone_id").context("vpcs", "vpc_id").done()
}
