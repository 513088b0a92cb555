//! Which servers a list shows by what lies in other tables, and in which order by it (spec 11 §1.2). What the platform does not have, no server has:
//! asking for it matches none, and asking for those without it matches all.

use base::{Kind::Int, Kind::Text, Result};
use resource::{Op, Params};
use std::collections::HashMap;
use store::{Cond, Match, Op as Is, Read, Select};

/// Filters by the identifier of what no server has here.
const NEVER: [&str; 8] = [
    "group_id",
    "group",
    "isolated_device_id",
    "custom_dev_type",
    "snapshotpolicy_id",
    "scaling_group_id",
    "usable_server_for_eip",
    "cloud_account_id",
];
/// Switches that ask for servers with something no server has; `false` asks for those without.
const NOT_HAD: [&str; 8] =
    ["with_eip", "eip_associable", "admin_security", "gpu", "usb", "baremetal", "binding_snapshotpolicy", "binding_disks_snapshotpolicy"];

fn ids(table: &'static str, column: &'static str, cond: Cond) -> Select {
    Select::from(table).column(column, Text).filter(cond)
}

fn live(table: &'static str, column: &'static str, cond: Cond) -> Select {
    ids(table, column, cond.and(Cond::eq("deleted", false)))
}

fn nics(inner: Cond) -> Cond {
    Cond::in_select("id", live("guestnetworks", "guest_id", inner))
}

fn on_hosts(cond: Cond) -> Cond {
    Cond::in_select("host_id", live("hosts", "id", cond))
}

fn networks(wires: Cond) -> Cond {
    nics(Cond::in_select("network_id", live("networks", "id", wires)))
}

/// Narrows a list by parameters that are no columns of servers.
pub(super) async fn filter(op: &Op<'_>, params: &Params, cond: &mut Cond) -> Result<()> {
    let mut all = std::mem::replace(cond, Cond::True);
    let named = |keys: &[&str]| -> Vec<String> { keys.iter().flat_map(|k| params.all(k)).collect() };
    let resolve = async |kind: &str, which: &str| op.engine.resolve(op.ctx, kind, which).await.map(|row| row.id().to_string());

    match named(&["ip_addr", "ip_addrs"]).as_slice() {
        [] => {}
        [one] => all = all.and(nics(Cond::Text("ip_addr".into(), Match::Contains, one.clone()))),
        several => all = all.and(nics(Cond::is_in("ip_addr", several.iter().map(String::as_str)))),
    }
    for which in named(&["network_id", "network"]) {
        all = all.and(nics(Cond::eq("network_id", resolve("network", &which).await?)));
    }
    for which in named(&["wire_id", "wire"]) {
        all = all.and(networks(Cond::eq("wire_id", resolve("wire", &which).await?)));
    }
    for which in named(&["vpc_id", "vpc"]) {
        let wires = live("wires", "id", Cond::eq("vpc_id", resolve("vpc", &which).await?));
        all = all.and(networks(Cond::in_select("wire_id", wires)));
    }
    for which in named(&["zone_id", "zone"]) {
        all = all.and(on_hosts(Cond::eq("zone_id", resolve("zone", &which).await?)));
    }
    for which in named(&["cloudregion_id", "cloudregion", "region_id", "region"]) {
        let zones = live("zones", "id", Cond::eq("cloudregion_id", resolve("cloudregion", &which).await?));
        all = all.and(on_hosts(Cond::in_select("zone_id", zones)));
    }
    for which in named(&["get_all_guests_on_host"]) {
        all = all.and(Cond::eq("host_id", resolve("host", &which).await?));
    }
    let kinds = named(&["resource_type"]);
    if !kinds.is_empty() {
        all = all.and(on_hosts(Cond::is_in("resource_type", kinds)));
    }
    for which in named(&["attachable_servers_for_disk", "disk"]) {
        let disk = resolve("disk", &which).await?;
        let storage = ids("disks", "storage_id", Cond::eq("id", disk.as_str()));
        let reach = live("hoststorages", "host_id", Cond::in_select("storage_id", storage));
        let has = live("guestdisks", "guest_id", Cond::eq("disk_id", disk));
        all = all.and(Cond::in_select("host_id", reach)).and(Cond::in_select("id", has).not());
    }
    let systems = named(&["os_dist"]);
    if !systems.is_empty() {
        let tag = Cond::eq("obj_type", "server").and(Cond::eq("key", "os_distribution")).and(Cond::is_in("value", systems));
        all = all.and(Cond::in_select("id", ids("metadata", "obj_id", tag)));
    }
    for which in named(&["secgroup_id", "secgroup"]) {
        all = all.and(match which.strip_prefix('!') {
            Some(not) => Cond::ne("secgrp_id", not),
            None => Cond::eq("secgrp_id", which),
        });
    }
    let twin = || Cond::ne("backup_host_id", "");
    let types = named(&["server_type"]);
    if !types.is_empty() {
        // Any other word is a kind of device.
        all = all.and(types.iter().fold(Cond::False, |any, word| match word.as_str() {
            "normal" => any.or(twin().not()),
            "backup" => any.or(twin()),
            _ => any,
        }));
    }
    // One of the names is misspelt on the wire.
    for key in ["bakcup", "backup"] {
        match params.flag(key) {
            Some(true) => all = all.and(twin()),
            Some(false) => all = all.and(twin().not()),
            None => {}
        }
    }
    if let Some(with) = params.flag("with_host") {
        let none = Cond::eq("host_id", "").or(Cond::IsNull("host_id".into()));
        all = all.and(if with { none.not() } else { none });
    }
    for column in ["src_ip_check", "src_mac_check", "disable_delete"] {
        if let Some(on) = params.flag(column) {
            all = all.and(Cond::eq(column, on));
        }
    }
    for (key, is) in [("billing_expire_since", Is::Ge), ("billing_expire_before", Is::Lt)] {
        if let Some(at) = params.text(key).and_then(|t| base::Timestamp::parse(&t)) {
            all = all.and(Cond::cmp("expired_at", is, at));
        }
    }
    if NEVER.iter().any(|key| !params.all(key).is_empty()) || NOT_HAD.iter().any(|key| params.flag(key) == Some(true)) {
        all = Cond::False;
    }
    if params.flag("without_eip") == Some(false) || params.flag("normal") == Some(false) {
        all = Cond::False;
    }
    *cond = all;
    Ok(())
}

