//! The agent over real QEMU, real disks and real HTTP. Guests that only have to exist have no disk: their firmware waits for one.

mod lab;

use api_agent::*;
use lab::{Lab, PATIENCE, image_spec, processes};
use qmp::{GuestAgent, Limits};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

fn id(n: u8) -> String {
    format!("8a7e0f4c-0000-4000-8000-{:06x}0000{n:02x}", std::process::id())
}

fn guest(n: u8) -> GuestSpec {
    GuestSpec {
        id: id(n),
        name: format!("guest-{n}"),
        generation: 1,
        power: Power::On,
        starts: 1,
        stop_timeout_secs: 120,
        vcpu_count: 1,
        vmem_size: 128,
        vga: "none".into(),
        ..Default::default()
    }
}

fn nic(guest: u8, index: i64) -> GuestNic {
    let ifname = format!("wt{:x}g{guest}n{index}", std::process::id());
    let mac = format!("00:22:aa:00:0{guest}:0{index}");
    GuestNic { index, mac, ifname, network_id: "net".into(), driver: "virtio".into(), ..Default::default() }
}

fn disk(lab: &Lab, name: &str, size_mb: i64, image: &str) -> DiskSpec {
    DiskSpec {
        id: name.into(),
        generation: 1,
        storage_path: lab.storage.display().to_string(),
        size_mb,
        format: "qcow2".into(),
        image_id: image.into(),
        ..Default::default()
    }
}

fn guest_disk(name: &str, index: i64) -> GuestDisk {
    GuestDisk { disk_id: name.into(), index, driver: "virtio".into(), cache_mode: "none".into(), boot_index: -1 }
}

/// A document with one booting guest.
fn bootable(lab: &Lab, d: &mut Desired, guest: GuestSpec) {
    d.images = vec![image_spec()];
    d.networks = vec![NetworkSpec { id: "net".into(), ..Default::default() }];
    d.disks = vec![disk(lab, "d0", 100, "testvm")];
    d.guests = vec![GuestSpec { disks: vec![guest_disk("d0", 0)], ..guest }];
}

