//! From the document to what this host should have: bridges, ports, gateways, bindings. Pure.
//!
//! One wrong network or NIC does not take the others with it: it becomes a problem in the plan, everything else is carried out.

use crate::config::Config;
use api_agent::{Existence, GuestNic, GuestSpec, NetworkSpec};
use base::{Error, Result, err};
use ipnet::Ipv4Net;
use netlink::Mac;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Where guests find the metadata service.
pub(crate) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The networks and guests this host serves now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Document {
    pub networks: BTreeMap<String, Arc<NetworkSpec>>,
    pub guests: BTreeMap<String, Arc<GuestSpec>>,
}

impl Document {
    pub fn new(networks: &[NetworkSpec], guests: &[GuestSpec]) -> Document {
        Document {
            networks: networks.iter().map(|n| (n.id.clone(), Arc::new(n.clone()))).collect(),
            guests: guests.iter().filter(|g| g.existence == Existence::Present).map(|g| (g.id.clone(), Arc::new(g.clone()))).collect(),
        }
    }

    /// Takes up what plugging one NIC tells, which may be newer than the document last applied.
    pub fn learn(&mut self, nic: &GuestNic, network: &NetworkSpec, guest: &GuestSpec) {
        let mut guest = guest.clone();
        if !guest.nics.contains(nic) {
            guest.nics.retain(|n| n.ifname != nic.ifname && n.mac != nic.mac);
            guest.nics.push(nic.clone());
        }
        self.networks.insert(network.id.clone(), Arc::new(network.clone()));
        self.guests.insert(guest.id.clone(), Arc::new(guest));
    }
}

#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub bridges: BTreeMap<String, Bridge>,
    pub problems: Vec<Error>,
}

#[derive(Debug)]
pub(crate) struct Bridge {
    pub name: String,
    /// Made by us. Of other bridges only our ports and flows are ours.
    pub own: bool,
    pub service: Service,
    /// By port name.
    pub gateways: BTreeMap<String, Gateway>,
    /// By tap name.
    pub nics: BTreeMap<String, Nic>,
}

/// The port through which guests of a bridge reach DHCP and metadata.
#[derive(Debug)]
pub(crate) struct Service {
    pub port: String,
    pub mac: Mac,
}

/// The port that holds a network's gateway address, for networks this host translates.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub port: String,
    pub mac: Mac,
    pub address: Ipv4Addr,
    pub subnet: Ipv4Net,
    pub vlan: Option<u16>,
    pub mtu: u16,
    /// Guests are told to ask the gateway for names.
    pub resolves: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Nic {
    pub tap: String,
    pub mac: Mac,
    pub address: Option<Ipv4Addr>,
    pub vlan: Option<u16>,
    pub mtu: u16,
    pub mac_check: bool,
    /// Implies `mac_check`.
    pub ip_check: bool,
    /// Mbit/s in each direction; none is unlimited.
    pub limit: Option<u32>,
    /// None without an address.
    pub binding: Option<dhcp::Binding>,
    pub guest: Arc<GuestSpec>,
}

/// Mbit/s; faster than any port, so more is no limit.
const MAX_LIMIT: u32 = 100_000;
/// Bytes a network without an MTU of its own gets.
const DEFAULT_MTU: u16 = 1500;

impl Plan {
    pub fn new(config: &Config, document: &Document) -> Plan {
        let mut plan = Plan::default();
        plan.bridge(config, &config.bridge);
        for network in document.networks.values() {
            if let Err(e) = plan.network(config, network) {
                plan.problems.push(e.with_context(format!("network {}", network.id)));
            }
        }
        for guest in document.guests.values() {
            for nic in &guest.nics {
                if let Err(e) = plan.nic(config, document, guest, nic) {
                    plan.problems.push(e.with_context(format!("NIC {} of guest {}", nic.index, guest.id)));
                }
            }
        }
        plan
    }

    pub fn nics(&self) -> impl Iterator<Item = (&Bridge, &Nic)> {
        self.bridges.values().flat_map(|b| b.nics.values().map(move |n| (b, n)))
    }

    pub fn gateways(&self) -> impl Iterator<Item = &Gateway> {
        self.bridges.values().flat_map(|b| b.gateways.values())
    }

    fn bridge(&mut self, config: &Config, name: &str) -> &mut Bridge {
        self.bridges.entry(name.to_string()).or_insert_with(|| {
            let port = config.service_port(name);
            Bridge {
                name: name.to_string(),
                own: name == config.bridge,
                service: Service { mac: config.mac(&port), port },
                gateways: BTreeMap::new(),
                nics: BTreeMap::new(),
            }
        })
    }

