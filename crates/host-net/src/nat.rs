//! Address translation and the guard around the host's own ports, in a table of our own.
//!
//! Decided once ([`Rules`]), printed for nft, or for iptables where nft is missing. The table is replaced whole in one transaction and only
//! when it is not the one wanted; nobody else's rules are touched.

use crate::config::{Config, hash32};
use crate::flows::{ALIAS_PREFIX, ALIASES, SERVICE, SERVICE_PREFIX};
use crate::plan::Plan;
use crate::run::{exists, run, succeeds};
use base::Result;
use ipnet::Ipv4Net;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// What the kernel should do with packets of and to guests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Frames on these are the switch's business. With a userspace datapath the kernel sees them too and must not answer.
    pub taps: BTreeSet<String>,
    /// DHCP and metadata only.
    pub services: BTreeSet<String>,
    pub gateways: Vec<Translated>,
}

/// A network guests leave under the host's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Translated {
    pub port: String,
    pub address: Ipv4Addr,
    pub subnet: Ipv4Net,
    /// The host answers name queries at the gateway address.
    pub resolves: bool,
}

impl Rules {
    pub fn new(plan: &Plan, taps: &BTreeSet<String>) -> Rules {
        Rules {
            taps: taps.clone(),
            services: plan.bridges.values().map(|b| b.service.port.clone()).collect(),
            gateways: plan
                .gateways()
                .map(|g| Translated { port: g.port.clone(), address: g.address, subnet: g.subnet, resolves: g.resolves })
                .collect(),
        }
    }

    /// Names the content: a chain of this name in the table says the table is this one.
    fn mark(&self) -> String {
        format!("is_{:08x}", hash32(&[&format!("{self:?}")]))
    }

