//! What a server's row shows beyond its columns: disks, interfaces, host, place. A constant number of queries for a page.

use api_compute::{Disk, GuestDisk, GuestNetwork, Host, Network, Storage, Vpc, Wire};
use base::{Resource, Result, Row, Scope, Value};
use region_infra::{brand, place};
use resource::{Objects, Op, Page};
use std::{
    collections::HashMap,
    fmt::{Display, Write},
    net::Ipv4Addr,
};
use store::{Cells, Cond, Select};

type Cell = Vec<Value>;

const TIE: &[&str] = &["guest_id", "disk_id", "index", "driver", "cache_mode", "aio_mode", "boot_index", "iops", "bps"];
const DISK: &[&str] =
    &["id", "name", "disk_size", "disk_format", "disk_type", "storage_id", "auto_reset", "status", "template_id", "template_name"];
const NIC: &[&str] = &["guest_id", "index", "ip_addr", "mac_addr", "network_id", "driver", "bw_limit", "ifname", "is_default"];
const STORAGE: &[&str] = &["storage_type", "medium_type"];
const NETWORK: &[&str] = &["name", "guest_ip_mask", "vlan_id", "wire_id"];
const WIRE: &[&str] = &["vpc_id"];
const VPC: &[&str] = &["name", "external_access_mode"];
const HOST: &[&str] =
    &["zone_id", "enabled", "name", "access_ip", "access_mac", "billing_type", "resource_type", "host_status", "sn", "status", "host_type"];
/// What a page calls the columns of a host, from the third on.
const HOST_SHOWN: [&str; 9] = [
    "host",
    "host_access_ip",
    "host_access_mac",
    "host_billing_type",
    "host_resource_type",
    "host_service_status",
    "host_sn",
    "host_status",
    "host_type",
];

/// Disks with their ties, and interfaces.
pub(super) fn asks(ids: &[&str]) -> Vec<Select> {
    let mine = || Cond::is_in("guest_id", ids.iter().copied()).and(Cond::eq("deleted", false));
    let tied = Select::from(GuestDisk::facts().table).column("disk_id", base::Kind::Text).filter(mine());
    vec![
        Select::of(GuestDisk::facts(), TIE).filter(mine()),
        Select::of(Disk::facts(), DISK).filter(Cond::in_select("id", tied)),
        Select::of(GuestNetwork::facts(), NIC).filter(mine()),
    ]
}

pub(super) async fn view(op: &Op<'_>, page: &mut Page) -> Result<()> {
    let Ok([ties, disks, nics]) = <[_; 3]>::try_from(std::mem::take(&mut page.answers)) else { return Ok(()) };
    let db = &op.engine.db;
    let (ties, nics) = (by_server(&ties, 2), by_server(&nics, 1));
    let storages = db.known(Storage::facts(), STORAGE, disks.iter().map(|d| d[5].as_str())).await?;
    let networks = db.known(Network::facts(), NETWORK, nics.values().flatten().map(|n| n[4].as_str())).await?;
    let wires = db.known(Wire::facts(), WIRE, networks.values().map(|n| n[3].as_str())).await?;
    let vpcs = db.known(Vpc::facts(), VPC, wires.values().map(|w| w[0].as_str())).await?;
    let nets = Nets { networks, wires, vpcs };
    let hosts = db.known(Host::facts(), HOST, page.rows.iter().map(|row| row.text("host_id"))).await?;
    let disks: HashMap<&str, &Cell> = disks.iter().map(|d| (d[0].as_str(), d)).collect();

    brand(page);
    let zone = |row: &Row| hosts.get(row.text("host_id")).map(|h| h[0].as_str().to_string()).unwrap_or_default();
    place(op, page, zone).await?;
    for i in 0..page.rows.len() {
        let id = page.rows[i].id().to_string();
        show_disks(page, i, ties.get(id.as_str()).map_or(&[], Vec::as_slice), &disks, &storages);
        show_nics(page, i, nics.get(id.as_str()).map_or(&[], Vec::as_slice), &nets);
        show_host(page, i, &hosts);
        for key in ["can_recycle", "is_gpu", "is_prepaid_recycle", "cdrom_support", "floppy_support"] {
            page.add(i, key, false);
        }
        for key in ["snapshotpolicy_count", "disks_snapshotpolicy_count"] {
            page.add(i, key, 0);
        }
    }
    Ok(())
}

/// Rows by the server in their first column, in the order of another.
fn by_server(rows: &[Cell], order: usize) -> HashMap<&str, Vec<&Cell>> {
    let mut out: HashMap<&str, Vec<&Cell>> = HashMap::new();
    for row in rows {
        out.entry(row[0].as_str()).or_default().push(row);
    }
    out.values_mut().for_each(|rows| rows.sort_by_key(|row| row[order].as_int()));
    out
}

/// A cell in a line of text.
fn plain(value: &Value) -> &dyn Display {
    match value {
        Value::Int(n) => n,
        Value::Text(s) => s,
        _ => &"",
    }
}

