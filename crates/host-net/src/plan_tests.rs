use super::*;

pub(crate) fn network(id: &str, cidr: &str, gateway: &str) -> NetworkSpec {
    NetworkSpec { id: id.into(), name: id.into(), cidr: cidr.into(), gateway: gateway.into(), ..Default::default() }
}

pub(crate) fn nic(index: i64, network: &str, ip: &str) -> GuestNic {
    GuestNic {
        index,
        mac: format!("00:22:0a:00:00:{index:02x}"),
        network_id: network.into(),
        ip_addr: ip.into(),
        ifname: format!("tap{index}"),
        src_mac_check: true,
        src_ip_check: true,
        ..Default::default()
    }
}

fn guest(nics: Vec<GuestNic>) -> GuestSpec {
    GuestSpec { id: "g".into(), name: "Web_1 测试".into(), nics, ..Default::default() }
}

fn planned(networks: &[NetworkSpec], guest: GuestSpec) -> Plan {
    Plan::new(&Config::new("/var/lib/x"), &Document::new(networks, &[guest]))
}

fn bound(networks: &[NetworkSpec], nics: Vec<GuestNic>, index: usize) -> dhcp::Binding {
    let plan = planned(networks, guest(nics));
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    plan.nics().nth(index).unwrap().1.binding.clone().unwrap()
}

fn routes_of(binding: &dhcp::Binding) -> Vec<String> {
    binding.routes.iter().map(|r| format!("{}/{} {}", r.destination, r.prefix_len, r.via)).collect()
}

#[test]
fn a_binding_says_all_the_network_says() {
    let spec = NetworkSpec {
        dns: vec!["1.1.1.1".into(), "2001:db8::1".into(), "not an address".into()],
        ntp: vec!["10.0.0.9".into()],
        domain: "Cloud.Example".into(),
        mtu: 1442,
        lease_secs: 600,
        routes: vec![
            ("172.16.0.0/12".into(), "10.0.1.9".into()),
            ("172.17.0.0/16".into(), "10.0.1.5".into()),
            ("0.0.0.0/0".into(), "10.0.1.9".into()),
            ("169.254.169.254/32".into(), "10.0.1.9".into()),
            ("2001:db8::/32".into(), "fe80::1".into()),
        ],
        ..network("n", "10.0.1.0/24", "10.0.1.1")
    };
    let b = bound(&[spec], vec![nic(5, "n", "10.0.1.5")], 0);
    assert_eq!(
        (b.address, b.prefix_len, b.server_id, b.gateway),
        ([10, 0, 1, 5].into(), 24, [10, 0, 1, 0].into(), Some([10, 0, 1, 1].into()))
    );
    assert_eq!((b.dns, b.ntp), (vec![Ipv4Addr::new(1, 1, 1, 1)], vec![Ipv4Addr::new(10, 0, 0, 9)]));
    assert_eq!((b.domain.as_str(), b.host_name.as_str(), b.mtu, b.lease_secs), ("cloud.example", "web1", 1442, 600));
    let b = bound(
        &[NetworkSpec {
            routes: vec![("172.16.0.0/12".into(), "10.0.1.9".into()), ("172.17.0.0/16".into(), "10.0.1.5".into())],
            ..network("n", "10.0.1.0/24", "10.0.1.1")
        }],
        vec![nic(5, "n", "10.0.1.5")],
        0,
    );
    assert_eq!(routes_of(&b), ["172.16.0.0/12 10.0.1.9", "169.254.169.254/32 0.0.0.0"], "not through itself; metadata on link");
}

#[test]
fn only_the_main_nic_gets_the_default_route() {
    let nets = [network("a", "10.0.1.0/24", "10.0.1.1"), network("b", "10.0.2.0/24", "10.0.2.1"), network("c", "10.0.3.0/24", "")];
    let two = || vec![nic(0, "a", "10.0.1.5"), nic(1, "b", "10.0.2.5")];
    assert!(bound(&nets, two(), 0).gateway.is_some());
    let second = bound(&nets, two(), 1);
    assert_eq!((second.gateway, second.routes.len()), (None, 0));
    let flagged = || vec![nic(0, "a", "10.0.1.5"), GuestNic { is_default: true, ..nic(1, "b", "10.0.2.5") }];
    assert_eq!(bound(&nets, flagged(), 0).gateway, None);
    assert_eq!(bound(&nets, flagged(), 1).gateway, Some([10, 0, 2, 1].into()));
    let unrouted_first = || vec![nic(0, "c", "10.0.3.5"), nic(1, "b", "10.0.2.5")];
    assert_eq!(bound(&nets, unrouted_first(), 1).gateway, Some([10, 0, 2, 1].into()));
}

