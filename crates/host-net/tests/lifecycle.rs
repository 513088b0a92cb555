//! Agents come, go and crash; daemons die; platforms share a machine; in the end nothing is left.

mod lab;

use api_agent::{GuestSpec, NetworkSpec};
use host_net::{Config, Network, OvsNetwork};
use lab::{Lab, guest_spec, mac, nat_network, on_a_machine, on_a_machine_without, sh, try_sh, wait};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

fn net() -> NetworkSpec {
    nat_network("n", "10.0.1.0/24", "10.0.1.1")
}

fn guests(numbers: &[u8]) -> Vec<GuestSpec> {
    numbers.iter().map(|n| guest_spec(*n, "n", &format!("10.0.1.{n}"))).collect()
}

async fn apply_and_plug(network: &OvsNetwork, net: &NetworkSpec, guests: &[GuestSpec]) -> base::Result<()> {
    network.apply(std::slice::from_ref(net), guests).await?;
    for guest in guests {
        network.plug(&guest.nics[0], net, guest).await?;
    }
    Ok(())
}

/// Process ids of the daemons under a directory.
fn daemons(dir: &Path) -> Vec<u32> {
    let pid = |daemon: &str| {
        let file = dir.join("ovs").join(format!("{daemon}.pid"));
        wait("a daemon's process id", || std::fs::read_to_string(&file).ok()?.trim().parse().ok())
    };
    ["ovsdb-server", "ovs-vswitchd"].map(pid).into()
}

fn dump_flows(dir: &Path, bridge: &str) -> String {
    sh(&format!("ovs-ofctl -O OpenFlow14 dump-flows unix:{}/{bridge}.mgmt", dir.display()))
}

/// Seconds the youngest flow of a bridge is old.
fn youngest(dump: &str) -> f64 {
    assert!(dump.contains("duration="), "no flows: {dump}");
    let ages = dump.split("duration=").skip(1).filter_map(|rest| rest.split('s').next()?.parse::<f64>().ok());
    ages.fold(f64::MAX, f64::min)
}

/// All that a network could leave on a machine.
fn traces() -> BTreeSet<String> {
    let links = sh("ip -o link").lines().filter_map(|l| Some(format!("link {}", l.split(": ").nth(1)?))).collect::<Vec<_>>();
    let tables = sh("nft list tables").lines().map(str::to_string).collect::<Vec<_>>();
    let processes = switch_processes().into_iter().map(|c| format!("process {c}")).collect::<Vec<_>>();
    let rules = sh("iptables-save; ip rule; ip route").lines().filter(|l| !l.starts_with('#')).map(str::to_string).collect::<Vec<_>>();
    [links, tables, processes, rules].concat().into_iter().collect()
}

/// Names of the switch's processes. Dead ones nobody asked after do not count: this test is their parent now.
fn switch_processes() -> Vec<String> {
    sh("ps -eo stat=,comm=").lines().filter(|l| l.contains(" ovs") && !l.starts_with('Z')).map(str::to_string).collect()
}

fn addressed(lab: &Lab, n: u8) -> lab::Guest {
    let guest = lab.guest(&format!("tap{n}"), &mac(n));
    guest.sh(&format!("ip link set eth0 mtu 1442 && ip addr add 10.0.1.{n}/24 dev eth0 && ip route add default via 10.0.1.1"));
    guest
}