    fn network(&mut self, config: &Config, network: &NetworkSpec) -> Result<()> {
        let bridge = bridge_of(config, network)?;
        let (subnet, vlan, mtu) = (subnet(network)?, vlan(network)?, mtu(network)?);
        if network.nat {
            let Some(address) = gateway(network, subnet)? else {
                return Err(err!(InputParameter, "network {} translates addresses and so needs a gateway address", network.name));
            };
            let port = config.gateway_port(&network.id);
            let resolves = network.dns.iter().any(|d| d.parse() == Ok(address));
            let gateway = Gateway { mac: config.mac(&port), port: port.clone(), address, subnet, vlan, mtu, resolves };
            self.bridge(config, &bridge).gateways.insert(port, gateway);
        } else {
            self.bridge(config, &bridge);
        }
        Ok(())
    }

    fn nic(&mut self, config: &Config, document: &Document, guest: &Arc<GuestSpec>, nic: &GuestNic) -> Result<()> {
        let Some(network) = document.networks.get(&nic.network_id) else {
            return Err(err!(InputParameter, "network {} of a NIC of {} is not in the document", nic.network_id, guest.name));
        };
        let tap = config.tap_name(&nic.ifname)?;
        let bridge = bridge_of(config, network)?;
        let subnet = subnet(network)?;
        let mac = mac(&nic.mac)?;
        let address = match nic.ip_addr.as_str() {
            "" => None,
            text => {
                let ip = address("address of a NIC", text)?;
                if !subnet.contains(&ip) {
                    return Err(err!(InputParameter, "address {} of a NIC of {} is not in {}", ip, guest.name, subnet));
                }
                Some(ip)
            }
        };
        let ip_check = nic.src_ip_check && nic.src_mac_check;
        let binding = match address {
            Some(address) => Some(binding(document, guest, nic, network, subnet, mac, address)?),
            None => None,
        };
        let planned = Nic {
            tap: tap.clone(),
            mac,
            address,
            vlan: vlan(network)?,
            mtu: mtu(network)?,
            mac_check: nic.src_mac_check,
            ip_check,
            limit: u32::try_from(nic.bw_limit).ok().filter(|mbit| (1..=MAX_LIMIT).contains(mbit)),
            binding,
            guest: guest.clone(),
        };
        if self.nics().any(|(_, n)| n.tap == tap) {
            return Err(err!(Conflict, "two NICs of the document have the device name {}", nic.ifname));
        }
        self.bridge(config, &bridge).nics.insert(tap, planned);
        Ok(())
    }
}

fn bridge_of(config: &Config, network: &NetworkSpec) -> Result<String> {
    if network.bridge.is_empty() {
        return Ok(config.bridge.clone());
    }
    crate::config::device_name(&network.bridge)?;
    Ok(network.bridge.clone())
}

fn subnet(network: &NetworkSpec) -> Result<Ipv4Net> {
    match network.cidr.parse::<Ipv4Net>() {
        Ok(net) => Ok(net.trunc()),
        Err(_) => Err(err!(InputParameter, "subnet {} of network {} is not of the form 10.0.0.0/24", network.cidr, network.name)),
    }
}

fn vlan(network: &NetworkSpec) -> Result<Option<u16>> {
    match network.vlan_id {
        // 1 means untagged, as users of the platform know it.
        0 | 1 => Ok(None),
        // 4095 is reserved, and ours inside the bridge.
        2..=4094 => Ok(Some(network.vlan_id as u16)),
        other => Err(err!(InputParameter, "VLAN {} of network {} must be between 0 and 4094", other, network.name)),
    }
}

fn mtu(network: &NetworkSpec) -> Result<u16> {
    match network.mtu {
        0 => Ok(DEFAULT_MTU),
        68..=65000 => Ok(network.mtu as u16),
        other => Err(err!(InputParameter, "MTU {} of network {} must be between 68 and 65000, or 0", other, network.name)),
    }
}

fn gateway(network: &NetworkSpec, subnet: Ipv4Net) -> Result<Option<Ipv4Addr>> {
    if network.gateway.is_empty() {
        return Ok(None);
    }
    let ip = address("gateway", &network.gateway)?;
    if !subnet.contains(&ip) {
        return Err(err!(InputParameter, "gateway {} of network {} is not in {}", ip, network.name, subnet));
    }
    Ok(Some(ip))
}

fn address(what: &str, text: &str) -> Result<Ipv4Addr> {
    text.parse().map_err(|_| err!(InputParameter, "{} {} is not an IPv4 address", what, text))
}