fn show_disks(page: &mut Page, i: usize, ties: &[&Cell], disks: &HashMap<&str, &Cell>, storages: &HashMap<String, Cells>) {
    let (mut text, mut sum, mut info) = (String::new(), 0, Objects::default());
    for tie in ties {
        let [_, disk, index, driver, cache, aio, boot, iops, bps] = &tie[..] else { continue };
        let Some([id, name, size, format, kind, storage, reset, status, template, template_name]) =
            disks.get(disk.as_str()).map(|d| &d[..])
        else {
            continue;
        };
        sum += size.as_int().unwrap_or(0);
        let role = if index.as_int() == Some(0) { "root" } else { kind.as_str() };
        let [index_text, size_text] = [index, size].map(plain);
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "disk{index_text}:{size_text}M/{}/{}/{}/{}/{role}",
            format.as_str(),
            driver.as_str(),
            cache.as_str(),
            aio.as_str()
        );
        info.begin();
        for (key, value) in [
            ("id", id),
            ("name", name),
            ("index", index),
            ("size", size),
            ("disk_format", format),
            ("disk_type", kind),
            ("driver", driver),
            ("cache_mode", cache),
            ("aio_mode", aio),
            ("boot_index", boot),
            ("auto_reset", reset),
            ("iops", iops),
            ("bps", bps),
            ("status", status),
        ] {
            info.cell(key, value);
        }
        // The same limit in MiB.
        info.json("throughput", bps.as_int().unwrap_or(0) >> 20);
        // No host takes a disk's room before the guest does.
        info.text("preallocation", "off");
        if let Some(cells) = storages.get(storage.as_str()) {
            info.cell("storage_id", storage);
            info.cell("storage_type", &cells[0]);
            info.cell("medium_type", &cells[1]);
        }
        if !template.as_str().is_empty() {
            info.cell("image_id", template);
            info.cell("image", template_name);
        }
    }
    page.add(i, "disk", sum);
    page.add(i, "disk_count", ties.len());
    text.truncate(text.trim_end().len());
    page.add(i, "disks", text);
    page.add_list(i, "disks_info", info);
}

/// What interfaces are plugged into.
struct Nets {
    networks: HashMap<String, Cells>,
    wires: HashMap<String, Cells>,
    vpcs: HashMap<String, Cells>,
}

impl Nets {
    /// The VPC of a network: identifier, name, how it reaches the outside.
    fn vpc(&self, network: &str) -> Option<[&str; 3]> {
        let (id, cells) = self.vpcs.get_key_value(self.wires.get(self.networks.get(network)?[3].as_str())?[0].as_str())?;
        Some([id, cells[0].as_str(), cells[1].as_str()])
    }
}

fn show_nics(page: &mut Page, i: usize, nics: &[&Cell], nets: &Nets) {
    let (mut text, mut list) = (String::new(), Objects::default());
    let (mut ips, mut macs) = (Vec::with_capacity(nics.len()), Vec::with_capacity(nics.len()));
    for nic in nics {
        let [_, index, ip, mac, network, driver, limit, ifname, default] = &nic[..] else { continue };
        let net = nets.networks.get(network.as_str());
        let (name, mask, vlan) = net.map_or(("", 0, 1), |n| (n[0].as_str(), n[1].as_int().unwrap_or(0), n[2].as_int().unwrap_or(0)));
        let [index_text, limit_text] = [index, limit].map(plain);
        let (ip_text, mac_text, driver) = (ip.as_str(), mac.as_str(), driver.as_str());
        let _ = writeln!(
            text,
            "eth{index_text}:{ip_text}/{mask}/{mac_text}/{vlan}/{name}/{driver}/{limit_text}/rx{limit_text}/tx{limit_text}/0"
        );
        list.begin();
        for (key, value) in
            [("index", index), ("ip_addr", ip), ("mac", mac), ("network_id", network), ("ifname", ifname), ("is_default", default)]
        {
            list.cell(key, value);
        }
        list.text("network", name);
        list.json("is_exit", ip_text.parse().is_ok_and(|ip: Ipv4Addr| !ip.is_private()));
        list.cell("bw_limit_mbps", limit);
        list.text("vpc_id", nets.vpc(network.as_str()).map_or("", |[id, ..]| id));
        ips.push(ip_text);
        macs.push(mac_text);
    }
    page.add(i, "ips", ips.join(","));
    page.add(i, "macs", macs.join(","));
    page.add(i, "networks", text);
    if let Some([id, name, mode]) = nics.first().and_then(|nic| nets.vpc(nic[4].as_str())) {
        page.add(i, "vpc", name);
        page.add(i, "vpc_id", id);
        page.add(i, "vpc_external_access_mode", mode);
    }
    page.add_list(i, "nics", list);
}

/// Names the host only to those who may see hosts' details.
fn show_host(page: &mut Page, i: usize, hosts: &HashMap<String, Cells>) {
    let host = hosts.get(page.rows[i].text("host_id"));
    page.add(i, "host_enabled", host.is_some_and(|h| h[1].as_bool() == Some(true)));
    let Some(host) = host.filter(|_| page.rights >= Scope::Domain) else { return };
    for (key, value) in HOST_SHOWN.into_iter().zip(&host[2..]) {
        page.add(i, key, value.as_str());
    }
}
