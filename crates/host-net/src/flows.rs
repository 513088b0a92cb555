//! The flows of a bridge: from plan to text, and the difference between two sets. Pure; `ovs::ofctl` applies them.
//!
//! One table, larger priority first:
//!
//! | priority | who | what |
//! |---|---|---|
//! | 700 | NIC ↔ service port | DHCP and metadata, rewritten to and from the NIC's *alias* |
//! | 690 | NIC | what else is addressed to the metadata service is dropped |
//! | 680 | NIC | answers of a DHCP server in a guest are dropped |
//! | 600 | NIC | frames with the NIC's own addresses: learning switch |
//! | 500 | NIC | everything else is dropped |
//! | 100 | service port | everything else is dropped |
//! | 1 | any, on our own bridge | learning switch |
//!
//! The alias is an address of a reserved range that says which port a frame came from. The host sees guests only under their aliases: two
//! networks may use the same addresses, the sender is known without trusting what it claims, and the host's own routes play no part.

use crate::plan::{Bridge, METADATA, Nic, mac_text};
use netlink::Mac;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

/// Address of the host on every service port. Both it and the aliases lie in 240.0.0.0/4, which nobody routes (RFC 1112 §4).
pub(crate) const SERVICE: Ipv4Addr = Ipv4Addr::new(240, 1, 0, 1);
/// Covers `SERVICE` and all aliases.
pub(crate) const SERVICE_PREFIX: u8 = 15;
/// First of the aliases.
pub(crate) const ALIASES: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 0);
pub(crate) const ALIAS_PREFIX: u8 = 16;
/// A DHCP reply sent to this port of an alias reaches the guest's client port as an IP broadcast.
pub(crate) const BROADCAST_PORT: u16 = 1068;
/// Where the aliases seem to live; only frames between host and bridge carry it.
const ALIAS_MAC: Mac = [0x0e, 0x57, 0, 0, 0, 1];
/// Table of the mark that says which set of flows a bridge has. No packet gets there.
const MARK_TABLE: u8 = 253;

/// The address the host sees a port's guest under.
pub(crate) fn alias(port: u16) -> Ipv4Addr {
    let [a, b, ..] = ALIASES.octets();
    let [c, d] = port.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// The port an alias stands for.
pub(crate) fn alias_port(ip: Ipv4Addr) -> Option<u16> {
    let [a, b, c, d] = ip.octets();
    ([a, b] == ALIASES.octets()[..2]).then(|| u16::from_be_bytes([c, d]))
}

/// One flow. Two with equal table, priority and match are the same flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub table: u8,
    pub priority: u16,
    pub matches: String,
    pub actions: String,
}

impl Flow {
    fn key(&self) -> (u8, u16, &str) {
        (self.table, self.priority, &self.matches)
    }

    /// The match as `ovs-ofctl` wants it.
    fn selector(&self) -> String {
        let comma = if self.matches.is_empty() { "" } else { "," };
        format!("table={},priority={}{comma}{}", self.table, self.priority, self.matches)
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},actions={}", self.selector(), self.actions)
    }
}

/// OpenFlow port numbers by port name, of ports that are on the bridge now.
pub(crate) type Ports = BTreeMap<String, u16>;

/// All that a bridge should do with packets of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Sorted.
    pub flows: Vec<Flow>,
    /// Mbit/s a guest may send, by its port, which is also the number of the meter.
    pub meters: BTreeMap<u16, u32>,
}

impl Layout {
    pub fn new(bridge: &Bridge, ports: &Ports, own_taps: &BTreeSet<String>) -> Layout {
        let metered = |nic: &Nic| Some((*ports.get(&nic.tap)?, nic.limit?));
        Layout { flows: flows(bridge, ports, own_taps), meters: bridge.nics.values().filter_map(metered).collect() }
    }