#[test]
fn a_private_leg_carries_private_ranges_when_the_main_one_is_public() {
    let nets = [network("pub", "203.0.113.0/24", "203.0.113.1"), network("priv", "10.0.2.0/24", "10.0.2.1")];
    let private = bound(&nets, vec![nic(0, "pub", "203.0.113.5"), nic(1, "priv", "10.0.2.5")], 1);
    assert!(routes_of(&private).contains(&"192.168.0.0/16 10.0.2.1".to_string()), "{private:?}");
    let both_private = [network("a", "10.0.1.0/24", "10.0.1.1"), nets[1].clone()];
    assert_eq!(bound(&both_private, vec![nic(0, "a", "10.0.1.5"), nic(1, "priv", "10.0.2.5")], 1).routes, []);
}

#[test]
fn one_wrong_thing_does_not_take_the_rest_along() {
    let cases: &[(&str, NetworkSpec, GuestNic, &str)] = &[
        ("subnet", NetworkSpec { cidr: "10.0.9.0".into(), ..network("bad", "", "") }, nic(9, "bad", ""), "not of the form"),
        ("VLAN", NetworkSpec { vlan_id: 4095, ..network("bad", "10.0.9.0/24", "") }, nic(9, "bad", ""), "between 0 and 4094"),
        ("MTU", NetworkSpec { mtu: 20, ..network("bad", "10.0.9.0/24", "") }, nic(9, "bad", ""), "between 68"),
        ("bridge", NetworkSpec { bridge: "a b".into(), ..network("bad", "10.0.9.0/24", "") }, nic(9, "bad", ""), "device name"),
        ("gateway", NetworkSpec { nat: true, ..network("bad", "10.0.9.0/24", "10.0.8.1") }, nic(9, "bad", ""), "not in 10.0.9.0/24"),
        ("no gateway", NetworkSpec { nat: true, ..network("bad", "10.0.9.0/24", "") }, nic(9, "bad", ""), "needs a gateway"),
        ("address", network("bad", "10.0.9.0/24", ""), nic(9, "bad", "10.0.8.5"), "not in 10.0.9.0/24"),
        ("network", network("bad", "10.0.9.0/24", ""), nic(9, "none", ""), "not in the document"),
        ("MAC", network("bad", "10.0.9.0/24", ""), GuestNic { mac: "01:00:00:00:00:01".into(), ..nic(9, "bad", "") }, "hardware address"),
        ("device", network("bad", "10.0.9.0/24", ""), GuestNic { ifname: "a;b".into(), ..nic(9, "bad", "") }, "device name"),
        ("same device", network("bad", "10.0.9.0/24", ""), GuestNic { ifname: "tap1".into(), ..nic(9, "bad", "") }, "two NICs"),
    ];
    for (name, bad, bad_nic, says) in cases {
        let plan =
            planned(&[network("good", "10.0.1.0/24", "10.0.1.1"), bad.clone()], guest(vec![nic(1, "good", "10.0.1.5"), bad_nic.clone()]));
        assert!(plan.problems.iter().any(|p| p.to_string().contains(says)), "{name}: {:?}", plan.problems);
        assert!(plan.nics().any(|(_, n)| n.tap == "tap1"), "{name}");
    }
}

#[test]
fn bridges_gateways_and_vlans() {
    let nets = [
        NetworkSpec { nat: true, dns: vec!["10.0.1.1".into()], ..network("nat", "10.0.1.7/24", "10.0.1.1") },
        NetworkSpec { vlan_id: 100, bridge: "br0".into(), mtu: 9000, ..network("wire", "10.5.0.0/16", "10.5.0.1") },
    ];
    let plan = planned(&nets, guest(vec![nic(1, "nat", "10.0.1.5"), nic(2, "wire", "10.5.1.1")]));
    assert_eq!(plan.bridges.keys().collect::<Vec<_>>(), ["br0", "wolke0"]);
    let gateways: Vec<_> = plan.gateways().map(|g| (g.address.to_string(), g.subnet.to_string(), g.vlan, g.resolves)).collect();
    assert_eq!(gateways, [("10.0.1.1".into(), "10.0.1.0/24".into(), None, true)]);
    let nics: Vec<_> = plan.nics().map(|(b, n)| (b.name.as_str(), b.own, n.vlan, n.mtu)).collect();
    assert_eq!(nics, [("br0", false, Some(100), 9000), ("wolke0", true, None, 1500)]);
}

#[test]
fn router_and_switch_guests() {
    let net = [network("n", "10.0.1.0/24", "")];
    let checks = |mac_check, ip_check| {
        let nic = GuestNic { src_mac_check: mac_check, src_ip_check: ip_check, ..nic(1, "n", "10.0.1.5") };
        let plan = planned(&net, guest(vec![nic]));
        let n = plan.nics().next().unwrap().1.clone();
        (n.mac_check, n.ip_check)
    };
    assert_eq!(checks(true, true), (true, true));
    assert_eq!(checks(true, false), (true, false));
    assert_eq!(checks(false, true), (false, false), "who may use any hardware address may use any address");
}
