//! Networks and addresses set aside.

use crate::{Range, range};
use api_compute::{Network, ReservedIp};
use base::{Error, Json, Kind as Cell, Resource, Result, Row, err};
use region_infra::{brand, place};
use resource::{ActionFact, BoxFuture, Extra, Hooks, Input, Kind, Map, Naming, Op, Page, Params, Reply};
use serde_json::json;
use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};
use store::{Cond, Pick, Read, Select, Tx, work};

struct NetworkHooks {
    /// Name servers of networks that name none, comma separated.
    dns: String,
}

impl NetworkHooks {
    /// The wire: named, or the zone's only one of the VPC.
    async fn wire(&self, op: &Op<'_>, body: &Map, row: &mut Row) -> Result<Row> {
        if !row.text("wire_id").is_empty() {
            return op.engine.resolve(op.ctx, "wire", row.text("wire_id")).await;
        }
        let mut cond = Cond::eq("deleted", false).and(Cond::eq("is_emulated", false));
        if let Some(zone) = resource::text(body, &["zone_id", "zone"]) {
            cond = cond.and(Cond::eq("zone_id", op.engine.resolve(op.ctx, "zone", &zone).await?.id()));
        }
        if let Some(vpc) = resource::text(body, &["vpc_id", "vpc"]) {
            cond = cond.and(Cond::eq("vpc_id", op.engine.resolve(op.ctx, "vpc", &vpc).await?.id()));
        }
        let mut db = &op.engine.db;
        let mut wires = db.find(api_compute::Wire::facts(), cond).await?;
        if wires.len() != 1 {
            return Err(err!(MissingParameter, "wire is missing: {} wires fit; name one", wires.len()));
        }
        let wire = wires.remove(0);
        row.set("wire_id", wire.id());
        Ok(wire)
    }

    /// No two networks of a VPC may share an address. Checked in the transaction, behind a lock on the wire.
    async fn alone(&self, tx: &mut Tx, row: &Row, range: &Range) -> Result<()> {
        let wire = tx
            .get::<api_compute::Wire>(row.text("wire_id"))
            .await?
            .ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "wire", row.text("wire_id")))?;
        // Taking the VPC's row makes creators of networks in one VPC queue up; the check below then sees all of them.
        tx.lock("vpcs", Cond::eq("id", wire.vpc_id.as_str())).await?;
        let wires = Select::from("wires").column("id", Cell::Text).filter(Cond::eq("vpc_id", wire.vpc_id.as_str()));
        let others = Cond::in_select("wire_id", wires).and(Cond::eq("deleted", false)).and(Cond::ne("id", row.id()));
        for other in tx.find(Network::facts(), others).await? {
            if Range::of(&other).is_ok_and(|o| o.overlaps(range)) {
                return Err(err!(
                    InputParameter,
                    "guest_ip_start: the range overlaps network {} ({} to {}); choose a free range",
                    other.name(),
                    other.text("guest_ip_start"),
                    other.text("guest_ip_end")
                ));
            }
        }
        Ok(())
    }
}

const EXTRAS: &[Extra] = &[
    Extra::create(
        "guest_ip_prefix",
        Cell::Text,
        "The whole subnet, as in 10.0.0.0/24, instead of first and last address and prefix length.",
    ),
    Extra::create("zone_id", Cell::Text, "Zone of the wire, where none is named and one alone fits."),
    Extra::create("vpc_id", Cell::Text, "VPC of the wire, where none is named and one alone fits."),
];