#[test]
fn the_network_stays_while_agents_come_and_go() {
    on_a_machine("the_network_stays_while_agents_come_and_go", async |lab| {
        let config = Config::new(lab.path("net"));
        let first = OvsNetwork::start(config.clone()).unwrap();
        assert!(OvsNetwork::start(config.clone()).err().unwrap().to_string().contains("another host agent"));
        let all = guests(&[5, 6, 8]);
        apply_and_plug(&first, &net(), &all).await.unwrap();
        let (a, b, c) = (addressed(&lab, 5), addressed(&lab, 6), lab.guest("tap8", &mac(8)));
        assert!(a.pings("10.0.1.6") && b.pings("10.0.1.1"));
        let before = daemons(&lab.path("net"));

        let traffic = lab.path("traffic");
        let script = format!("ping -n -i 0.02 -c 400 10.0.1.6 > {}", traffic.display());
        let mut stream = a.namespace.spawn(&["sh".into(), "-c".into(), script]);
        let restart = Instant::now();
        drop(first);
        assert!(c.dhcp_is_silent(), "no agent, no answers");
        let second = OvsNetwork::start(config).unwrap();
        // Before anybody told it anything.
        let (_client, lease) = c.dhcp();
        assert_eq!(lease["ip"], "10.0.1.8");
        assert_eq!(c.get("http://169.254.169.254/latest/meta-data/instance-id"), "200 guest-8");
        apply_and_plug(&second, &net(), &all).await.unwrap();
        assert_eq!(daemons(&lab.path("net")), before, "the same daemons");
        // Read before: asking takes a moment, in which flows grow older too.
        let since = restart.elapsed().as_secs_f64();
        let dump = dump_flows(&lab.path("net/ovs"), "wolke0");
        assert!(youngest(&dump) > since, "no flow was touched: {dump}");
        assert_eq!(second.taps().await.unwrap(), ["tap5", "tap6", "tap8"]);
        stream.finish();
        let told = std::fs::read_to_string(&traffic).unwrap();
        let summary = told.lines().rev().take(3).collect::<Vec<_>>();
        assert!(told.contains("400 received"), "{summary:?}");

        // One more guest changes only its own flows.
        let of_six = |dump: &str| youngest(&dump.lines().filter(|l| l.contains(&mac(6))).collect::<Vec<_>>().join("\n"));
        let before = of_six(&dump_flows(&lab.path("net/ovs"), "wolke0"));
        apply_and_plug(&second, &net(), &guests(&[5, 6, 7, 8])).await.unwrap();
        let dump = dump_flows(&lab.path("net/ovs"), "wolke0");
        assert!(dump.contains(&mac(7)) && of_six(&dump) >= before, "they were {before} s old: {dump}");
        second.down().await.unwrap();
    });
}

#[test]
fn daemons_that_die_come_back() {
    on_a_machine("daemons_that_die_come_back", async |lab| {
        let network = OvsNetwork::start(Config::new(lab.path("net"))).unwrap();
        apply_and_plug(&network, &net(), &guests(&[5, 6])).await.unwrap();
        let (a, b) = (addressed(&lab, 5), addressed(&lab, 6));
        assert!(a.pings("10.0.1.6"));
        for victims in [&[1][..], &[0], &[0, 1]] {
            let before = daemons(&lab.path("net"));
            for victim in victims {
                sh(&format!("kill -9 {}", before[*victim]));
            }
            wait("another daemon", || {
                let now = daemons(&lab.path("net"));
                (victims.iter().all(|v| now[*v] != before[*v]) && now.iter().all(|p| Path::new(&format!("/proc/{p}")).exists()))
                    .then_some(())
            });
            assert!(a.pings("10.0.1.6") && b.pings("10.0.1.1"), "after {victims:?}");
            let (_client, lease) = a.dhcp();
            assert_eq!(lease["ip"], "10.0.1.5");
        }

        // Others' doings are undone too.
        let dir = lab.path("net/ovs");
        sh(&format!("ovs-ofctl -O OpenFlow14 del-flows unix:{}/wolke0.mgmt && nft flush ruleset", dir.display()));
        sh(&format!("ovs-vsctl --db=unix:{}/db.sock del-port tap6", dir.display()));
        network.apply(&[net()], &guests(&[5, 6])).await.unwrap();
        assert!(a.pings("10.0.1.6"));
        assert!(sh("nft list tables").contains("wolke_"));
        network.down().await.unwrap();
    });
}