pub(crate) fn mac(text: &str) -> Result<Mac> {
    let wrong = || err!(InputParameter, "hardware address {} is not of the form 00:22:0a:00:01:05", text);
    let mut mac = Mac::default();
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|p| p.len() == 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
    }
    // The lowest bit of the first byte marks a group of stations, which is never one station's address.
    if parts.next().is_some() || mac[0] & 1 != 0 || mac == Mac::default() {
        return Err(wrong());
    }
    Ok(mac)
}

pub(crate) fn mac_text(mac: Mac) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

/// What DHCP tells this NIC (spec 32 §2.4, §2.5).
fn binding(
    document: &Document,
    guest: &GuestSpec,
    nic: &GuestNic,
    network: &NetworkSpec,
    subnet: Ipv4Net,
    mac: Mac,
    address: Ipv4Addr,
) -> Result<dhcp::Binding> {
    let gateway = gateway(network, subnet)?;
    let main = main_nic(document, guest).is_some_and(|m| m.index == nic.index && m.mac == nic.mac);
    // Families other than IPv4 and names are for other protocols.
    let v4 = |list: &[String]| list.iter().filter_map(|ip| ip.parse().ok()).collect();
    let mut routes = routes(document, guest, nic, network, gateway, main, address);
    if main {
        routes.push(dhcp::Route { destination: METADATA, prefix_len: 32, via: Ipv4Addr::UNSPECIFIED });
    }
    let name = if guest.meta.hostname.is_empty() { &guest.name } else { &guest.meta.hostname };
    Ok(dhcp::Binding {
        mac,
        address,
        prefix_len: subnet.prefix_len(),
        // The same on every host: a lease must survive the guest's move. The smallest subnets have no address to spare.
        server_id: if subnet.prefix_len() < 31 { subnet.network() } else { METADATA },
        gateway: gateway.filter(|_| main),
        dns: v4(&network.dns),
        ntp: v4(&network.ntp),
        domain: if legal_domain(&network.domain) { network.domain.to_ascii_lowercase() } else { String::new() },
        host_name: host_name(name),
        mtu: mtu(network)?,
        routes,
        lease_secs: network.lease_secs,
    })
}

/// The NIC that supplies the default route: the flagged one, else the first with an address and a gateway.
fn main_nic<'a>(document: &Document, guest: &'a GuestSpec) -> Option<&'a GuestNic> {
    let routed = |n: &&GuestNic| !n.ip_addr.is_empty() && document.networks.get(&n.network_id).is_some_and(|net| !net.gateway.is_empty());
    guest.nics.iter().find(|n| n.is_default).or_else(|| guest.nics.iter().find(routed))
}

fn routes(
    document: &Document,
    guest: &GuestSpec,
    nic: &GuestNic,
    network: &NetworkSpec,
    gateway: Option<Ipv4Addr>,
    main: bool,
    own: Ipv4Addr,
) -> Vec<dhcp::Route> {
    let route = |net: Ipv4Net, via| dhcp::Route { destination: net.network(), prefix_len: net.prefix_len(), via };
    if !network.routes.is_empty() {
        let parsed = network.routes.iter().filter_map(|(net, via)| Some((net.parse::<Ipv4Net>().ok()?.trunc(), via.parse().ok()?)));
        return parsed
            .filter(|(net, via)| *via != own && net.prefix_len() > 0 && *net != Ipv4Net::from(METADATA))
            .map(|(net, via)| route(net, via))
            .collect();
    }
    // A private leg beside a public main one: everything private goes through the private leg.
    let other_is_public = |n: &GuestNic| n.ip_addr.parse().is_ok_and(|ip: Ipv4Addr| !is_private(ip));
    let public_main = main_nic(document, guest).is_some_and(other_is_public);
    match gateway {
        Some(via) if guest.nics.len() == 2 && !main && is_private(own) && public_main && !nic.ip_addr.is_empty() => {
            PRIVATE.iter().map(|(ip, len)| dhcp::Route { destination: *ip, prefix_len: *len, via }).collect()
        }
        _ => Vec::new(),
    }
}

/// Ranges that never lead outside (spec 30 §3.7).
const PRIVATE: [(Ipv4Addr, u8); 6] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
];

pub(crate) fn is_private(ip: Ipv4Addr) -> bool {
    let within = |(net, len): &(Ipv4Addr, u8)| Ipv4Net::new(*net, *len).is_ok_and(|n| n.contains(&ip));
    ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || PRIVATE.iter().any(within)
}

/// A guest's name as a host name: lower case, nothing but letters, digits, hyphens and dots.
fn host_name(name: &str) -> String {
    let plain: String = name.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '.').take(63).collect();
    plain.trim_matches(['-', '.']).to_string()
}

fn legal_domain(domain: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    domain.len() <= 253 && !domain.is_empty() && domain.split('.').all(label)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub(crate) mod tests;