impl Hooks for NetworkHooks {
    fn create<'a>(&'a self, op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let wire = self.wire(op, body, row).await?;
            if let Some(prefix) = resource::text(body, &["guest_ip_prefix"]) {
                range::from_prefix(row, &prefix)?;
            }
            for field in ["guest_ip_start", "guest_ip_end"] {
                if row.text(field).is_empty() {
                    return Err(err!(MissingParameter, "{} is missing; or give guest_ip_prefix", field));
                }
            }
            let range = range::check(row)?;
            row.set("size", range.size());
            if row.text("server_type") == "eip" && wire.text("vpc_id") != "default" {
                return Err(err!(InputParameter, "server_type: eip networks lie in vpc default only"));
            }
            row.set("status", "available");
            if row.text("ifname_hint").is_empty() {
                let hint: String = row.name().chars().filter(char::is_ascii_alphanumeric).take(9).collect();
                row.set("ifname_hint", if hint.is_empty() { "vnet".to_string() } else { hint });
            }
            if row.text("ifname_hint").len() > 11 {
                return Err(err!(InputParameter, "ifname_hint: at most {} characters, got {}", 11, row.text("ifname_hint").len()));
            }
            // Whoever makes a network for the system project makes it for everybody, as existing platforms do.
            if op.engine.owners.project(row.text("tenant_id")).is_some_and(|o| o.project == "system") {
                row.set("is_public", true);
                row.set("public_scope", "system");
            }
            Ok(())
        })
    }
    fn created<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, _body: &'a Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.alone(tx, row, &Range::of(row)?).await })
    }
    fn update<'a>(&'a self, _op: &'a Op<'a>, _old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let range = range::check(row)?;
            row.set("size", range.size());
            Ok(())
        })
    }
    fn updated<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let range = Range::of(row)?;
            if Range::of(old).ok() == Some(range) {
                return Ok(());
            }
            self.alone(tx, row, &range).await?;
            for address in addresses(tx, row.id()).await? {
                if !range.contains(address) {
                    return Err(err!(InputParameter, "guest_ip_start: address {} is in use and would lie outside", address));
                }
            }
            Ok(())
        })
    }
    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let used = used(op, rows.iter().map(|r| r.id().to_string()).collect()).await?;
            let busy = |row: &Row| {
                let n = used.get(row.id()).copied().unwrap_or(0);
                (n > 0).then(|| err!(NotEmpty, "{} {} still has {} {}; delete them first", "network", row.name(), n, "addresses in use"))
            };
            Ok(rows.iter().map(busy).collect())
        })
    }
    fn filter<'a>(&'a self, _op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut all = std::mem::replace(cond, Cond::True);
            let through = |column: &'static str, wanted: Vec<String>| {
                let wires = Select::from("wires").column("id", Cell::Text).filter(Cond::is_in(column, wanted));
                Cond::in_select("wire_id", wires)
            };
            for (keys, column) in [(["vpc_id", "vpc"], "vpc_id"), (["zone_id", "zone"], "zone_id")] {
                let wanted: Vec<String> = keys.iter().flat_map(|k| params.all(k)).collect();
                if !wanted.is_empty() {
                    all = all.and(through(column, wanted));
                }
            }
            if params.flag("usable") == Some(true) {
                all = all.and(Cond::eq("status", "available"));
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
            let mut db = &op.engine.db;
            let wires: HashMap<String, (String, String)> = db
                .rows(
                    &Select::from("wires")
                        .column("id", Cell::Text)
                        .column("vpc_id", Cell::Text)
                        .column("zone_id", Cell::Text)
                        .filter(Cond::is_in("id", page.ids("wire_id"))),
                )
                .await?
                .into_iter()
                .map(|r| (r[0].as_str().to_string(), (r[1].as_str().to_string(), r[2].as_str().to_string())))
                .collect();
            let vpcs: HashMap<String, String> = db
                .rows(
                    &Select::from("vpcs")
                        .column("id", Cell::Text)
                        .column("name", Cell::Text)
                        .filter(Cond::is_in("id", wires.values().map(|(v, _)| v.as_str()))),
                )
                .await?
                .into_iter()
                .map(|r| (r[0].as_str().to_string(), r[1].as_str().to_string()))
                .collect();
            brand(page);
            place(op, page, |row| wires.get(row.text("wire_id")).map(|(_, zone)| zone.clone()).unwrap_or_default()).await?;
            let used = used(op, page.ids("id")).await?;
            let aside = count(op, "reservedips", page.ids("id")).await?;
            for i in 0..page.rows.len() {
                let row = &page.rows[i];
                let vpc = wires.get(row.text("wire_id")).map(|(v, _)| v.clone()).unwrap_or_default();
                let (size, public) = (row.int("size"), row.text("guest_ip_start").parse::<Ipv4Addr>().is_ok_and(|a| !a.is_private()));
                let nics = used.get(row.id()).copied().unwrap_or(0);
                let reserved = aside.get(row.id()).copied().unwrap_or(0);
                page.add(i, "vpc", vpcs.get(&vpc).cloned().unwrap_or_default());
                page.add(i, "is_classic", vpc == "default");
                page.add(i, "is_default_vpc", vpc == "default");
                page.add(i, "vpc_id", vpc);
                page.add(i, "exit", public);
                let dns = page.rows[i].text("guest_dns").to_string();
                page.add(i, "dns", if dns.is_empty() { self.dns.clone() } else { dns });
                page.add(i, "ports", size);
                for key in ["vnics", "vnics4"] {
                    page.add(i, key, nics);
                }
                page.add(i, "reserve_vnics4", reserved);
                page.add(i, "ports_used", nics + reserved);
                page.add(i, "total", nics + reserved);
                for key in [
                    "vnics6",
                    "bm_vnics",
                    "lb_vnics",
                    "eip_vnics",
                    "group_vnics",
                    "reserve_vnics6",
                    "rds_vnics",
                    "nat_vnics",
                    "bm_reused_vnics",
                    "networkinterface_vnics",
                    "ports6_used",
                    "total6",
                ] {
                    page.add(i, key, 0);
                }
            }
            Ok(())
        })
    }
}