    /// The mark under which a bridge tells what of ours it has: owner in the upper half of the cookie, content in the lower.
    pub fn mark(&self, owner: u32) -> u64 {
        let text: Vec<String> = self.flows.iter().map(Flow::to_string).chain([format!("{:?}", self.meters)]).collect();
        let text: Vec<&str> = text.iter().map(String::as_str).collect();
        u64::from(owner) << 32 | u64::from(crate::config::hash32(&text))
    }
}

/// All flows of a bridge, sorted. `own_taps` are our taps on it, also those the plan does not know (any more): they carry nothing.
fn flows(bridge: &Bridge, ports: &Ports, own_taps: &BTreeSet<String>) -> Vec<Flow> {
    let mut out = Set::default();
    if bridge.own {
        // Other bridges have their operator's flows for what is not ours.
        out.add(1, "", "NORMAL");
    }
    let service = ports.get(&bridge.service.port).copied();
    if let Some(port) = service {
        out.add(100, &format!("in_port={port}"), "drop");
        out.add(700, &format!("in_port={port},arp,arp_op=1"), &arp_answer_any(ALIAS_MAC));
    }
    for tap in own_taps.iter().filter(|t| !bridge.nics.contains_key(*t)) {
        if let Some(port) = ports.get(tap) {
            out.add(500, &format!("in_port={port}"), "drop");
        }
    }
    for nic in bridge.nics.values() {
        let Some(port) = ports.get(&nic.tap).copied() else { continue };
        nic_flows(&mut out, nic, port);
        if let (Some(service), Some(address), Some(binding)) = (service, nic.address, &nic.binding) {
            service_flows(&mut out, nic, port, address, binding.server_id, service, bridge.service.mac);
        }
    }
    out.0.sort();
    out.0
}

#[derive(Default)]
struct Set(Vec<Flow>);

impl Set {
    fn add(&mut self, priority: u16, matches: &str, actions: &str) {
        self.0.push(Flow { table: 0, priority, matches: matches.into(), actions: actions.into() });
    }
}

/// What may enter the switch from a guest.
fn nic_flows(out: &mut Set, nic: &Nic, port: u16) {
    let from = format!("in_port={port}");
    let mac = mac_text(nic.mac);
    let pass = if nic.limit.is_some() { format!("meter:{port},NORMAL") } else { "NORMAL".to_string() };
    out.add(500, &from, "drop");
    out.add(690, &format!("{from},ip,nw_dst={METADATA}"), "drop");
    out.add(690, &format!("{from},arp,arp_tpa={METADATA}"), "drop");
    if nic.ip_check {
        out.add(680, &format!("{from},udp,tp_src=67,tp_dst=68"), "drop");
        if let Some(ip) = nic.address {
            out.add(600, &format!("{from},dl_src={mac},ip,nw_src={ip}"), &pass);
            out.add(600, &format!("{from},dl_src={mac},arp,arp_sha={mac},arp_spa={ip}"), &pass);
            // Asking whether its own address is taken, before using it (RFC 5227).
            out.add(600, &format!("{from},dl_src={mac},arp,arp_op=1,arp_sha={mac},arp_spa=0.0.0.0,arp_tpa={ip}"), &pass);
        }
    } else if nic.mac_check {
        out.add(600, &format!("{from},dl_src={mac}"), &pass);
        out.add(610, &format!("{from},dl_src={mac},arp,arp_sha={mac}"), &pass);
        out.add(605, &format!("{from},arp"), "drop");
    } else {
        out.add(600, &from, &pass);
    }
}