    /// The whole table as one nft transaction.
    fn nft(&self, table: &str) -> Value {
        let base = json!({"family": "ip", "name": table});
        // Adding what is there is no error, so that deleting it is none either.
        let mut all = vec![json!({"add": {"table": base}}), json!({"delete": {"table": base}}), json!({"add": {"table": base}})];
        let set = |name: &str, members: Vec<&String>| {
            let mut set = json!({"family": "ip", "table": table, "name": name, "type": "ifname"});
            if !members.is_empty() {
                set["elem"] = json!(members);
            }
            json!({"add": {"set": set}})
        };
        all.push(set("taps", self.taps.iter().collect()));
        all.push(set("services", self.services.iter().collect()));
        all.push(set("gateways", self.gateways.iter().map(|g| &g.port).collect()));
        let chain = |name: &str, kind: &str, hook: &str, priority: i32| json!({"add": {"chain": {"family": "ip", "table": table, "name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}}});
        all.push(chain("arriving", "filter", "prerouting", -300));
        all.push(chain("input", "filter", "input", 0));
        all.push(chain("forward", "filter", "forward", 0));
        all.push(chain("leaving", "nat", "postrouting", 100));
        all.push(json!({"add": {"chain": {"family": "ip", "table": table, "name": self.mark()}}}));

        let is = |op: &str, left: Value, right: Value| json!({"match": {"op": op, "left": left, "right": right}});
        let iif = |op: &str, right: &str| is(op, json!({"meta": {"key": "iifname"}}), json!(right));
        let oif = |op: &str, right: &str| is(op, json!({"meta": {"key": "oifname"}}), json!(right));
        let ip = |field: &str, op: &str, right: Value| is(op, json!({"payload": {"protocol": "ip", "field": field}}), right);
        let dport = |protocol: &str, right: Value| is("==", json!({"payload": {"protocol": protocol, "field": "dport"}}), right);
        let proto = |right: Value| is("==", json!({"meta": {"key": "l4proto"}}), right);
        let state = |right: Value| is("in", json!({"ct": {"key": "state"}}), right);
        let (accept, drop) = (json!({"accept": null}), json!({"drop": null}));
        let mut rule = |chain: &str, expr: Vec<Value>| {
            all.push(json!({"add": {"rule": {"family": "ip", "table": table, "chain": chain, "expr": expr}}}));
        };
        rule("arriving", vec![iif("==", "@taps"), drop.clone()]);
        rule("arriving", vec![iif("==", "@services"), ip("daddr", "!=", json!(SERVICE.to_string())), drop.clone()]);
        // The service address is for aliases on service ports, here and on those of another platform, not for whoever routes to it.
        let reserved = |ip: Ipv4Addr, len: u8| json!({"prefix": {"addr": ip.to_string(), "len": len}});
        let serviced = || ip("daddr", "==", reserved(ALIASES, SERVICE_PREFIX));
        rule("arriving", vec![iif("==", "@gateways"), serviced(), drop.clone()]);
        rule("arriving", vec![ip("saddr", "!=", reserved(ALIASES, ALIAS_PREFIX)), serviced(), drop.clone()]);
        rule("input", vec![iif("==", "@services"), dport("udp", json!(dhcp::SERVER_PORT)), accept.clone()]);
        rule("input", vec![iif("==", "@services"), dport("tcp", json!(80)), accept.clone()]);
        rule("input", vec![iif("==", "@services"), drop.clone()]);
        for gateway in &self.gateways {
            let to = || vec![iif("==", &gateway.port), ip("daddr", "==", json!(gateway.address.to_string()))];
            let with = |expr: Value| [to(), vec![expr, accept.clone()]].concat();
            rule("input", with(state(json!(["established", "related"]))));
            rule("input", with(proto(json!("icmp"))));
            if gateway.resolves {
                rule("input", with(dport("udp", json!(53))));
                rule("input", with(dport("tcp", json!(53))));
            }
            rule("input", [to(), vec![drop.clone()]].concat());
        }
        rule("forward", vec![oif("==", "@services"), drop.clone()]);
        // From outside only answers, and what was redirected on purpose.
        let inward = |expr: Value| vec![oif("==", "@gateways"), expr, accept.clone()];
        rule("forward", inward(iif("==", "@gateways")));
        rule("forward", inward(state(json!(["established", "related"]))));
        rule("forward", inward(is("in", json!({"ct": {"key": "status"}}), json!("dnat"))));
        rule("forward", vec![oif("==", "@gateways"), drop]);
        for gateway in &self.gateways {
            let subnet = json!({"prefix": {"addr": gateway.subnet.network().to_string(), "len": gateway.subnet.prefix_len()}});
            rule("leaving", vec![ip("saddr", "==", subnet), oif("!=", "@gateways"), json!({"masquerade": null})]);
        }
        json!({"nftables": all})
    }

    /// The same for `iptables-restore --noflush`: chains of our own, emptied and filled in one transaction per table.
    fn iptables(&self, chain: &str) -> String {
        let mut raw = String::new();
        let mut filter = String::new();
        let mut nat = String::new();
        // Writing to a string cannot fail.
        let rule = |table: &mut String, text: String| writeln!(table, "-A {chain}{text}").unwrap_or_default();
        for tap in &self.taps {
            rule(&mut raw, format!("pre -i {tap} -j DROP"));
        }
        for port in &self.services {
            rule(&mut raw, format!("pre -i {port} ! -d {SERVICE} -j DROP"));
            rule(&mut filter, format!("in -i {port} -p udp --dport {} -j ACCEPT", dhcp::SERVER_PORT));
            rule(&mut filter, format!("in -i {port} -p tcp --dport 80 -j ACCEPT"));
            rule(&mut filter, format!("in -i {port} -j DROP"));
            rule(&mut filter, format!("fwd -o {port} -j DROP"));
        }
        for gateway in &self.gateways {
            rule(&mut raw, format!("pre -i {} -d {ALIASES}/{SERVICE_PREFIX} -j DROP", gateway.port));
            let to = format!("in -i {} -d {}", gateway.port, gateway.address);
            rule(&mut filter, format!("{to} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"));
            rule(&mut filter, format!("{to} -p icmp -j ACCEPT"));
            for protocol in if gateway.resolves { ["udp", "tcp"].as_slice() } else { &[] } {
                rule(&mut filter, format!("{to} -p {protocol} --dport 53 -j ACCEPT"));
            }
            rule(&mut filter, format!("{to} -j DROP"));
            for other in &self.gateways {
                rule(&mut filter, format!("fwd -i {} -o {} -j ACCEPT", other.port, gateway.port));
                // Between guests nothing is translated.
                rule(&mut nat, format!("post -s {} -o {} -j RETURN", gateway.subnet, other.port));
            }
            rule(&mut filter, format!("fwd -o {} -m conntrack --ctstate ESTABLISHED,RELATED,DNAT -j ACCEPT", gateway.port));
            rule(&mut filter, format!("fwd -o {} -j DROP", gateway.port));
            rule(&mut nat, format!("post -s {} -j MASQUERADE", gateway.subnet));
        }
        rule(&mut raw, format!("pre ! -s {ALIASES}/{ALIAS_PREFIX} -d {ALIASES}/{SERVICE_PREFIX} -j DROP"));
        let mark = self.mark();
        format!(
            "*raw\n:{chain}pre - [0:0]\n{raw}COMMIT\n\
             *filter\n:{chain}in - [0:0]\n:{chain}fwd - [0:0]\n{filter}-A {chain}fwd -m comment --comment {mark}\nCOMMIT\n\
             *nat\n:{chain}post - [0:0]\n{nat}COMMIT\n"
        )
    }
}

/// Table, our chain's end, and the built-in chain that leads to it.
const HOOKS: [(&str, &str, &str); 4] =
    [("raw", "pre", "PREROUTING"), ("filter", "in", "INPUT"), ("filter", "fwd", "FORWARD"), ("nat", "post", "POSTROUTING")];

/// The packet filter of this host under one name.
pub(crate) struct Filter {
    name: String,
}

impl Filter {
    pub fn new(config: &Config) -> Filter {
        // 17 bytes with the longest end: iptables takes 28.
        Filter { name: format!("wolke_{}", config.owner_text()) }
    }

    /// Makes the kernel do what the rules say, if it does not already.
    pub async fn ensure(&self, rules: &Rules) -> Result<()> {
        if exists("nft") {
            if succeeds("nft", &["-j", "list", "chain", "ip", &self.name, &rules.mark()]).await? {
                return Ok(());
            }
            tracing::debug!(table = self.name, "replacing our nft table");
            return run("nft", &["-j", "-f", "-"], &rules.nft(&self.name).to_string()).await.map(drop);
        }
        let chain = self.chain();
        let mark = ["-w", "-t", "filter", "-C", &format!("{chain}fwd"), "-m", "comment", "--comment", &rules.mark()];
        if !succeeds("iptables", &mark).await? {
            run("iptables-restore", &["-w", "--noflush"], &rules.iptables(&chain)).await?;
        }
        for (table, end, hook) in HOOKS {
            let chain = format!("{chain}{end}");
            if !succeeds("iptables", &["-w", "-t", table, "-C", hook, "-j", &chain]).await? {
                run("iptables", &["-w", "-t", table, "-I", hook, "-j", &chain], "").await?;
            }
        }
        Ok(())
    }

    /// Removes all that is ours.
    pub async fn remove(&self) -> Result<()> {
        if exists("nft") {
            let table = json!({"family": "ip", "name": self.name});
            let gone = json!({"nftables": [{"add": {"table": table}}, {"delete": {"table": table}}]});
            return run("nft", &["-j", "-f", "-"], &gone.to_string()).await.map(drop);
        }
        for (table, end, hook) in HOOKS {
            let chain = format!("{}{end}", self.chain());
            // Each fails when the one before a crash succeeded; what counts is the last.
            succeeds("iptables", &["-w", "-t", table, "-D", hook, "-j", &chain]).await?;
            succeeds("iptables", &["-w", "-t", table, "-F", &chain]).await?;
            succeeds("iptables", &["-w", "-t", table, "-X", &chain]).await?;
        }
        Ok(())
    }

    fn chain(&self) -> String {
        format!("{}_", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let gateway = |port: &str, address: [u8; 4], subnet: &str, resolves| Translated {
            port: port.into(),
            address: address.into(),
            subnet: subnet.parse().unwrap(),
            resolves,
        };
        Rules {
            taps: ["tap1".to_string(), "tap2".to_string()].into(),
            services: ["wks1".to_string()].into(),
            gateways: vec![gateway("wkg1", [10, 0, 1, 1], "10.0.1.0/24", false), gateway("wkg2", [10, 0, 2, 1], "10.0.2.0/24", true)],
        }
    }

    #[test]
    fn golden_files() {
        let nft = serde_json::to_string_pretty(&rules().nft("wolke_t")).unwrap() + "\n";
        crate::flows::tests::golden("nat.nft.json", &nft);
        crate::flows::tests::golden("nat.iptables", &rules().iptables("wolke_t_"));
        let empty = serde_json::to_string_pretty(&Rules::default().nft("wolke_t")).unwrap() + "\n";
        crate::flows::tests::golden("nat-empty.nft.json", &empty);
    }

    #[test]
    fn the_mark_tells_contents_apart() {
        let mut other = rules();
        other.gateways[0].resolves = true;
        assert_ne!(rules().mark(), other.mark());
        assert_eq!(rules().mark(), rules().mark());
    }
}
