//! The whole platform with its real agent, Open vSwitch and QEMU, killed in every part. Each test has a machine of its own.
//!
//! `WOLKE_SEED` repeats what was drawn, `WOLKE_ROUNDS` goes on for longer.

mod lab;

use lab::machine::{kill, on_a_machine, wait};
use lab::{Platform, dice::Dice, qga::GuestAgent, unsettled, until_none, users::Users};
use serde_json::json;
use std::time::{Duration, Instant};
use store::Db;

const ROUNDS: usize = 18;
/// Three times what everything together may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// What came of the test, when it failed.
struct Witness<'a>(&'a Platform, u64);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}\ncontrol plane and agent: {}", self.1, self.0.log("up.log"));
        }
    }
}

async fn look(platform: &Platform, rows: &Db) -> Vec<String> {
    let mut found: Vec<String> = match platform.servers().await {
        Ok(servers) => servers.iter().filter_map(unsettled).collect(),
        Err(e) => vec![format!("servers cannot be listed: {e}")],
    };
    found.extend(testkit::ledger::faults(rows).await.expect("the region's books"));
    found.extend(platform.strays_of_host(rows).await);
    found
}

#[test]
fn vm_platform_survives_random_kills() {
    on_a_machine("vm_platform_survives_random_kills", async || {
        let rounds = std::env::var("WOLKE_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("WOLKE_ROUNDS is a number"));
        let mut dice = Dice::new();
        eprintln!("seed {}", dice.seed);
        let started = Instant::now();
        let mut platform = Platform::start(&[], false).await;
        platform.host_is_online().await;
        eprintln!("host online after {:?}", started.elapsed());
        let rows = platform.rows().await;
        // Nothing to boot: its firmware looks for a system for ever, at little cost, and does not mind the power button.
        let like = json!({"vcpu_count": 1, "vmem_size": 32, "disks": ["1g"], "nets": ["default"], "disable_delete": false});
        let mut users = Users::new(5, like, false);
        // Each of another image, so that it is being fetched when something dies.
        let pictures = rounds.min(6);
        for n in 1..=pictures {
            let file = platform.dir.path().join("picture");
            std::fs::write(&file, vec![n as u8; 48 << 20]).expect("a file");
            platform.upload(&format!("picture-{n}"), "raw", &file);
        }
        for round in 1..=rounds {
            if round <= pictures {
                platform.create(&format!("of-picture-{round}"), &format!("picture-{round}:1g"), 32).await;
            }
            let wishes: Vec<_> = (0..2 + dice.roll(2)).map(|_| users.wish(&mut dice)).collect();
            let longest = if round <= pictures { 600 } else { 2500 };
            let (moment, whom) = (dice.up_to(Duration::from_millis(longest)), round % 3);
            let pick = dice.roll(64);
            let asked = futures_util::future::join_all(wishes.into_iter().map(|w| w.ask(&platform)));
            let death = async {
                tokio::time::sleep(moment).await;
                match whom {
                    0 => platform.kill_control(),
                    1 => platform.agent().into_iter().for_each(kill),
                    _ => {
                        let qemus = platform.qemus();
                        if !qemus.is_empty() {
                            kill(qemus[pick % qemus.len()].1);
                        }
                    }
                }
            };
            let (answers, ()) = tokio::join!(asked, death);
            for (told, gone) in answers {
                eprintln!("round {round}: {told}");
                if let Some(name) = gone {
                    users.forget(&name);
                }
            }
            eprintln!("round {round}: {} killed after {moment:?}", ["control plane", "agent", "a QEMU"][whom]);
            if whom == 0 {
                platform.start_control().await;
            }
        }
        let _witness = Witness(&platform, dice.seed);
        let since = Instant::now();
        until_none(PATIENCE, async || look(&platform, &rows).await).await;
        eprintln!("all well after {:?}", since.elapsed());
        for server in platform.servers().await.expect("servers") {
            let name = server["name"].as_str().expect("a name");
            platform.delete(name).await.unwrap_or_else(|e| panic!("{name} cannot be deleted: {e}"));
        }
        until_none(PATIENCE, async || {
            let mut found = look(&platform, &rows).await;
            found.extend(platform.servers().await.expect("servers").iter().map(|s| format!("{s}")));
            found
        })
        .await;
        assert_eq!(platform.qemus(), vec![]);
        eprintln!("all gone after {:?}", started.elapsed());
    });
}

#[test]
fn vm_guests_live_on_without_a_control_plane() {
    on_a_machine("vm_guests_live_on_without_a_control_plane", async || {
        let mut platform = Platform::start(&[], false).await;
        platform.host_is_online().await;
        platform.upload_guest();
        platform.create("web", "testvm", 128).await;
        {
            let _witness = Witness(&platform, 0);
            until_none(PATIENCE, async || match platform.get("servers/web").await {
                Ok(web) if web["server"]["status"] == "running" => vec![],
                other => vec![format!("{other:?}")],
            })
            .await;
        }
        let (id, pid) = platform.qemus().pop().expect("a process");
        let console = platform.host_data().join("guests").join(&id).join("serial.log");
        let said = |event: &str| {
            let text = String::from_utf8_lossy(&std::fs::read(&console).unwrap_or_default()).into_owned();
            text.lines().filter(|l| l.contains("@guest ") && l.contains(&format!(r#""event":"{event}""#))).count()
        };
        wait("the guest", || (said("ready") > 0).then_some(())).await;
        let guest = GuestAgent::new(&platform.host_data().join("guests").join(&id).join("qga.sock"));
        let metadata = "timeout 20 wget -q -O - http://169.254.169.254/latest/meta-data/instance-id";
        let before = guest.run(metadata).await;
        assert!(!before.is_empty());

        // The control plane is gone, and the guest does not notice.
        platform.kill_control();
        let agent = platform.agent().expect("an agent");
        assert_eq!(guest.run(metadata).await, before);
        // Each lease the guest is given is written there.
        let renew = "rm /etc/resolv.conf; kill -USR1 $(cat /run/guest/udhcpc.eth0.pid); \
                     for i in $(seq 100); do [ -e /etc/resolv.conf ] && exit 0; sleep 1; done; exit 1";
        guest.run(renew).await;
        assert_eq!(platform.qemus(), [(id.clone(), pid)]);
        assert_eq!(platform.agent(), Some(agent), "the agent does not mind");

        platform.start_control().await;
        let _witness = Witness(&platform, 0);
        // It is asked for something new: the agent has found its way back.
        platform.create("second", "1g", 32).await;
        until_none(PATIENCE, async || match platform.get("servers/second").await {
            Ok(second) if second["server"]["status"] == "running" => vec![],
            other => vec![format!("{other:?}")],
        })
        .await;
        let web = platform.get("servers/web").await.expect("a server");
        assert_eq!((web["server"]["status"].as_str(), web["server"]["power_states"].as_str()), (Some("running"), Some("on")));
        assert!(platform.qemus().contains(&(id.clone(), pid)), "the guest was not touched: {:?}", platform.qemus());

        // And an agent that is killed is started anew and takes its guests over as they are.
        kill(agent);
        wait("another agent", || platform.agent().filter(|now| *now != agent)).await;
        platform.post("servers/second/stop", json!({"is_force": true})).await.expect("it is taken");
        until_none(PATIENCE, async || match platform.get("servers/second").await {
            Ok(second) if second["server"]["status"] == "ready" => vec![],
            other => vec![format!("{other:?}")],
        })
        .await;
        assert_eq!(platform.qemus(), [(id, pid)]);
        assert_eq!(guest.run(metadata).await, before);
    });
}

/// A file system of its own, of so many KiB.
fn mount(place: &std::path::Path, how: &str, kib: u64) {
    let options = format!("{how}size={kib}k");
    let done = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(place).status().expect("mount");
    assert!(done.success(), "mount -o {options} {}", place.display());
}

/// KiB in use.
fn used(place: &std::path::Path) -> u64 {
    let stat = rustix::fs::statvfs(place).expect("a file system");
    (stat.f_blocks - stat.f_bfree) * stat.f_frsize / 1024
}

#[test]
fn vm_full_disks_are_told_and_nothing_stays() {
    on_a_machine("vm_full_disks_are_told_and_nothing_stays", async || {
        const ROOM: u64 = 24 << 20;
        let mut platform = Platform::start(&["--no-host"], false).await;
        let storage = platform.host_data().join("storage");
        std::fs::create_dir_all(&storage).expect("a directory");
        mount(&storage, "", ROOM);
        platform.kill_control();
        platform.want_host();
        platform.start_control().await;
        let _witness = Witness(&platform, 0);
        platform.host_is_online().await;
        let rows = platform.rows().await;
        let file = platform.dir.path().join("picture");
        std::fs::write(&file, vec![7; 48 << 20]).expect("a file");
        platform.upload("picture", "raw", &file);

        // There is room for some of the image; then for nothing at all.
        for (name, disk, free, told) in
            [("half", "picture:1g", 16 << 10, "needs 48 MiB but the storage"), ("none", "1g", 0, "is full; free some space")]
        {
            mount(&storage, "remount,", used(&storage).max(4) + free);
            platform.create(name, disk, 32).await;
            until_none(PATIENCE, async || match platform.get(&format!("servers/{name}")).await {
                Ok(it) if it["server"]["status"] == "disk_fail" => {
                    let reason = it["server"]["status_reason"].as_str().unwrap_or_default();
                    assert!(reason.contains(told), "{name}: {reason}");
                    vec![]
                }
                other => vec![format!("{other:?}")],
            })
            .await;
            platform.delete(name).await.expect("it can be deleted");
            until_none(PATIENCE, async || {
                let mut found = look(&platform, &rows).await;
                found.extend(platform.servers().await.expect("servers").iter().map(|s| format!("{s}")));
                found
            })
            .await;
        }
        // The agent and its region went on, and once there is room again so does everything else.
        mount(&storage, "remount,", ROOM);
        platform.create("again", "picture:1g", 32).await;
        until_none(PATIENCE, async || match platform.get("servers/again").await {
            Ok(it) if it["server"]["status"] == "running" => vec![],
            other => vec![format!("{other:?}")],
        })
        .await;
        until_none(PATIENCE, async || look(&platform, &rows).await).await;
    });
}
