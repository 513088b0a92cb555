//! Sharing a machine: an operator's own switch with an uplink, and a second platform.

mod lab;

use api_agent::NetworkSpec;
use host_net::{Config, Network, OvsNetwork};
use lab::{Lab, Namespace, guest_spec, mac, nat_network, on_a_machine, sh, wait};

/// An Open vSwitch of the operator, with bridge `br0` whose uplink leads to a namespace.
fn operators_switch(lab: &Lab) -> Namespace {
    let dir = lab.path("system-ovs");
    std::fs::create_dir(&dir).unwrap();
    let d = dir.display();
    sh(&format!(
        "export OVS_RUNDIR={d}; ovsdb-tool create {d}/conf.db
         ovsdb-server {d}/conf.db --remote=punix:{d}/db.sock --pidfile={d}/a.pid --unixctl={d}/a.ctl --log-file={d}/a.log --detach --no-chdir -vconsole:off
         ovs-vsctl --db=unix:{d}/db.sock --no-wait init
         ovs-vswitchd unix:{d}/db.sock --pidfile={d}/b.pid --unixctl={d}/b.ctl --log-file={d}/b.log --detach --no-chdir -vconsole:off --disable-system"
    ));
    let wire = Namespace::new();
    sh(&format!("ip link add up0 type veth peer name eth0 netns {}; ip link set up0 up", wire.pid()));
    sh(&format!("ovs-vsctl --db=unix:{d}/db.sock add-br br0 -- set bridge br0 datapath_type=netdev -- add-port br0 up0"));
    // A userspace switch does not finish the checksums a veth leaves open.
    wire.sh("ethtool -K eth0 tx off >/dev/null; ip link set eth0 up");
    wire
}

#[test]
fn guests_on_an_operators_bridge() {
    on_a_machine("guests_on_an_operators_bridge", async |lab| {
        let wire = operators_switch(&lab);
        let d = lab.path("system-ovs").display().to_string();
        let flows = || sh(&format!("ovs-ofctl -O OpenFlow14 --no-stats dump-flows unix:{d}/br0.mgmt"));
        let before = flows();
        let network = OvsNetwork::start(Config::new(lab.path("net"))).unwrap();
        // The wire's own router is outside; here only addresses and metadata are given.
        let flat = |id: &str, bridge: &str| NetworkSpec { bridge: bridge.into(), nat: false, ..nat_network(id, "10.5.0.0/24", "10.5.0.1") };
        let nets = [flat("flat", "br0"), flat("lost", "br9")];
        let guests = [guest_spec(5, "flat", "10.5.0.5"), guest_spec(6, "lost", "10.5.0.6")];
        let said = network.apply(&nets, &guests).await.unwrap_err();
        assert!(said.to_string().contains("br9 does not exist"), "{said}");
        network.plug(&guests[0].nics[0], &nets[0], &guests[0]).await.unwrap();
        assert!(network.plug(&guests[1].nics[0], &nets[1], &guests[1]).await.unwrap_err().to_string().contains("br9"));
        assert!(!lab.path("net/ovs").exists(), "no second switch");

        let capture = wire.capture(lab.path("capture"));
        wire.sh("ip addr add 10.5.0.1/24 dev eth0");
        let guest = lab.guest("tap5", &mac(5));
        let (_client, lease) = guest.dhcp();
        assert_eq!((lease["ip"].as_str(), lease["router"].as_str()), ("10.5.0.5", "10.5.0.1"));
        assert_eq!(guest.get("http://169.254.169.254/latest/meta-data/instance-id"), "200 guest-5");
        assert!(guest.pings("10.5.0.1"), "the router on the wire");
        capture.holds("icmp");
        for ours in ["udp", "host 169.254.169.254 or arp host 169.254.169.254", "net 240.0.0.0/4", "arp net 240.0.0.0/4"] {
            assert_eq!(capture.seen(ours), "", "{ours} must not reach the wire");
        }

        // The same guest on VLAN 100 of the same bridge.
        let tagged = NetworkSpec { vlan_id: 100, ..nets[0].clone() };
        network.apply(std::slice::from_ref(&tagged), &guests[..1]).await.unwrap();
        guest.loses("10.5.0.1");
        assert!(!guest.try_sh("ip neigh flush dev eth0; ping -n -c 2 -W 1 10.5.0.1").status.success(), "the router is not on the VLAN");
        // But its question is.
        capture.holds("vlan 100 and arp");

        drop(guest);
        network.down().await.unwrap();
        assert_eq!(flows(), before, "the operator's flows are as they were");
        let left = sh(&format!("ovs-vsctl --db=unix:{d}/db.sock list-br; ovs-vsctl --db=unix:{d}/db.sock list-ports br0"));
        assert_eq!(left, "br0\nup0\n");
    });
}

