//! What guests see: addresses, metadata, each other, the host, the world. Real Open vSwitch, real clients.

mod lab;

use host_net::{Config, Network, OvsNetwork};
use lab::{guest_spec, mac, nat_network, on_a_machine, pings, sh, try_sh};

#[test]
fn a_guest_gets_its_address_its_metadata_and_the_world() {
    on_a_machine("a_guest_gets_its_address_its_metadata_and_the_world", async |lab| {
        let outside = lab.outside();
        let _who = outside.says_who_calls(8000);
        let network = OvsNetwork::start(Config::new(lab.path("net"))).unwrap();
        let mut first = guest_spec(5, "n", "10.0.1.5");
        first.meta.user_data = "#!/bin/sh\necho hi\n".into();
        let (net, guests) = (nat_network("n", "10.0.1.0/24", "10.0.1.1"), [first, guest_spec(6, "n", "10.0.1.6")]);
        network.apply(std::slice::from_ref(&net), &guests).await.unwrap();
        for guest in &guests {
            let tap = network.plug(&guest.nics[0], &net, guest).await.unwrap();
            assert_eq!((tap.ifname.as_str(), tap.vnet_hdr), (guest.nics[0].ifname.as_str(), false));
        }
        let (a, b) = (lab.guest("tap5", &mac(5)), lab.guest("tap6", &mac(6)));

        let (client, lease) = a.dhcp();
        let expected = [
            ("ip", "10.0.1.5"),
            ("mask", "24"),
            ("router", "10.0.1.1"),
            ("dns", "9.9.9.9"),
            ("ntpsrv", "10.7.7.7"),
            ("domain", "cloud.example"),
            ("hostname", "vm-5"),
            ("mtu", "1442"),
            ("broadcast", "10.0.1.255"),
            ("serverid", "10.0.1.0"),
            ("lease", "3600"),
            ("staticroutes", "0.0.0.0/0 10.0.1.1 169.254.169.254/32 0.0.0.0"),
            ("opt58", "00000960"),
            ("opt59", "00000c4e"),
        ];
        for (name, value) in expected {
            assert_eq!(lease.get(name).map(String::as_str), Some(value), "{name} in {lease:?}");
        }
        // A client that asks again before its time, by unicast to the server it has the lease from.
        client.signal("USR1");
        assert_eq!(a.lease("renew", 1)["ip"], "10.0.1.5");
        let (_other, lease) = b.dhcp();
        assert_eq!(lease["ip"], "10.0.1.6");

        assert_eq!(a.get("http://169.254.169.254/latest/meta-data/instance-id"), "200 guest-5");
        assert_eq!(b.get("http://169.254.169.254/latest/meta-data/instance-id"), "200 guest-6");
        assert_eq!(a.get("http://169.254.169.254/latest/meta-data/public-keys/0/openssh-key"), "200 ssh-ed25519 KEY5");
        assert_eq!(a.get("http://169.254.169.254/latest/user-data"), "200 #!/bin/sh\necho hi\n");
        assert!(b.get("http://169.254.169.254/latest/user-data").starts_with("404"));
        assert!(a.get("http://169.254.169.254/openstack/latest/meta_data.json").contains(r#""uuid":"guest-5""#));
        let token = a.sh("curl -s -m 20 -f -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token");
        assert_eq!(
            a.get(&format!("-H 'X-aws-ec2-metadata-token: {token}' http://169.254.169.254/latest/meta-data/local-ipv4")),
            "200 10.0.1.5"
        );

        assert!(a.pings("10.0.1.1"), "the gateway");
        assert!(a.pings("10.0.1.6") && b.pings("10.0.1.5"), "the neighbour");
        assert!(pings(try_sh, "10.0.1.5"), "host to guest");
        assert!(a.pings("192.0.2.2"), "the world");
        assert_eq!(a.sh("socat -t20 -T20 - TCP:192.0.2.2:8000").trim(), "192.0.2.1", "under the host's address");

        // Enough to find wrong checksums and wrong sizes in both directions.
        let file = lab.path("blob");
        sh(&format!("head -c 3000000 /dev/urandom > {}", file.display()));
        let dir = file.parent().unwrap();
        let _serve = (outside.serves_files(8080, dir), b.namespace.serves_files(8080, dir));
        let original = sh(&format!("md5sum < {}", file.display()));
        let fetch = |from: &str| format!("curl -s -f -m 60 http://{from}:8080/blob | md5sum");
        assert_eq!(a.sh(&fetch("192.0.2.2")), original, "from the world");
        assert_eq!(a.sh(&fetch("10.0.1.6")), original, "from the neighbour");
        assert_eq!(sh(&fetch("10.0.1.6")), original, "guest to host");
        network.down().await.unwrap();
    });
}

#[test]
fn nobody_is_somebody_else() {
    on_a_machine("nobody_is_somebody_else", async |lab| {
        let network = OvsNetwork::start(Config::new(lab.path("net"))).unwrap();
        let net = nat_network("n", "10.0.1.0/24", "10.0.1.1");
        let guests: Vec<_> = [5, 6, 7].map(|n| guest_spec(n, "n", &format!("10.0.1.{n}"))).into();
        network.apply(std::slice::from_ref(&net), &guests).await.unwrap();
        for guest in &guests {
            network.plug(&guest.nics[0], &net, guest).await.unwrap();
        }
        let (honest, spoofer) = (lab.guest("tap5", &mac(5)), lab.guest("tap6", &mac(6)));
        let stranger = lab.guest("tap7", "00:22:0a:ff:ff:ff");
        honest.sh("ip addr add 10.0.1.5/24 dev eth0");
        spoofer.sh("ip addr add 10.0.1.6/24 dev eth0 && ip addr add 10.0.1.66/24 dev eth0 && ip addr add 10.0.1.7/24 dev eth0 && ip route add 169.254.169.254 dev eth0");
        assert!(spoofer.pings("10.0.1.5"), "under its own address");

        // What arrives of the forged is counted at the receiver: nothing.
        let capture = honest.namespace.capture(lab.path("capture"));
        assert!(!spoofer.try_sh("ping -n -c 2 -W 1 -I 10.0.1.66 10.0.1.5").status.success());
        spoofer.try_sh("busybox arping -q -c 2 -w 3 -U -I eth0 -s 10.0.1.1 10.0.1.1");
        spoofer.try_sh("ip -6 addr add fe80::6/64 dev eth0 nodad; ping -c 1 -W 1 -I eth0 ff02::1");
        // A DHCP server of its own.
        spoofer.try_sh("echo offer | socat - UDP-DATAGRAM:255.255.255.255:68,bind=:67,broadcast,so-bindtodevice=eth0");
        assert!(spoofer.pings("10.0.1.5"), "last, so that what came before has arrived");
        capture.holds("icmp and host 10.0.1.6");
        for forged in ["host 10.0.1.66", "arp and arp[14:4] = 0x0a000101", "ip6", "udp"] {
            assert_eq!(capture.seen(&format!("ether src {} and ({forged})", mac(6))), "", "{forged}");
        }

        // Metadata of another: not by its address, not by its name.
        assert!(spoofer.get("--interface 10.0.1.6 http://169.254.169.254/latest/meta-data/instance-id").starts_with("200 guest-6"));
        let forged = spoofer.try_sh("curl -s -m 3 --interface 10.0.1.7 http://169.254.169.254/latest/meta-data/instance-id");
        assert!(!forged.status.success() && forged.stdout.is_empty());

        assert!(stranger.dhcp_is_silent(), "an unknown hardware address gets nothing");
        stranger.sh("ip link set eth0 down && ip link set eth0 address 00:22:0a:00:00:05 && ip link set eth0 up");
        assert!(stranger.dhcp_is_silent(), "nor does another guest's on this port");
        stranger.sh(&format!("ip link set eth0 down && ip link set eth0 address {} && ip link set eth0 up", mac(7)));
        let (_client, lease) = stranger.dhcp();
        assert_eq!(lease["ip"], "10.0.1.7", "its own does");

        // The host's ports are no way into the host.
        let _shell = lab::Process::new(
            std::process::Command::new("socat").args(["TCP-LISTEN:2222,reuseaddr,fork", "SYSTEM:echo inside"]).spawn().unwrap(),
        );
        lab::wait("a service of the host", || try_sh("ss -ltn | grep -q :2222").status.success().then_some(()));
        for door in ["10.0.1.1", "169.254.169.254", "240.1.0.1"] {
            assert!(
                !honest
                    .try_sh(&format!("ip route replace default via 10.0.1.1; socat -T2 - TCP:{door}:2222,connect-timeout=2"))
                    .status
                    .success(),
                "{door}"
            );
        }
        // Nor is the host's end of the tap, which the kernel sees beside the switch.
        let tap = sh("ip -br link show tap5").split_whitespace().nth(2).unwrap().to_string();
        honest.sh(&format!("ip neigh replace 10.0.1.1 lladdr {tap} dev eth0"));
        assert!(!honest.try_sh("socat -T2 - TCP:10.0.1.1:2222,connect-timeout=2").status.success());
        honest.sh("ip neigh flush dev eth0; ip addr add 10.9.9.5/24 dev eth0");
        sh("ip addr add 10.9.9.1/24 dev lo");
        let asked = honest.sh("ping -n -c 2 -W 1 -I 10.9.9.5 10.9.9.1 >&2; ip neigh show 10.9.9.1");
        assert!(!asked.contains("lladdr"), "no ARP answer for the host's other addresses: {asked}");
        network.down().await.unwrap();
    });
}

#[test]
fn equal_addresses_on_two_networks() {
    on_a_machine("equal_addresses_on_two_networks", async |lab| {
        let network = OvsNetwork::start(Config::new(lab.path("net"))).unwrap();
        let flat = |id: &str, vlan| api_agent::NetworkSpec { vlan_id: vlan, nat: false, ..nat_network(id, "10.0.1.0/24", "10.0.1.1") };
        let nets = [flat("red", 100), flat("blue", 200)];
        let guests = [guest_spec(5, "red", "10.0.1.5"), guest_spec(6, "blue", "10.0.1.5"), guest_spec(7, "red", "10.0.1.7")];
        network.apply(&nets, &guests).await.unwrap();
        for guest in &guests {
            let net = nets.iter().find(|n| n.id == guest.nics[0].network_id).unwrap();
            network.plug(&guest.nics[0], net, guest).await.unwrap();
        }
        let hosts = [5, 6, 7].map(|n| (n, lab.guest(&format!("tap{n}"), &mac(n))));
        let mut clients = Vec::new();
        for (n, guest) in &hosts {
            let (client, lease) = guest.dhcp();
            assert_eq!(lease["ip"], if *n == 7 { "10.0.1.7" } else { "10.0.1.5" });
            assert_eq!(guest.get("http://169.254.169.254/latest/meta-data/instance-id"), format!("200 guest-{n}"));
            clients.push(client);
        }
        let [(_, red), (_, blue), (_, red2)] = &hosts;
        assert!(red2.pings("10.0.1.5"), "same VLAN");
        red.sh("ip addr flush dev eth0");
        assert!(!red2.try_sh("ping -n -c 2 -W 1 10.0.1.5").status.success(), "the other VLAN's guest does not answer");
        assert!(blue.pings("10.0.1.5"));
        network.down().await.unwrap();
    });
}

#[test]
fn a_limited_guest_is_as_fast_as_its_limit() {
    on_a_machine("a_limited_guest_is_as_fast_as_its_limit", async |lab| {
        // Low, so that a busy machine is still faster without it.
        const MBIT: f64 = 4.0;
        let network = OvsNetwork::start(Config::new(lab.path("net"))).unwrap();
        let net = nat_network("n", "10.0.1.0/24", "10.0.1.1");
        let mut guest = guest_spec(5, "n", "10.0.1.5");
        guest.nics[0].bw_limit = MBIT as i64;
        network.apply(std::slice::from_ref(&net), std::slice::from_ref(&guest)).await.unwrap();
        network.plug(&guest.nics[0], &net, &guest).await.unwrap();
        let inside = lab.guest("tap5", &mac(5));
        inside.sh("ip link set eth0 mtu 1442 && ip addr add 10.0.1.5/24 dev eth0");
        assert!(inside.pings("10.0.1.1"));
        // What one side's blind datagrams at full speed come to at the other. Datagrams, because they do not slow down by themselves.
        let rate = |to: &str, receive: &dyn Fn(&str) -> lab::Process, send: &dyn Fn(&str)| {
            let sink = lab.path("sink");
            let _ = std::fs::remove_file(&sink);
            let _receiver = receive(&format!("socat -u UDP-RECV:9000 CREATE:{}", sink.display()));
            lab::wait("a receiver", || sink.exists().then_some(()));
            let len = || std::fs::metadata(&sink).map_or(0, |m| m.len());
            let begin = std::time::Instant::now();
            send(&format!("timeout 5 socat -u -b1300 OPEN:/dev/zero UDP-SENDTO:{to}:9000 || true"));
            let mbit = len() as f64 * 8.0 / 1e6 / begin.elapsed().as_secs_f64();
            eprintln!("{mbit:.1} Mbit/s towards {to}");
            mbit
        };
        let here =
            |script: &str| lab::Process::new(std::process::Command::new("sh").args(["-c", &format!("exec {script}")]).spawn().unwrap());
        let there = |script: &str| inside.namespace.spawn(&["sh".into(), "-c".into(), format!("exec {script}")]);
        let out = |script: &str| drop(inside.sh(script));
        // The guard lets nothing to the gateway address: the sink listens on another address of the host.
        sh("ip addr add 192.0.2.1/32 dev lo");
        inside.sh("ip route add default via 10.0.1.1");
        let sent = rate("192.0.2.1", &here, &out);
        let received = rate("10.0.1.5", &there, &|script| drop(sh(script)));
        for mbit in [sent, received] {
            assert!(mbit > MBIT * 0.3 && mbit < MBIT * 1.3, "sent {sent:.1}, received {received:.1} Mbit/s");
        }
        guest.nics[0].bw_limit = 0;
        network.apply(std::slice::from_ref(&net), std::slice::from_ref(&guest)).await.unwrap();
        assert!(rate("192.0.2.1", &here, &out) > MBIT * 1.5 && rate("10.0.1.5", &there, &|script| drop(sh(script))) > MBIT * 1.5);
        network.down().await.unwrap();
    });
}