/// Interfaces with an address, by network.
async fn used(op: &Op<'_>, ids: Vec<String>) -> Result<HashMap<String, i64>> {
    let select = Select::from("guestnetworks")
        .column("network_id", Cell::Text)
        .pick(Pick::Count)
        .filter(Cond::is_in("network_id", ids).and(Cond::eq("deleted", false)))
        .group_by("network_id");
    let mut db = &op.engine.db;
    Ok(db.rows(&select).await?.into_iter().map(|r| (r[0].as_str().to_string(), r[1].as_int().unwrap_or(0))).collect())
}

async fn count(op: &Op<'_>, table: &'static str, ids: Vec<String>) -> Result<HashMap<String, i64>> {
    let select = Select::from(table)
        .column("network_id", Cell::Text)
        .pick(Pick::Count)
        .filter(Cond::is_in("network_id", ids))
        .group_by("network_id");
    let mut db = &op.engine.db;
    Ok(db.rows(&select).await?.into_iter().map(|r| (r[0].as_str().to_string(), r[1].as_int().unwrap_or(0))).collect())
}

async fn addresses<R: Read>(reader: &mut R, network_id: &str) -> Result<Vec<Ipv4Addr>> {
    let select = Select::from("guestnetworks")
        .column("ip_addr", Cell::Text)
        .filter(Cond::eq("network_id", network_id).and(Cond::eq("deleted", false)));
    Ok(reader.rows(&select).await?.into_iter().filter_map(|r| r[0].as_str().parse().ok()).collect())
}

/// `GET /networks/{id}/addresses`
fn list_addresses<'a>(_: &'a NetworkHooks, op: &'a Op<'a>, row: Row, _body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let mut db = &op.engine.db;
        let nics: Vec<api_compute::GuestNetwork> = db.list(Cond::eq("network_id", row.id()).and(Cond::eq("deleted", false))).await?;
        let servers: HashMap<String, api_compute::Server> = db
            .list::<api_compute::Server>(Cond::is_in("id", nics.iter().map(|n| n.guest_id.as_str())))
            .await?
            .into_iter()
            .map(|s| (s.meta.id.clone(), s))
            .collect();
        let all: Vec<Json> = nics
            .iter()
            .map(|n| {
                let server = servers.get(&n.guest_id);
                json!({"ip_addr": n.ip_addr, "mac_addr": n.mac_addr, "owner_type": "servers", "owner_id": n.guest_id,
                    "owner": server.map(|s| &s.meta.name), "owner_status": server.map(|s| &s.status.status), "created_at": n.joint.created_at.to_string()})
            })
            .collect();
        Ok(Reply::Value(json!({ "addresses": all })))
    })
}