#[test]
fn a_port_lives_as_long_as_its_guest() {
    on_a_machine("a_port_lives_as_long_as_its_guest", async |lab| {
        let network = OvsNetwork::start(Config::new(lab.path("net"))).unwrap();
        let all = guests(&[5, 6]);
        apply_and_plug(&network, &net(), &all).await.unwrap();
        let (a, b) = (addressed(&lab, 5), addressed(&lab, 6));
        assert!(a.pings("10.0.1.6"));

        network.apply(&[net()], &all[..1]).await.unwrap();
        // Who is not in the document is cut off.
        a.loses("10.0.1.6");
        assert!(!b.try_sh("curl -s -m 3 http://169.254.169.254/latest/").status.success());
        assert_eq!(network.taps().await.unwrap(), ["tap5", "tap6"], "but its port stays: it may still run");
        network.apply(&[net()], &all).await.unwrap();
        assert!(a.pings("10.0.1.6"));

        for _ in 0..2 {
            network.unplug("tap6").await.unwrap();
        }
        assert_eq!(network.taps().await.unwrap(), ["tap5"]);
        assert!(!sh("ip -o link").contains("tap6"));
        assert!(!dump_flows(&lab.path("net/ovs"), "wolke0").contains(&mac(6)));

        // A device of somebody else is never touched.
        sh("ip tuntap add tap7 mode tap");
        let taken = guest_spec(7, "n", "10.0.1.7");
        let refused = network.plug(&taken.nics[0], &net(), &taken).await.unwrap_err();
        assert!(refused.to_string().contains("tap7") && refused.class() == base::Class::Conflict, "{refused}");
        network.unplug("tap7").await.unwrap();
        assert!(sh("ip -o link").contains("tap7"));

        // Made anew under the old name, the device is another one and the switch must take it.
        drop((a, b));
        sh("ip link del tap5");
        network.plug(&all[0].nics[0], &net(), &all[0]).await.unwrap();
        assert!(addressed(&lab, 5).pings("10.0.1.1"));
        // A move to another network moves the port; a network that is gone takes its gateway along.
        let other = NetworkSpec { vlan_id: 30, ..nat_network("m", "10.0.2.0/24", "10.0.2.1") };
        let moved = guest_spec(5, "m", "10.0.2.5");
        network.apply(std::slice::from_ref(&other), std::slice::from_ref(&moved)).await.unwrap();
        assert!(!sh("ip -4 -o addr").contains("10.0.1.1/24"));
        let guest = lab.guest("tap5", &mac(5));
        let (_client, lease) = guest.dhcp();
        assert_eq!(lease["ip"], "10.0.2.5");
        assert!(guest.pings("10.0.2.1"));
        network.down().await.unwrap();
    });
}

#[test]
fn killed_at_any_point_the_next_agent_heals() {
    const NAME: &str = "killed_at_any_point_the_next_agent_heals";
    const AGENT: &str = "HOST_NET_AGENT";
    if let Ok(dir) = std::env::var(AGENT) {
        // The agent that is killed: makes and unmakes for ever.
        return tokio::runtime::Runtime::new().unwrap().block_on(async {
            let network = OvsNetwork::start(Config::new(dir)).unwrap();
            for round in 0u8.. {
                let numbers: Vec<u8> = (5..8).filter(|n| (n + round) % 3 != 0).collect();
                let net = if round % 4 == 3 { nat_network("n", "10.0.1.0/24", "10.0.1.2") } else { net() };
                // A program an earlier agent had started may be in the way for a moment: agents try again.
                let _ = apply_and_plug(&network, &net, &guests(&numbers)).await;
                let _ = network.unplug("tap6").await;
            }
        });
    }
    on_a_machine(NAME, async |lab| {
        let before = traces();
        let dir = lab.path("net");
        for round in 0..25u64 {
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            let agent = again.args([NAME, "--exact", "--nocapture"]).env(AGENT, &dir).spawn().unwrap();
            // Spread over the start of the daemons and the first rounds; the moment is what is tested.
            tokio::time::sleep(Duration::from_millis(10 + round * 37)).await;
            drop(lab::Process::new(agent));
        }
        let network = OvsNetwork::start(Config::new(&dir)).unwrap();
        let until = Instant::now() + lab::PATIENCE;
        while let Err(e) = apply_and_plug(&network, &net(), &guests(&[5, 6])).await {
            assert!(Instant::now() < until, "{e}");
        }
        let stale: Vec<String> = network.taps().await.unwrap().into_iter().filter(|t| t != "tap5" && t != "tap6").collect();
        for tap in &stale {
            network.unplug(tap).await.unwrap();
        }
        let (a, b) = (lab.guest("tap5", &mac(5)), lab.guest("tap6", &mac(6)));
        let leases = (a.dhcp(), b.dhcp());
        assert_eq!((leases.0.1["ip"].as_str(), leases.1.1["ip"].as_str()), ("10.0.1.5", "10.0.1.6"));
        assert!(a.pings("10.0.1.6") && b.pings("10.0.1.1"));
        assert_eq!(sh("ip -4 -o addr").matches("10.0.1.").count(), 2, "one gateway with its broadcast address");
        // What a killed agent had started may still try for a while to reach a switch that is gone.
        wait("one pair of daemons and nothing else of the switch", || (switch_processes().len() == 2).then_some(()));
        drop((a, b, leases, network));
        host_net::down(Config::new(&dir)).await.unwrap();
        assert_eq!(traces(), before);
        assert!(!dir.exists());
    });
}

