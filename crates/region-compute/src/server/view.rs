//! What a server's row shows beyond its columns: disks, interfaces, host, place. A constant number of queries for a page.

use api_compute::{Disk, GuestDisk, GuestNetwork, Host, Network, Storage};
use base::{Result, Row, Scope};
use region_infra::{brand, place};
use resource::{Op, Page};
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};
use store::{Cond, Read};

pub(super) async fn view(op: &Op<'_>, page: &mut Page) -> Result<()> {
    for i in 0..page.rows.len() {
        page.add(i, "secgroup", "Default");
    }
    if !page.details || page.rows.is_empty() {
        return Ok(());
    }
    let mut db = &op.engine.db;
    let ids = page.ids("id");
    let live = || Cond::eq("deleted", false);
    let by_guest = |column: &'static str| Cond::is_in(column, ids.iter().map(String::as_str)).and(live());
    let mut ties: Vec<GuestDisk> = db.list(by_guest("guest_id")).await?;
    ties.sort_by_key(|t| t.index);
    let disks: HashMap<String, Disk> = db
        .list::<Disk>(Cond::is_in("id", ties.iter().map(|t| t.disk_id.as_str())))
        .await?
        .into_iter()
        .map(|d| (d.meta.id.clone(), d))
        .collect();
    let storages: HashMap<String, Storage> = {
        let mut wanted: Vec<&str> = disks.values().map(|d| d.storage_id.as_str()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        db.list::<Storage>(Cond::is_in("id", wanted)).await?.into_iter().map(|s| (s.meta.id.clone(), s)).collect()
    };
    let mut nics: Vec<GuestNetwork> = db.list(by_guest("guest_id")).await?;
    nics.sort_by_key(|n| n.index);
    let networks: HashMap<String, Network> = {
        let mut wanted: Vec<&str> = nics.iter().map(|n| n.network_id.as_str()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        db.list::<Network>(Cond::is_in("id", wanted)).await?.into_iter().map(|n| (n.meta.id.clone(), n)).collect()
    };
    let hosts: HashMap<String, Host> =
        db.list::<Host>(Cond::is_in("id", page.ids("host_id"))).await?.into_iter().map(|h| (h.meta.id.clone(), h)).collect();

    brand(page);
    let zone = |row: &Row| hosts.get(row.text("host_id")).map(|h| h.zone_id.clone()).unwrap_or_default();
    place(op, page, zone).await?;
    for i in 0..page.rows.len() {
        let id = page.rows[i].id().to_string();
        show_disks(page, i, ties.iter().filter(|t| t.guest_id == id).collect(), &disks, &storages);
        show_nics(page, i, nics.iter().filter(|n| n.guest_id == id).collect(), &networks);
        show_host(page, i, &hosts);
        page.add(i, "secgroups", json!([{"id": "default", "name": "Default"}]));
        page.add(i, "security_rules", "in:allow any");
        for key in ["can_recycle", "is_gpu", "is_prepaid_recycle", "cdrom_support", "floppy_support"] {
            page.add(i, key, false);
        }
        for key in ["snapshotpolicy_count", "disks_snapshotpolicy_count"] {
            page.add(i, key, 0);
        }
        page.add(i, "monitor_url", "http://169.254.169.254/monitor");
    }
    Ok(())
}

fn show_disks(page: &mut Page, i: usize, ties: Vec<&GuestDisk>, disks: &HashMap<String, Disk>, storages: &HashMap<String, Storage>) {
    let (mut text, mut sum, mut info) = (String::new(), 0, Vec::new());
    for tie in &ties {
        let Some(d) = disks.get(&tie.disk_id) else { continue };
        sum += d.disk_size;
        let role = if tie.index == 0 { "root" } else { &d.disk_type };
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "disk{}:{}M/{}/{}/{}/{}/{role}",
            tie.index, d.disk_size, d.disk_format, tie.driver, tie.cache_mode, tie.aio_mode
        );
        let storage = storages.get(&d.storage_id);
        let mut one = json!({
            "id": d.meta.id, "name": d.meta.name, "index": tie.index, "size": d.disk_size, "disk_format": d.disk_format, "disk_type": d.disk_type,
            "driver": tie.driver, "cache_mode": tie.cache_mode, "aio_mode": tie.aio_mode, "boot_index": tie.boot_index, "auto_reset": d.auto_reset,
            "iops": tie.iops, "bps": tie.bps, "throughput": 0, "preallocation": "off", "status": d.status.status,
        });
        if let Some(s) = storage {
            one["storage_id"] = json!(s.meta.id);
            one["storage_type"] = json!(s.storage_type);
            one["medium_type"] = json!(s.medium_type);
        }
        if !d.template_id.is_empty() {
            one["image_id"] = json!(d.template_id);
            one["image"] = json!(d.template_name);
        }
        info.push(one);
    }
    page.add(i, "disk", sum);
    page.add(i, "disk_count", ties.len());
    page.add(i, "disks", text.trim_end().to_string());
    page.add(i, "disks_info", info);
}

fn show_nics(page: &mut Page, i: usize, nics: Vec<&GuestNetwork>, networks: &HashMap<String, Network>) {
    let mut text = String::new();
    let mut list: Vec<Json> = Vec::new();
    for nic in &nics {
        let net = networks.get(&nic.network_id);
        let (mask, vlan, name) = net.map_or((0, 1, ""), |n| (n.guest_ip_mask, n.vlan_id, n.meta.name.as_str()));
        let _ = writeln!(
            text,
            "eth{}:{}/{mask}/{}/{vlan}/{name}/{}/{}/rx{}/tx{}/0",
            nic.index, nic.ip_addr, nic.mac_addr, nic.driver, nic.bw_limit, nic.bw_limit, nic.bw_limit
        );
        list.push(json!({
            "index": nic.index, "ip_addr": nic.ip_addr, "mac": nic.mac_addr, "network_id": nic.network_id, "network": name, "ifname": nic.ifname,
            "is_default": nic.is_default, "is_exit": false, "bw_limit_mbps": nic.bw_limit, "vpc_id": "default",
        }));
    }
    let join = |f: fn(&GuestNetwork) -> &str| nics.iter().map(|n| f(n)).collect::<Vec<_>>().join(",");
    page.add(i, "ips", join(|n| &n.ip_addr));
    page.add(i, "macs", join(|n| &n.mac_addr));
    page.add(i, "networks", text);
    if !nics.is_empty() {
        page.add(i, "vpc", "Default");
        page.add(i, "vpc_id", "default");
        page.add(i, "vpc_external_access_mode", "eip-distgw");
    }
    page.add(i, "nics", list);
}

/// Names the host only to those who may see hosts' details.
fn show_host(page: &mut Page, i: usize, hosts: &HashMap<String, Host>) {
    let host = hosts.get(page.rows[i].text("host_id"));
    page.add(i, "host_enabled", host.is_some_and(|h| h.enabled.enabled));
    let Some(h) = host.filter(|_| page.rights >= Scope::Domain) else { return };
    let facts: BTreeMap<&'static str, &str> = BTreeMap::from([
        ("host", h.meta.name.as_str()),
        ("host_access_ip", &h.access_ip),
        ("host_access_mac", &h.access_mac),
        ("host_billing_type", &h.billing.billing_type),
        ("host_resource_type", &h.resource_type),
        ("host_service_status", &h.host_status),
        ("host_sn", &h.sn),
        ("host_status", &h.status.status),
        ("host_type", &h.host_type),
    ]);
    for (key, value) in facts {
        page.add(i, key, value);
    }
}