const RESERVE: ActionFact = ActionFact {
    name: "reserve-ip",
    doc: "Set addresses aside: no server gets them by itself.",
    inputs: &[
        Input { name: "ips", kind: Cell::Json, required: true, doc: "Addresses of the network, as in 10.0.0.9." },
        Input { name: "notes", kind: Cell::Text, required: false, doc: "Why." },
    ],
};

fn reserve<'a>(_: &'a NetworkHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let range = Range::of(&row)?;
        let mut wanted = Vec::new();
        for text in resource::text_list(&body, "ips") {
            let address = range::address("ips", &text)?;
            if !range.contains(address) {
                return Err(err!(
                    InputParameter,
                    "{}: {} lies outside network {} ({} to {})",
                    "ips",
                    address,
                    row.name(),
                    row.text("guest_ip_start"),
                    row.text("guest_ip_end")
                ));
            }
            wanted.push(address);
        }
        if wanted.is_empty() {
            return Err(err!(MissingParameter, "ips is missing; give addresses of the network, as in 10.0.0.9"));
        }
        let notes = resource::text(&body, &["notes"]).unwrap_or_default();
        let (row, wanted, notes) = (&row, &wanted, &notes);
        op.engine
            .db
            .tx(|tx| {
                work(async move {
                    for address in wanted {
                        let id = format!("{}-{address}", row.id());
                        if tx.exists("reservedips", Cond::eq("id", id.as_str())).await? {
                            continue;
                        }
                        if tx
                            .exists(
                                "guestnetworks",
                                Cond::eq("network_id", row.id())
                                    .and(Cond::eq("ip_addr", address.to_string()))
                                    .and(Cond::eq("deleted", false)),
                            )
                            .await?
                        {
                            return Err(err!(Conflict, "ips: {} is in use", address));
                        }
                        let fits = Cond::eq("id", row.id()).and(Cond::Fits { used: "used".into(), add: 1, cap: "size".into() });
                        tx.update("networks", fits, vec![store::add("used", 1)]).await?;
                        let ip = ReservedIp {
                            id,
                            network_id: row.id().into(),
                            ip_addr: address.to_string(),
                            notes: notes.clone(),
                            expired_at: None,
                            created_at: tx.now(),
                        };
                        tx.insert(&ip.to_row()).await?;
                    }
                    resource::audit(tx, op.ctx, row, "reserve_ip", format!("{wanted:?}")).await?;
                    tx.emit(resource::changed(row)).await
                })
            })
            .await?;
        Ok(Reply::Object)
    })
}

const RELEASE: ActionFact = ActionFact {
    name: "release-reserved-ip",
    doc: "Let an address that was set aside be used again.",
    inputs: &[Input { name: "ip", kind: Cell::Text, required: true, doc: "The address." }],
};

fn release<'a>(_: &'a NetworkHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let address = resource::required(&body, "ip")?;
        let (row, address) = (&row, &address);
        op.engine
            .db
            .tx(|tx| {
                work(async move {
                    let gone =
                        tx.delete("reservedips", Cond::eq("network_id", row.id()).and(Cond::eq("ip_addr", address.as_str()))).await?;
                    if gone == 0 {
                        return Err(err!(ResourceNotFound, "{} {} not found", "reservedip", address));
                    }
                    crate::release(tx, row.id(), gone as i64).await?;
                    resource::audit(tx, op.ctx, row, "release_ip", address.clone()).await?;
                    tx.emit(resource::changed(row)).await
                })
            })
            .await?;
        Ok(Reply::Object)
    })
}

/// The kinds of this link. `dns`: what guests of networks that name no name servers are given.
pub fn kinds(dns: &[String]) -> Vec<Kind> {
    const ADDRESSES: ActionFact = ActionFact { name: "addresses", doc: "Every address in use and by whom.", inputs: &[] };
    let network = Kind::new::<Network, _>(&Arc::new(NetworkHooks { dns: dns.join(",") }))
        .extras(EXTRAS)
        .context("wires", "wire_id")
        .spec(ADDRESSES, list_addresses)
        .action(RESERVE, reserve)
        .action(RELEASE, release)
        .done();
    let reserved =
        Kind::new::<ReservedIp, _>(&Arc::new(resource::NoHooks)).naming(Naming::Free).parent("network", "network_id").read_only().done();
    vec![network, reserved]
}