/// What a list can be ordered by beside columns: the parameter's name.
const ORDERS: [&str; 5] = ["order_by_ip", "order_by_disk", "order_by_host", "order_by_network", "order_by_os_dist"];

#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// What has none comes first.
    #[default]
    None,
    Number(i64),
    Words(String),
}

/// The identifiers of a whole condition, ordered as asked: by the first address, the size of all disks, or a name. A constant number of queries.
pub(super) async fn ordered(op: &Op<'_>, cond: &Cond) -> Result<Option<Vec<String>>> {
    let Some((by, how)) = ORDERS.iter().find_map(|key| op.params.text(key).map(|how| (*key, how))) else { return Ok(None) };
    let mut db = &op.engine.db;
    let these = || Select::from("servers").column("id", Text).filter(cond.clone());
    let servers = db.rows(&these().column("name", Text).column("host_id", Text)).await?;
    let mut keys: HashMap<String, Key> = HashMap::new();
    match by {
        "order_by_disk" => {
            let ties = Select::from("guestdisks").column("guest_id", Text).column("disk_id", Text);
            let ties = ties.filter(Cond::in_select("guest_id", these()).and(Cond::eq("deleted", false)));
            let held = live("guestdisks", "disk_id", Cond::in_select("guest_id", these()));
            let sizes = Select::from("disks").column("id", Text).column("disk_size", Int).filter(Cond::in_select("id", held));
            let [ties, sizes] = [db.rows(&ties).await?, db.rows(&sizes).await?];
            let sizes: HashMap<&str, i64> = sizes.iter().map(|r| (r[0].as_str(), r[1].as_int().unwrap_or(0))).collect();
            for tie in &ties {
                let size = sizes.get(tie[1].as_str()).copied().unwrap_or(0);
                let key = keys.entry(tie[0].as_str().into()).or_insert(Key::Number(0));
                *key = if let Key::Number(n) = key { Key::Number(*n + size) } else { Key::Number(size) };
            }
        }
        "order_by_ip" | "order_by_network" => {
            let nics = Select::from("guestnetworks").column("guest_id", Text).column("ip_addr", Text).column("network_id", Text);
            let nics = nics.filter(Cond::in_select("guest_id", these()).and(Cond::eq("deleted", false)));
            let nics = db.rows(&nics).await?;
            let names = if by == "order_by_network" {
                names(op, "networks", live("guestnetworks", "network_id", Cond::in_select("guest_id", these()))).await?
            } else {
                HashMap::new()
            };
            for nic in &nics {
                let key = match nic[1].as_str().parse::<std::net::Ipv4Addr>() {
                    _ if by == "order_by_network" => names.get(nic[2].as_str()).cloned().map_or(Key::None, Key::Words),
                    Ok(ip) => Key::Number(u32::from(ip).into()),
                    Err(_) => Key::None,
                };
                let least = keys.entry(nic[0].as_str().into()).or_insert_with(|| key.clone());
                *least = key.min(least.clone());
            }
        }
        "order_by_host" => {
            let names = names(op, "hosts", ids("servers", "host_id", cond.clone())).await?;
            let of = |host: &str| names.get(host).cloned().map_or(Key::None, Key::Words);
            keys.extend(servers.iter().map(|r| (r[0].as_str().to_string(), of(r[2].as_str()))));
        }
        _ => {
            let tag = Cond::eq("obj_type", "server").and(Cond::eq("key", "os_distribution")).and(Cond::in_select("obj_id", these()));
            let tags = db.rows(&Select::from("metadata").column("obj_id", Text).column("value", Text).filter(tag)).await?;
            keys.extend(tags.iter().map(|r| (r[0].as_str().to_string(), Key::Words(r[1].as_str().into()))));
        }
    }
    let mut order: Vec<(Key, &str, &str)> =
        servers.iter().map(|r| (keys.remove(r[0].as_str()).unwrap_or_default(), r[1].as_str(), r[0].as_str())).collect();
    order.sort();
    // `order_by_ip=desc`, or the order of the whole list.
    let word = if matches!(how.as_str(), "asc" | "desc") { how } else { op.params.text("order").unwrap_or_default() };
    if word.eq_ignore_ascii_case("desc") {
        order.reverse();
    }
    Ok(Some(order.into_iter().map(|(_, _, id)| id.to_string()).collect()))
}

/// Names of the rows that are `among` these identifiers.
async fn names(op: &Op<'_>, table: &'static str, among: Select) -> Result<HashMap<String, String>> {
    let mut db = &op.engine.db;
    let rows = db.rows(&live(table, "id", Cond::in_select("id", among)).column("name", Text)).await?;
    Ok(rows.iter().map(|r| (r[0].as_str().to_string(), r[1].as_str().to_string())).collect())
}
