//! One running QEMU: its control link, and a watcher that knows when it ends.

use super::{Paths, ability, args};
use crate::hypervisor::{Life, Machine, MachineFacts, PlanDisk, PlanNic, disk_device, nic_device};
use api_agent::{GuestDisk, GuestNic};
use base::{Error, Result, err};
use host_net::BoxFuture;
use qmp::{
    BlockResize, BlockdevAdd, BlockdevDel, DeviceAdd, DeviceDel, Event, NetdevAdd, NetdevDel, Qmp, QueryStatus, Quit, RunState,
    SystemPowerdown, SystemReset,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// How long a process may take to end by itself.
const POLITE: Duration = Duration::from_secs(10);
/// How long a guest may take to let go of a device.
const UNPLUG: Duration = Duration::from_secs(60);

pub(super) struct QemuMachine {
    link: Option<Qmp>,
    life: watch::Receiver<Life>,
    facts: MachineFacts,
    /// Stands for the process itself, whoever gets its number afterwards.
    process: Arc<OwnedFd>,
    /// Devices the guest has let go of, the latest last.
    unplugged: watch::Receiver<Vec<String>>,
}

impl QemuMachine {
    /// Takes over the process with this pid; `None` when it ended meanwhile.
    pub async fn adopt(guest: &str, pid: u32, paths: Paths) -> Option<QemuMachine> {
        let process = Arc::new(pidfd_open(Pid::from_raw(pid as i32)?, PidfdFlags::empty()).ok()?);
        // Between reading the pid and opening it the process may have been replaced.
        if !super::is_ours(pid, &paths) {
            return None;
        }
        let (link, events) = match ability::connect(&paths.qmp()).await {
            Ok((link, events)) => (Some(link), Some(events)),
            Err(e) => {
                tracing::warn!(guest, pid, error = %e, "a guest runs but its control socket does not answer");
                (None, None)
            }
        };
        let begin = match &link {
            Some(link) => state(link).await,
            None => Life::Silent,
        };
        let (life_in, life) = watch::channel(begin);
        let (unplugged_in, unplugged) = watch::channel(Vec::new());
        tokio::spawn(watch_over(process.clone(), events, life_in, unplugged_in));
        let vnc = paths.vnc();
        let facts = MachineFacts {
            pid,
            qemu_version: link
                .as_ref()
                .map(|l| l.version())
                .map(|v| format!("{}.{}.{}", v.qemu.major, v.qemu.minor, v.qemu.micro))
                .unwrap_or_default(),
            vnc: if vnc.exists() { vnc.display().to_string() } else { String::new() },
            serial: paths.serial().display().to_string(),
            machine_type: machine_type(pid),
        };
        Some(QemuMachine { link, life, facts, process, unplugged })
    }

    fn link(&self) -> Result<&Qmp> {
        self.link.as_ref().ok_or_else(|| err!(ServiceAbnormal, "the guest's control socket does not answer; restart the server"))
    }

    /// Whether its root bus takes no further devices: then they go into root ports.
    fn q35(&self) -> bool {
        self.facts.machine_type.contains("q35")
    }

    async fn devices(&self) -> Result<Vec<String>> {
        let list = self.link()?.raw("qom-list", json!({"path": "/machine/peripheral"}), Duration::from_secs(20)).await.map_err(refused)?;
        Ok(list.as_array().into_iter().flatten().filter_map(|d| d["name"].as_str()).filter(|n| *n != "type").map(str::to_string).collect())
    }

    /// A root port nothing sits in.
    async fn free_port(&self) -> Result<Option<String>> {
        if !self.q35() {
            return Ok(None);
        }
        let link = self.link()?;
        let tree = link.raw("query-pci", json!({}), Duration::from_secs(20)).await.map_err(refused)?;
        let mut free = Vec::new();
        for device in tree[0]["devices"].as_array().into_iter().flatten() {
            let id = device["qdev_id"].as_str().unwrap_or_default();
            let empty = device["pci_bridge"]["devices"].as_array().is_none_or(Vec::is_empty);
            if id.starts_with("rp") && empty {
                free.push(id.to_string());
            }
        }
        free.sort();
        match free.into_iter().next() {
            Some(port) => Ok(Some(port)),
            None => Err(err!(InsufficientResource, "the guest has no free slot for a further device; stop and start it")),
        }
    }

    async fn unplug(&self, device: &str) -> Result<bool> {
        if !self.devices().await?.iter().any(|d| d == device) {
            return Ok(false);
        }
        let mut gone = self.unplugged.clone();
        gone.borrow_and_update();
        self.link()?.run(&DeviceDel { id: device.to_string() }).await.map_err(refused)?;
        let end = tokio::time::Instant::now() + UNPLUG;
        // The event may be lost; what counts is that the device is no longer there.
        while self.devices().await?.iter().any(|d| d == device) {
            if tokio::time::Instant::now() >= end {
                return Err(err!(Timeout, "the guest does not let go of {}; try again when it is idle", device));
            }
            let _woken = tokio::time::timeout(Duration::from_secs(1), gone.changed()).await;
        }
        Ok(true)
    }
}

fn refused(e: qmp::Error) -> Error {
    err!(ServiceAbnormal, "QEMU refused: {}", e)
}

async fn state(link: &Qmp) -> Life {
    match link.run(&QueryStatus {}).await {
        Ok(status) if status.running => Life::Running,
        Ok(status) => paused(status.status),
        Err(_) => Life::Silent,
    }
}

fn paused(state: RunState) -> Life {
    Life::Paused { reason: format!("{state:?}").to_lowercase() }
}

/// The versioned machine type in a process's command line.
fn machine_type(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    let at = words.iter().position(|w| w == "-machine");
    at.and_then(|i| words.get(i + 1)).and_then(|w| w.split(',').next()).unwrap_or_default().to_string()
}

/// Follows the events until the process ends.
async fn watch_over(
    process: Arc<OwnedFd>,
    mut events: Option<qmp::Events>,
    life: watch::Sender<Life>,
    unplugged: watch::Sender<Vec<String>>,
) {
    let mut reason = String::from("its process was killed");
    let ended = async {
        // A pidfd becomes readable when its process has ended.
        // A descriptor of our own, closed only after the registration is gone; the newer constructor is unsafe code.
        #[allow(deprecated)]
        let watched = process.try_clone().and_then(AsyncFd::new);
        match watched {
            Ok(fd) => drop(fd.readable().await),
            Err(e) => {
                tracing::error!(error = %e, "a guest's process cannot be watched");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::pin!(ended);
    loop {
        let event = async {
            match &mut events {
                Some(events) => events.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Events first: the one that says why it ended comes before the end.
            biased;
            event = event => match event {
                Some(timed) => match timed.event {
                    Event::Shutdown(s) => reason = if s.guest { format!("the guest shut down ({})", s.reason) } else { format!("it was ended ({})", s.reason) },
                    Event::GuestPanicked => reason = "the guest's kernel panicked".into(),
                    Event::Stop => drop(life.send(Life::Paused { reason: "stopped".into() })),
                    Event::Resume => drop(life.send(Life::Running)),
                    Event::DeviceDeleted { device } => unplugged.send_modify(|list| list.push(device)),
                    Event::BlockIoError(e) if e.action == "stop" => drop(life.send(Life::Paused { reason: format!("disk error: {}", e.reason) })),
                    _ => {}
                },
                None => events = None,
            },
            () = &mut ended => break,
        }
    }
    drop(life.send(Life::Gone { reason }));
}

impl Machine for QemuMachine {
    fn life(&self) -> watch::Receiver<Life> {
        self.life.clone()
    }

    fn facts(&self) -> MachineFacts {
        self.facts.clone()
    }

    fn power_down(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.link()?.run(&SystemPowerdown {}).await.map(drop).map_err(refused) })
    }

    fn reset(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.link()?.run(&SystemReset {}).await.map(drop).map_err(refused) })
    }

    fn end(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let mut life = self.life.clone();
            if life.borrow().is_gone() {
                return Ok(());
            }
            if let Some(link) = &self.link {
                // The link breaks when it obeys; what counts is the end of the process.
                let _answer = link.run(&Quit {}).await;
                if tokio::time::timeout(POLITE, life.wait_for(Life::is_gone)).await.is_ok() {
                    return Ok(());
                }
            }
            // An error means that it has just ended.
            let _ended = pidfd_send_signal(self.process.as_ref(), Signal::KILL);
            match tokio::time::timeout(POLITE, life.wait_for(Life::is_gone)).await {
                Ok(_) => Ok(()),
                Err(_) => Err(err!(Timeout, "process {} does not end though it was killed; its disk may hang", self.facts.pid)),
            }
        })
    }

    fn plugged(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(self.devices())
    }

    fn plug_disk<'a>(&'a self, disk: &'a PlanDisk) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if self.devices().await?.contains(&disk_device(disk.disk.index)) {
                return Ok(());
            }
            if matches!(disk.disk.driver.as_str(), "ide" | "sata") {
                return Err(err!(
                    InvalidStatus,
                    "a {} disk cannot be added to a running guest; stop it first, or use scsi or virtio",
                    disk.disk.driver
                ));
            }
            let link = self.link()?;
            let node = args::node_name(disk.disk.index);
            // A node of an earlier try that failed half-way is in the way.
            let _left_over = link.run(&BlockdevDel { node_name: node.clone() }).await;
            link.run(&BlockdevAdd(args::node(disk))).await.map_err(refused)?;
            let port = if disk.disk.driver == "virtio" { self.free_port().await? } else { None };
            let mut properties = args::disk_properties(disk, self.q35(), port.as_deref());
            properties.remove("bootindex");
            let added = link.run(&DeviceAdd(properties)).await;
            if let Err(e) = added {
                let _undone = link.run(&BlockdevDel { node_name: node }).await;
                return Err(refused(e));
            }
            Ok(())
        })
    }

    fn unplug_disk<'a>(&'a self, disk: &'a GuestDisk) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.unplug(&disk_device(disk.index)).await?;
            match self.link()?.run(&BlockdevDel { node_name: args::node_name(disk.index) }).await {
                Ok(_) | Err(qmp::Error::Refused { .. }) => Ok(()),
                Err(e) => Err(refused(e)),
            }
        })
    }

    fn plug_nic<'a>(&'a self, nic: &'a PlanNic) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if self.devices().await?.contains(&nic_device(nic.nic.index)) {
                return Ok(());
            }
            let link = self.link()?;
            let backend = args::netdev_name(nic.nic.index);
            let _left_over = link.run(&NetdevDel { id: backend.clone() }).await;
            link.run(&NetdevAdd(args::netdev(nic))).await.map_err(refused)?;
            let port = self.free_port().await?;
            if let Err(e) = link.run(&DeviceAdd(args::nic_properties(nic, port.as_deref()))).await {
                let _undone = link.run(&NetdevDel { id: backend }).await;
                return Err(refused(e));
            }
            Ok(())
        })
    }

    fn unplug_nic<'a>(&'a self, nic: &'a GuestNic) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.unplug(&nic_device(nic.index)).await?;
            match self.link()?.run(&NetdevDel { id: args::netdev_name(nic.index) }).await {
                Ok(_) | Err(qmp::Error::Refused { .. }) => Ok(()),
                Err(e) => Err(refused(e)),
            }
        })
    }

    fn grow_disk<'a>(&'a self, disk: &'a GuestDisk, bytes: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let command = BlockResize { node_name: args::node_name(disk.index), size: bytes };
            self.link()?.run(&command).await.map(drop).map_err(refused)
        })
    }
}