async fn agent_of(lab: &Lab, id: &str) -> GuestAgent {
    let until = Instant::now() + PATIENCE;
    let connected = async |answer: Duration| {
        let limits = Limits { answer, ..Limits::default() };
        GuestAgent::connect(&lab.guest_file(id, "qga.sock"), limits).await.unwrap()
    };
    loop {
        // One that is not there yet loses what it is asked: it is asked again.
        if let Err(e) = connected(Duration::from_secs(20)).await.ping().await {
            assert!(Instant::now() < until, "{e}");
            continue;
        }
        return connected(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn life_of_a_real_guest() {
    let lab = Lab::new().await;
    let g = id(1);
    let meta = GuestMeta { hostname: "web-1".into(), password: "secret!".into(), ..Default::default() };
    lab.region.edit(|d| bootable(&lab, d, GuestSpec { nics: vec![nic(1, 0)], meta, ..guest(1) }));
    let up = lab.guest(&g, GuestState::Running).await;
    assert!(up.qemu_version.contains('.') && up.vnc.is_empty(), "{up:?}");
    assert_eq!(lab.region.last().disks[0].size_mb, 100, "larger than its image");
    let facts = lab.region.registered().unwrap();
    assert!(facts.accelerator == "tcg" && facts.mem_size > 0 && facts.cpu_count > 0, "{facts:?}");

    lab.said(&g, "ready", 0).await;
    let mut agent = agent_of(&lab, &g).await;
    let seed =
        "modprobe -qa sr_mod isofs; until [ -e /dev/sr0 ]; do sleep 1; done; mount -o ro /dev/sr0 /mnt; cat /mnt/*-data; umount /mnt";
    let seed = run_in(&mut agent, seed).await;
    let (said_id, said_name) = (format!("instance-id: \"{g}\"\nlocal-hostname: web-1\n"), "hostname: web-1\npassword: \"secret!\"\n");
    assert!(seed.starts_with(&said_id) && seed.contains(said_name), "{seed}");

    // The console: what is typed arrives, what is answered comes back. Its log goes on beside it.
    let mut console = UnixStream::connect(lab.guest_file(&g, "serial.sock")).await.unwrap();
    let (mut seen, until) = (String::new(), Instant::now() + PATIENCE);
    while !seen.contains("assword") {
        assert!(Instant::now() < until, "no password prompt: {seen}");
        // Typed again now and then: whoever reads it may not have been there yet.
        console.write_all(b"root\n").await.unwrap();
        let mut piece = [0; 512];
        while let Ok(n) = tokio::time::timeout(Duration::from_secs(3), console.read(&mut piece)).await {
            seen.push_str(&String::from_utf8_lossy(&piece[..n.unwrap()]));
        }
    }
    drop(console);

    // Changes while it runs: a disk, an interface, a larger disk. The guest sees them.
    lab.region.edit(|d| {
        d.disks.push(disk(&lab, "d1", 16, ""));
        d.disks[0].size_mb = 120;
        d.disks[0].generation = 2;
        d.guests[0].disks.push(guest_disk("d1", 1));
        d.guests[0].nics.push(nic(1, 1));
        d.guests[0].generation = 2;
    });
    assert_eq!(lab.guest(&g, GuestState::Running).await.error, "");
    lab.shows("both disks are as wanted", |o| o.disks.iter().map(|d| d.size_mb).eq([120, 16])).await;
    let until = Instant::now() + PATIENCE;
    loop {
        let macs: Vec<_> = agent.interfaces().await.unwrap().into_iter().map(|i| i.hardware_address).collect();
        if macs.contains(&nic(1, 0).mac) && macs.contains(&nic(1, 1).mac) {
            break;
        }
        assert!(Instant::now() < until, "the guest has only {macs:?}");
    }
    // The guest's kernel takes note of a new disk and of a new size in its own time.
    let blocks = |mib: u64| mib << 20 >> 9;
    let wanted = format!("{}\n{}\nd1", blocks(120), blocks(16));
    let until = Instant::now() + PATIENCE;
    loop {
        let sizes = run_in(&mut agent, "cat /sys/block/vda/size /sys/block/vdb/size /sys/block/vdb/serial").await;
        if sizes.trim() == wanted {
            break;
        }
        assert!(Instant::now() < until, "the guest sees {sizes}, not {wanted}");
    }
    lab.change(&g, |g| {
        g.disks.truncate(1);
        g.nics.truncate(1);
    });
    assert_eq!(lab.guest(&g, GuestState::Running).await.error, "");
    assert_eq!(run_in(&mut agent, "ls /sys/block | grep -c vd").await.trim(), "1");
    lab.region.edit(|d| (d.disks[1].existence, d.disks[1].generation) = (Existence::Absent, 2));
    lab.shows("the second disk is deleted", |o| o.disks[1].state == DiskState::Absent).await;
    assert!(!lab.storage.join("disks/d1.qcow2").exists());

    // The reset button: the same process boots again.
    drop(agent);
    lab.region
        .edit(|d| d.jobs = vec![Job { id: "j".into(), work: Work::ResetGuest { guest_id: g.clone() }, request_id: "req-job".into() }]);
    let done = lab.shows("reset", |o| o.jobs.len() == 1).await;
    assert_eq!(done.jobs[0].error, "");
    lab.said(&g, "ready", 1).await;
    assert_eq!(lab.guest(&g, GuestState::Running).await.pid, up.pid);

    // Stopped through its own shutdown.
    lab.change(&g, |g| g.power = Power::Off);
    lab.guest(&g, GuestState::Stopping).await;
    let down = lab.guest(&g, GuestState::Stopped).await;
    assert!(!down.ended_by_itself && down.pid == 0);
    lab.said(&g, "power-button", 0).await;
    assert!(processes(&lab.data()).is_empty());

    // Started, restarted at once by force, shut down from inside.
    lab.change(&g, |g| (g.power, g.starts) = (Power::On, 2));
    let second = lab.guest(&g, GuestState::Running).await;
    lab.change(&g, |g| (g.restarts, g.force_stop) = (1, true));
    let third = lab.guest(&g, GuestState::Running).await;
    assert!(second.pid != third.pid && third.restarts == 1);
    lab.said(&g, "ready", 2).await;
    let mut agent = agent_of(&lab, &g).await;
    agent.call("guest-exec", serde_json::json!({"path": "/sbin/poweroff"})).await.unwrap();
    let ended = lab.guest(&g, GuestState::Stopped).await;
    assert!(ended.ended_by_itself && ended.error == "the guest shut down", "{ended:?}");

    lab.region.edit(|d| {
        (d.guests[0].existence, d.guests[0].generation) = (Existence::Absent, 99);
        (d.disks[0].existence, d.disks[0].generation) = (Existence::Absent, 99);
    });
    lab.guest(&g, GuestState::Absent).await;
    lab.shows("disk deleted", |o| o.disks[0].state == DiskState::Absent).await;
    assert!(!lab.data().join("guests").join(&g).exists());
    assert_eq!(std::fs::read_dir(lab.storage.join("disks")).unwrap().count(), 0);
    assert!(lab.storage.join("imagecache/testvm").exists(), "the next disk needs it");
}

/// Runs a shell command in the guest.
async fn run_in(agent: &mut GuestAgent, script: &str) -> String {
    let arguments = serde_json::json!({"path": "/bin/sh", "arg": ["-c", script], "capture-output": true});
    let pid = agent.call("guest-exec", arguments).await.unwrap()["pid"].clone();
    let until = Instant::now() + PATIENCE;
    loop {
        let status = agent.call("guest-exec-status", serde_json::json!({"pid": pid})).await.unwrap();
        if status["exited"] == true {
            use base64::Engine;
            let out = status["out-data"].as_str().unwrap_or_default();
            return String::from_utf8(base64::engine::general_purpose::STANDARD.decode(out).unwrap()).unwrap();
        }
        assert!(Instant::now() < until, "{script} does not end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uefi_on_the_newer_board() {
    let lab = Lab::new().await;
    let g = id(2);
    let spec = GuestSpec { machine: "q35".into(), bios: "UEFI".into(), vga: "std".into(), vmem_size: 512, vcpu_count: 2, ..guest(2) };
    lab.region.edit(|d| bootable(&lab, d, spec));
    let up = lab.guest(&g, GuestState::Running).await;
    let mut vnc = UnixStream::connect(lab.guest_file(&g, "vnc.sock")).await.unwrap();
    let mut greeting = [0; 4];
    vnc.read_exact(&mut greeting).await.unwrap();
    assert!(&greeting == b"RFB " && up.vnc.ends_with("vnc.sock"));
    let boot = lab.said(&g, "boot", 0).await;
    assert_eq!(boot["cpus"], 2);
    lab.said(&g, "ready", 0).await;
    lab.region.edit(|d| {
        d.disks.push(disk(&lab, "d1", 16, ""));
        d.guests[0].disks.push(GuestDisk { driver: "scsi".into(), ..guest_disk("d1", 1) });
        d.guests[0].disks.push(guest_disk("d2", 2));
        d.disks.push(disk(&lab, "d2", 16, ""));
        d.guests[0].generation = 2;
    });
    assert_eq!(lab.guest(&g, GuestState::Running).await.error, "");
    let mut agent = agent_of(&lab, &g).await;
    let until = Instant::now() + PATIENCE;
    while run_in(&mut agent, "ls /sys/block | grep -c -e vdb -e sda").await.trim() != "2" {
        assert!(Instant::now() < until, "the guest does not see its new disks");
    }
    lab.change(&g, |g| g.disks.truncate(1));
    assert_eq!(lab.guest(&g, GuestState::Running).await.error, "");
    lab.change(&g, |g| (g.power, g.force_stop) = (Power::Off, true));
    lab.guest(&g, GuestState::Stopped).await;
    assert!(lab.guest_file(&g, "firmware-vars.fd").exists(), "what the firmware remembers stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_agent_leaves_guests_alone() {
    let mut lab = Lab::new().await;
    let g = id(3);
    lab.region.edit(|d| {
        d.networks = vec![NetworkSpec { id: "net".into(), ..Default::default() }];
        d.guests = vec![GuestSpec { nics: vec![nic(3, 0)], ..guest(3) }];
    });
    let before = lab.guest(&g, GuestState::Running).await;
    lab.kill_agent();
    assert_eq!(processes(&lab.data()), [before.pid], "the guest outlives the agent's process group");
    lab.start();
    lab.change(&g, |g| g.name = "renamed meanwhile".into());
    let after = lab.guest(&g, GuestState::Running).await;
    assert_eq!(after.pid, before.pid);

    // Killed while it starts a guest, a little later each time: never two processes, and the guest comes up.
    lab.change(&g, |g| (g.power, g.force_stop) = (Power::Off, true));
    lab.guest(&g, GuestState::Stopped).await;
    for round in 0..12u64 {
        lab.change(&g, |g| (g.power, g.starts) = (Power::On, g.starts + 1));
        tokio::time::sleep(Duration::from_millis(round * 40)).await;
        lab.kill_agent();
        lab.start();
        let up = lab.guest(&g, GuestState::Running).await;
        assert_eq!(processes(&lab.data()), [up.pid], "round {round}");
        lab.change(&g, |g| g.power = Power::Off);
        tokio::time::sleep(Duration::from_millis(round * 5)).await;
        lab.kill_agent();
        lab.start();
        let down = lab.guest(&g, GuestState::Stopped).await;
        assert!(!down.ended_by_itself && processes(&lab.data()).is_empty(), "round {round}: {down:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_guest_is_reported_and_not_revived() {
    let mut lab = Lab::new().await;
    let g = id(4);
    lab.region.edit(|d| d.guests = vec![guest(4)]);
    let up = lab.guest(&g, GuestState::Running).await;
    let pid = rustix::process::Pid::from_raw(up.pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let ended = lab.guest(&g, GuestState::Stopped).await;
    assert!(ended.ended_by_itself && ended.error.contains("died"), "{ended:?}");
    lab.kill_agent();
    lab.start();
    lab.change(&g, |g| g.name = "renamed".into());
    assert!(lab.guest(&g, GuestState::Stopped).await.ended_by_itself);
    lab.change(&g, |g| g.starts = 2);
    let again = lab.guest(&g, GuestState::Running).await;

    // A process number in a file proves nothing: with the guest gone and its number another's, nothing is taken over or killed.
    let mut bystander = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    lab.kill_agent();
    rustix::process::kill_process(rustix::process::Pid::from_raw(again.pid as i32).unwrap(), rustix::process::Signal::KILL).unwrap();
    std::fs::write(lab.guest_file(&g, "pid"), bystander.id().to_string()).unwrap();
    lab.start();
    lab.change(&g, |g| (g.power, g.force_stop) = (Power::Off, true));
    lab.guest(&g, GuestState::Stopped).await;
    assert!(bystander.try_wait().unwrap().is_none(), "the bystander lives");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

/// This one has nothing but its firmware: no agent will ever answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_agent_keeps_nobody_waiting() {
    let lab = Lab::new().await;
    let g = id(9);
    lab.region.edit(|d| d.guests = vec![guest(9)]);
    lab.guest(&g, GuestState::Running).await;
    lab.change(&g, |g| (g.meta.password, g.meta.password_generation) = ("second".into(), 2));
    lab.shows("the password is waited for", |o| o.guests[0].generation == 1).await;
    let began = Instant::now();
    lab.change(&g, |g| (g.power, g.force_stop) = (Power::Off, true));
    let down = lab.guest(&g, GuestState::Stopped).await;
    assert!(began.elapsed() < Duration::from_secs(50), "after {:?}, when the agent is given up", began.elapsed());
    assert!(down.error.is_empty() && !down.ended_by_itself, "{down:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_says_why() {
    let lab = Lab::new().await;
    lab.region.edit(|d| {
        d.images = vec![ImageSpec { checksum: "0".repeat(32), ..image_spec() }];
        d.disks = vec![
            disk(&lab, "d0", 100, "testvm"),
            disk(&lab, "d1", 100, "nowhere"),
            DiskSpec { storage_path: "/etc".into(), ..disk(&lab, "d2", 100, "") },
        ];
        d.guests = vec![
            GuestSpec { disks: vec![guest_disk("d0", 0)], ..guest(5) },
            GuestSpec { machine: "toaster".into(), ..guest(6) },
            GuestSpec { vmem_size: 1 << 40, ..guest(7) },
        ];
    });
    let seen = lab.shows("all have failed", |o| o.guests.len() == 3 && o.guests.iter().all(|g| g.state == GuestState::Failed)).await;
    let said: Vec<_> = seen.guests.iter().map(|g| g.error.clone()).collect();
    assert!(said[0].contains("arrived with checksum") && said[0].contains(&"0".repeat(32)), "{said:?}");
    assert!(said[1].contains("machine toaster is not supported"), "{said:?}");
    assert!(said[2].contains("did not start") || said[2].contains("memory"), "{said:?}");
    assert!(seen.disks[1].error.contains("image nowhere is not in the document"), "{:?}", seen.disks);
    assert!(seen.disks[2].error.contains("/etc is not a storage"), "{:?}", seen.disks);
    assert_eq!(std::fs::read_dir(lab.storage.join("imagecache")).unwrap().count(), 0, "nothing of a wrong image stays");

    // The right checksum under a newer generation is tried.
    lab.region.edit(|d| {
        d.images = vec![image_spec()];
        d.disks.truncate(1);
        d.disks[0].generation = 2;
        d.guests.clear();
    });
    lab.shows("the disk is made", |o| o.disks[0].state == DiskState::Ready).await;
}

/// A small file system of its own, gone with the test.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(size: &str) -> Tmpfs {
        let dir = tempfile::Builder::new().prefix("full").tempdir().unwrap().keep();
        let done = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&dir).status();
        assert!(done.is_ok_and(|s| s.success()), "mounting a tmpfs needs root");
        Tmpfs(dir)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_storage_is_told_and_survived() {
    let small = Tmpfs::mount("24m");
    let lab = Lab::without_agent(Some(small.0.clone())).await.with_agent();
    let g = id(8);
    std::fs::write(small.0.join("ballast"), vec![0; 16 << 20]).unwrap();
    lab.region.edit(|d| bootable(&lab, d, guest(8)));
    let failed = lab.guest(&g, GuestState::Failed).await;
    assert!(failed.error.contains("needs 19 MiB but the storage at"), "{failed:?}");
    // Room is made, the disk asked for anew: it comes, and the guest runs until it has filled what is left.
    std::fs::remove_file(small.0.join("ballast")).unwrap();
    lab.region.edit(|d| (d.disks[0].generation, d.guests[0].generation) = (2, 2));
    lab.guest(&g, GuestState::Running).await;
    lab.said(&g, "ready", 0).await;
    let mut agent = agent_of(&lab, &g).await;
    let fill = serde_json::json!({"path": "/bin/sh", "arg": ["-c", "cat /dev/urandom > /fill; sync"]});
    agent.call("guest-exec", fill).await.unwrap();
    let paused = lab.guest(&g, GuestState::Paused).await;
    assert!(paused.error.contains("the storage under a disk is full") && paused.pid > 0, "{paused:?}");
    lab.change(&g, |g| (g.power, g.force_stop) = (Power::Off, true));
    lab.guest(&g, GuestState::Stopped).await;
}