/// DHCP and metadata between a guest and the host.
fn service_flows(out: &mut Set, nic: &Nic, port: u16, ip: Ipv4Addr, server: Ipv4Addr, service: u16, service_mac: Mac) {
    let (mac, alias) = (mac_text(nic.mac), alias(port));
    let from = format!("in_port={port},dl_src={mac}");
    let to_host = format!("mod_dl_dst:{},mod_nw_src:{alias},mod_nw_dst:{SERVICE},output:{service}", mac_text(service_mac));
    out.add(700, &format!("{from},udp,tp_src=68,tp_dst=67"), &to_host);
    out.add(700, &format!("{from},tcp,nw_src={ip},nw_dst={METADATA},tp_dst=80"), &to_host);
    out.add(700, &format!("{from},arp,arp_op=1,arp_tpa={METADATA}"), &arp_answer(METADATA, service_mac));
    // A client renewing its lease looks for the server it has it from.
    out.add(700, &format!("{from},arp,arp_op=1,arp_tpa={server}"), &arp_answer(server, service_mac));

    let to = format!("in_port={service}");
    let to_guest = |src: Ipv4Addr, dst: Ipv4Addr| format!("mod_dl_dst:{mac},mod_nw_src:{src},mod_nw_dst:{dst}");
    out.add(700, &format!("{to},udp,nw_dst={alias},tp_src=67,tp_dst=68"), &format!("{},output:{port}", to_guest(server, ip)));
    let broadcast = format!("{},mod_tp_dst:68,output:{port}", to_guest(server, Ipv4Addr::BROADCAST));
    out.add(700, &format!("{to},udp,nw_dst={alias},tp_src=67,tp_dst={BROADCAST_PORT}"), &broadcast);
    out.add(700, &format!("{to},tcp,nw_dst={alias},tp_src=80"), &format!("{},output:{port}", to_guest(METADATA, ip)));
}

/// Turns an ARP request for `ip` into its answer and sends it back.
fn arp_answer(ip: Ipv4Addr, mac: Mac) -> String {
    format!("move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],load:0x{:08x}->NXM_OF_ARP_SPA[],{}", u32::from(ip), arp_turn(mac))
}

/// The same for whatever address was asked for.
fn arp_answer_any(mac: Mac) -> String {
    let swap = "push:NXM_OF_ARP_SPA[],push:NXM_OF_ARP_TPA[],pop:NXM_OF_ARP_SPA[],pop:NXM_OF_ARP_TPA[]";
    format!("{swap},{}", arp_turn(mac))
}

fn arp_turn(mac: Mac) -> String {
    let number = mac.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    format!(
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:{},load:0x2->NXM_OF_ARP_OP[],\
         move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],load:0x{number:012x}->NXM_NX_ARP_SHA[],IN_PORT",
        mac_text(mac)
    )
}

/// Cookie and mask of all flows of an owner.
pub(crate) fn owned(owner: u32) -> String {
    format!("cookie=0x{:x}/0xffffffff00000000", u64::from(owner) << 32)
}

/// A bundle that makes our flows those of `new`. With `old`, which the bridge must hold exactly, only differences are touched. Empty when
/// there is nothing to do.
pub(crate) fn bundle(owner: u32, old: Option<&Layout>, new: &Layout) -> Vec<String> {
    if old == Some(new) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut known = BTreeMap::new();
    match old {
        None => lines.push(format!("delete {}", owned(owner))),
        Some(old) => {
            let kept: BTreeSet<_> = new.flows.iter().map(Flow::key).collect();
            lines.extend(old.flows.iter().filter(|f| !kept.contains(&f.key())).map(|f| format!("delete_strict {}", f.selector())));
            known = old.flows.iter().map(|f| (f.key(), f)).collect();
        }
    }
    let cookie = u64::from(owner) << 32;
    // Adding a flow whose match is there replaces it.
    let changed = new.flows.iter().filter(|f| known.get(&f.key()) != Some(f));
    lines.extend(changed.map(|f| format!("add cookie=0x{cookie:x},{f}")));
    lines.push(format!("add cookie=0x{:x},table={MARK_TABLE},priority=1,metadata=0x{owner:x},actions=drop", new.mark(owner)));
    lines
}

#[cfg(test)]
#[path = "flows_tests.rs"]
pub(crate) mod tests;