#[test]
fn down_leaves_nothing() {
    on_a_machine("down_leaves_nothing", async |lab| {
        let _outside = lab.outside();
        let before = traces();
        let dir = lab.path("net");
        let config = Config::new(&dir);
        host_net::down(config.clone()).await.unwrap();
        for killed in [None, Some(vec![1]), Some(vec![0]), Some(vec![0, 1])] {
            let network = OvsNetwork::start(config.clone()).unwrap();
            apply_and_plug(&network, &net(), &guests(&[5, 6])).await.unwrap();
            assert!(traces().len() > before.len() + 5);
            drop(network);
            for victim in killed.iter().flatten() {
                sh(&format!("kill -9 {}", daemons(&dir)[*victim]));
            }
            host_net::down(config.clone()).await.unwrap();
            assert_eq!(traces(), before, "after {killed:?} was killed");
            assert!(!dir.exists());
        }
        // By another path to the same directory.
        let network = OvsNetwork::start(config.clone()).unwrap();
        apply_and_plug(&network, &net(), &guests(&[5])).await.unwrap();
        drop(network);
        std::os::unix::fs::symlink(&dir, lab.path("link")).unwrap();
        host_net::down(Config::new(lab.path("link"))).await.unwrap();
        assert_eq!(traces(), before);
        // Not even when somebody removed the directory first.
        let network = OvsNetwork::start(config.clone()).unwrap();
        apply_and_plug(&network, &net(), &guests(&[5, 6])).await.unwrap();
        drop(network);
        std::fs::remove_dir_all(&dir).unwrap();
        host_net::down(config).await.unwrap();
        assert_eq!(traces(), before, "after the directory was removed");
        assert!(!dir.exists());
    });
}

#[test]
fn a_directory_removed_under_the_agent() {
    on_a_machine("a_directory_removed_under_the_agent", async |lab| {
        let config = Config::new(lab.path("net"));
        let network = OvsNetwork::start(config.clone()).unwrap();
        apply_and_plug(&network, &net(), &guests(&[5])).await.unwrap();
        drop(network);
        std::fs::remove_dir_all(lab.path("net")).unwrap();
        let network = OvsNetwork::start(config).unwrap();
        // Its taps are nobody's now, and it says so.
        let said = apply_and_plug(&network, &net(), &guests(&[5])).await.unwrap_err();
        assert!(said.to_string().contains("device tap5 exists"), "{said}");
        sh("ip link del tap5");
        apply_and_plug(&network, &net(), &guests(&[5])).await.unwrap();
        assert!(addressed(&lab, 5).pings("10.0.1.1"));
        network.down().await.unwrap();
    });
}

#[test]
fn a_machine_without_nft() {
    on_a_machine_without("a_machine_without_nft", "nft", async |lab| {
        let outside = lab.outside();
        let _who = outside.says_who_calls(8000);
        assert!(!try_sh("nft --version").status.success());
        let network = OvsNetwork::start(Config::new(lab.path("net"))).unwrap();
        apply_and_plug(&network, &net(), &guests(&[5])).await.unwrap();
        let rules = sh("iptables-save");
        network.apply(&[net()], &guests(&[5])).await.unwrap();
        assert_eq!(sh("iptables-save | grep -c MASQ"), "1\n", "{rules}");
        let guest = addressed(&lab, 5);
        assert!(guest.pings("192.0.2.2"));
        assert_eq!(guest.sh("socat -t20 -T20 - TCP:192.0.2.2:8000").trim(), "192.0.2.1");
        assert!(
            !outside.try_sh("ip route add 10.0.1.0/24 via 192.0.2.1; ping -c 2 -W 1 10.0.1.5").status.success(),
            "no way in from outside"
        );
        drop(guest);
        network.down().await.unwrap();
        assert!(!sh("iptables-save").contains("wolke"));
    });
}
