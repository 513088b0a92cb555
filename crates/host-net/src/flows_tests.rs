use super::*;
use crate::config::Config;
use crate::plan::tests::{network, nic};
use crate::plan::{Document, Plan};
use api_agent::{GuestNic, GuestSpec, NetworkSpec};

fn plan(nics: Vec<GuestNic>) -> Plan {
    let nets = [
        NetworkSpec { nat: true, ..network("nat", "10.0.1.0/24", "10.0.1.1") },
        NetworkSpec { vlan_id: 100, ..network("wire", "10.5.0.0/16", "10.5.0.1") },
    ];
    let plan = Plan::new(&Config::new("/var/lib/x"), &Document::new(&nets, &[GuestSpec { id: "g".into(), nics, ..Default::default() }]));
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    plan
}

fn ports(plan: &Plan) -> Ports {
    let bridge = &plan.bridges["wolke0"];
    let names = std::iter::once(&bridge.service.port).chain(bridge.gateways.keys()).chain(bridge.nics.keys());
    names.zip(1..).map(|(name, port)| (name.clone(), port)).collect()
}

fn text(plan: &Plan, taps: &[&str]) -> String {
    let taps = taps.iter().map(|t| t.to_string()).collect();
    let layout = Layout::new(&plan.bridges["wolke0"], &ports(plan), &taps);
    let meters = layout.meters.iter().map(|(port, mbit)| format!("meter {port}: {mbit} Mbit/s\n"));
    layout.flows.iter().map(|f| format!("{f}\n")).chain(meters).collect()
}

/// Compares with the file of that name under `golden/`; `UPDATE_GOLDEN=1` writes it instead.
pub(crate) fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "{} differs; got:\n{text}", path.display());
}

#[test]
fn golden_files() {
    let checked = plan(vec![nic(1, "nat", "10.0.1.5"), nic(2, "wire", "10.5.0.9")]);
    golden("checked.flows", &text(&checked, &["tap1", "tap2"]));
    let router = plan(vec![GuestNic { src_ip_check: false, ..nic(1, "nat", "10.0.1.5") }]);
    golden("router.flows", &text(&router, &["tap1"]));
    let switch = plan(vec![GuestNic { src_ip_check: false, src_mac_check: false, ..nic(1, "nat", "10.0.1.5") }]);
    golden("switch.flows", &text(&switch, &["tap1"]));
    let limited = plan(vec![GuestNic { bw_limit: 50, ..nic(1, "nat", "10.0.1.5") }]);
    golden("limited.flows", &text(&limited, &["tap1"]));
    let bare = plan(vec![nic(1, "nat", "")]);
    golden("no-address.flows", &text(&bare, &["tap1"]));
    golden("empty.flows", &text(&plan(vec![]), &[]));
}

#[test]
fn a_tap_the_document_does_not_know_carries_nothing() {
    let plan = plan(vec![nic(1, "nat", "10.0.1.5")]);
    let mut ports = ports(&plan);
    ports.insert("stale".into(), 77);
    let all = flows(&plan.bridges["wolke0"], &ports, &["tap1".to_string(), "stale".to_string()].into());
    let of_stale: Vec<_> = all.iter().filter(|f| f.matches.starts_with("in_port=77")).map(|f| (f.priority, f.actions.as_str())).collect();
    assert_eq!(of_stale, [(500, "drop")]);
    ports.remove("tap1");
    let without = flows(&plan.bridges["wolke0"], &ports, &BTreeSet::new());
    assert!(!without.iter().any(|f| f.actions.contains("10.0.1.5")), "a NIC whose tap is not plugged has no flows");
}

#[test]
fn aliases_go_both_ways() {
    for port in [1, 255, 256, 65279] {
        assert_eq!(alias_port(alias(port)), Some(port));
    }
    assert_eq!(alias(258), Ipv4Addr::new(240, 0, 1, 2));
    assert_eq!(alias_port(SERVICE), None);
    assert_eq!(alias_port(Ipv4Addr::new(10, 0, 1, 2)), None);
}

#[test]
fn a_bundle_touches_only_what_changed() {
    let flow = |priority, matches: &str, actions: &str| Flow { table: 0, priority, matches: matches.into(), actions: actions.into() };
    let layout = |flows: &[Flow]| Layout { flows: flows.to_vec(), ..Layout::default() };
    let old = layout(&[flow(1, "", "NORMAL"), flow(500, "in_port=2", "drop"), flow(600, "in_port=2,ip", "NORMAL")]);
    let new = layout(&[flow(1, "", "NORMAL"), flow(500, "in_port=2", "NORMAL"), flow(600, "in_port=3,ip", "NORMAL")]);
    let owner = 0xabcd_0001;
    assert_eq!(bundle(owner, Some(&old), &old), Vec::<String>::new());
    let lines = bundle(owner, Some(&old), &new);
    let mark_line = format!("add cookie=0x{:x},table=253,priority=1,metadata=0xabcd0001,actions=drop", new.mark(owner));
    assert_eq!(
        lines,
        [
            "delete_strict table=0,priority=600,in_port=2,ip",
            "add cookie=0xabcd000100000000,table=0,priority=500,in_port=2,actions=NORMAL",
            "add cookie=0xabcd000100000000,table=0,priority=600,in_port=3,ip,actions=NORMAL",
            mark_line.as_str(),
        ]
    );
    let whole = bundle(owner, None, &new);
    assert_eq!(whole[0], "delete cookie=0xabcd000100000000/0xffffffff00000000");
    assert_eq!(whole.len(), new.flows.len() + 2);
    assert_ne!(old.mark(owner), new.mark(owner));
    assert_eq!(old.mark(owner) >> 32, u64::from(owner));
    let slower = Layout { meters: [(3, 50)].into(), ..new.clone() };
    assert_eq!(bundle(owner, Some(&new), &slower).len(), 1, "another rate changes only the mark");
}