#[test]
fn two_platforms_on_one_machine() {
    on_a_machine("two_platforms_on_one_machine", async |lab| {
        let config = |name: &str, bridge: &str| Config {
            bridge: bridge.into(),
            port_prefix: name.into(),
            tap_prefix: name.into(),
            ..Config::new(lab.path(name))
        };
        let (a, b) = (config("aa", "wolke0"), config("bb", "wolke1"));
        let (first, second) = (OvsNetwork::start(a.clone()).unwrap(), OvsNetwork::start(b.clone()));
        let second = second.unwrap();
        // Both know a network and a guest of the same name; the addresses differ as two hosts' would.
        let nets = [nat_network("n", "10.0.1.0/24", "10.0.1.1"), nat_network("n", "10.0.2.0/24", "10.0.2.1")];
        let guests = [guest_spec(5, "n", "10.0.1.5"), guest_spec(5, "n", "10.0.2.5")];
        for (network, net, guest) in [(&first, &nets[0], &guests[0]), (&second, &nets[1], &guests[1])] {
            network.apply(std::slice::from_ref(net), std::slice::from_ref(guest)).await.unwrap();
            let tap = network.plug(&guest.nics[0], net, guest).await.unwrap();
            assert!(tap.ifname.len() == 6 && tap.ifname.ends_with("tap5"), "{tap:?}");
        }
        assert_eq!((first.taps().await.unwrap(), second.taps().await.unwrap()), (vec!["tap5".to_string()], vec!["tap5".to_string()]));
        let (one, two) = (lab.guest("aatap5", &mac(5)), lab.guest("bbtap5", &mac(5)));
        let leases = (one.dhcp(), two.dhcp());
        assert_eq!((leases.0.1["ip"].as_str(), leases.1.1["ip"].as_str()), ("10.0.1.5", "10.0.2.5"));
        let id = "http://169.254.169.254/latest/meta-data/local-ipv4";
        assert_eq!((one.get(id), two.get(id)), ("200 10.0.1.5".to_string(), "200 10.0.2.5".to_string()));

        let clash = OvsNetwork::start(Config { bridge: "wolke1".into(), ..config("cc", "wolke1") }).unwrap();
        let said = clash.apply(&[], &[]).await.unwrap_err();
        assert!(said.to_string().contains("wolke1 of this host belongs to something else"), "{said}");
        clash.down().await.unwrap();

        // Whoever started the daemons leaves first: the other must not notice.
        let daemons = sh("pgrep -x ovs-vswitchd");
        let owner_is_first = lab.path("aa/ovs/ovs-vswitchd.pid").exists();
        drop((first, one));
        host_net::down(a.clone()).await.unwrap();
        assert!(two.pings("10.0.2.1"));
        if owner_is_first {
            assert_eq!(sh("pgrep -x ovs-vswitchd"), daemons);
        }
        assert_eq!(two.get(id), "200 10.0.2.5");
        drop((leases, two));
        second.unplug("tap5").await.unwrap();
        assert!(second.taps().await.unwrap().is_empty() && !sh("ip -o link").contains("bbtap5"));
        second.down().await.unwrap();
        let ours = |left: &str| ["wolke", "aas", "bbs", "ovs"].iter().any(|trace| left.contains(trace));
        let links = sh("ip -o link");
        assert!(!ours(&links), "{links}");
        // A command that was given up may still wait for its switch.
        wait("the end of every process", || (!ours(&sh("ps -eo stat=,comm= | grep -v ^Z"))).then_some(()));
        assert!(!lab.path("aa").exists() && !lab.path("bb").exists());
    });
}
