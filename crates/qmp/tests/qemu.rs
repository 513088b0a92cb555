//! The link against a real QEMU (package `qemu-system-x86`): no guest runs, only the control socket is exercised.

use qmp::*;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Qemu {
    child: Child,
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Qemu {
    fn start(args: &[&str]) -> Qemu {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp");
        let child = Command::new("qemu-system-x86_64")
            .args(["-nodefaults", "-display", "none", "-S", "-qmp"])
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .args(args)
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-system-x86_64 (package qemu-system-x86) starts");
        let end = Instant::now() + Duration::from_secs(60);
        while !socket.exists() {
            assert!(Instant::now() < end, "QEMU made no socket");
            std::thread::yield_now();
        }
        Qemu { child, socket, _dir: dir }
    }

    async fn link(&self) -> (Qmp, Events) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match Qmp::connect(&self.socket, Limits::default()).await {
                Ok(link) => return link,
                Err(e) => assert!(Instant::now() < end, "{e}"),
            }
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn event(events: &mut Events, want: impl Fn(&Event) -> bool) -> Event {
    let look = async {
        loop {
            let next = events.next().await.expect("the link is open");
            assert!(next.micros.is_some());
            if want(&next.event) {
                return next.event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.expect("the event comes")
}

#[tokio::test]
async fn no_machine() {
    let qemu = Qemu::start(&["-machine", "none", "-uuid", "0c3e7e0e-5cfb-4c7a-9f0b-0123456789ab"]);
    let (link, mut events) = qemu.link().await;
    let version = link.run(&QueryVersion {}).await.unwrap();
    assert_eq!(&version, link.version());
    assert!(version.qemu.major >= 7, "{version:?}");
    assert_eq!(link.run(&QueryUuid {}).await.unwrap().uuid, "0c3e7e0e-5cfb-4c7a-9f0b-0123456789ab");
    let status = link.run(&QueryStatus {}).await.unwrap();
    assert_eq!((status.status, status.running), (RunState::Prelaunch, false));
    let machines = link.run(&QueryMachines {}).await.unwrap();
    for alias in ["pc", "q35"] {
        let m = machines.iter().find(|m| m.alias.as_deref() == Some(alias)).expect(alias);
        assert!(m.name.contains('-') && m.cpu_max > 1, "{m:?}");
    }
    let refused = link.raw("no-such-command", json!({}), Duration::from_secs(60)).await;
    assert!(matches!(refused, Err(Error::Refused { class, .. }) if class == "CommandNotFound"));

    // A QEMU serves one client; the second is greeted only after the first has gone.
    let second = Qmp::connect(&qemu.socket, Limits { answer: Duration::from_millis(200), ..Limits::default() }).await;
    assert!(matches!(second, Err(Error::Timeout { .. })), "{second:?}");

    link.run(&Cont {}).await.unwrap();
    assert_eq!(event(&mut events, |e| *e == Event::Resume).await, Event::Resume);
    link.run(&Quit {}).await.unwrap();
    let end = event(&mut events, |e| matches!(e, Event::Shutdown(_))).await;
    assert_eq!(end, Event::Shutdown(Shutdown { guest: false, reason: "host-qmp-quit".into() }));
    assert!(events.next().await.is_none(), "the link ends with the process");
    assert!(matches!(link.run(&QueryStatus {}).await, Err(Error::Closed)));
}

#[tokio::test]
async fn devices_come_and_go() {
    let qemu = Qemu::start(&["-machine", "pc,accel=tcg", "-m", "64"]);
    let (link, mut events) = qemu.link().await;
    let node = json!({"driver": "null-co", "node-name": "d1", "size": 1 << 20, "read-zeroes": true});
    link.run(&BlockdevAdd(node)).await.unwrap();
    let device: Map<String, Value> =
        serde_json::from_value(json!({"driver": "virtio-blk-pci", "id": "disk1", "drive": "d1", "bus": "pci.0", "addr": "0x11"})).unwrap();
    link.run(&DeviceAdd(device)).await.unwrap();
    let busy = link.run(&BlockdevDel { node_name: "d1".into() }).await;
    assert!(matches!(busy, Err(Error::Refused { .. })), "in use: {busy:?}");
    link.run(&NetdevAdd(json!({"type": "hubport", "id": "n1", "hubid": 0}))).await.unwrap();
    link.run(&NetdevDel { id: "n1".into() }).await.unwrap();

    // A machine that has not run yet lets go at once; a running one asks the guest.
    link.run(&DeviceDel { id: "disk1".into() }).await.unwrap();
    link.run(&SystemReset {}).await.unwrap();
    link.run(&Cont {}).await.unwrap();
    event(&mut events, |e| *e == Event::DeviceDeleted { device: "disk1".into() }).await;
    link.run(&BlockdevDel { node_name: "d1".into() }).await.unwrap();

    // The owner reconnects after the process of an earlier owner has gone.
    drop((link, events));
    let (link, _events) = qemu.link().await;
    assert!(link.run(&QueryStatus {}).await.unwrap().running);
    link.run(&Stop {}).await.unwrap();
    assert_eq!(link.run(&QueryStatus {}).await.unwrap().status, RunState::Paused);
}
