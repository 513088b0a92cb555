//! One guest's process: its control link, its life, and what can be done to it.
//!
//! A task follows the process. While the link is up, events keep [`Life`] true; when it breaks and the process lives, the life is `Silent`
//! and the link is made anew; when the process ends, the last events say why.

use super::devices::{Board, disk_device_of, disk_node, netdev, nic_device_of};
use super::files::GuestFiles;
use super::process::Process;
use crate::hypervisor::{Life, Machine, MachineFacts, PlanDisk, PlanNic, disk_device, nic_device};
use api_agent::{GuestDisk, GuestNic};
use base::{Error, Result, err};
use base64::{Engine, engine::general_purpose::STANDARD};
use host_net::BoxFuture;
use qmp::{Event, Events, GuestAgent, Limits, Qmp, RunState};
use rustix::process::Signal;
use serde_json::json;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// A busy host may hold a QEMU up for long.
const LINK: Limits = Limits { message: 4 << 20, answer: Duration::from_secs(30), events: 256 };
/// A guest has this long to let go of a device.
const LET_GO: Duration = Duration::from_secs(60);
/// A guest's agent: what it says is short, and it may not be there yet, or never.
const AGENT: Limits = Limits { message: 1 << 20, answer: Duration::from_secs(10), events: 1 };
/// A guest has this long to boot as far as to its agent.
const AGENT_THERE: Duration = Duration::from_secs(60);

pub(super) struct QemuMachine {
    shared: Arc<Shared>,
    board: Board,
    follower: JoinHandle<()>,
}

struct Shared {
    id: String,
    files: GuestFiles,
    process: Process,
    life: watch::Sender<Life>,
    link: watch::Sender<Option<Qmp>>,
    facts: Mutex<MachineFacts>,
}

impl Shared {
    fn facts(&self) -> MutexGuard<'_, MachineFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QemuMachine {
    /// Follows a process; `link` when one is made already.
    pub fn follow(id: &str, files: GuestFiles, process: Process, machine_type: &str, link: Option<(Qmp, Events)>) -> QemuMachine {
        let vnc = if files.vnc().exists() { files.vnc().display().to_string() } else { String::new() };
        let facts = MachineFacts {
            pid: process.pid,
            qemu_version: String::new(),
            vnc,
            serial: files.serial().display().to_string(),
            machine_type: machine_type.to_string(),
        };
        let shared = Arc::new(Shared {
            id: id.to_string(),
            files,
            process,
            life: watch::Sender::new(if link.is_some() { Life::Running } else { Life::Silent }),
            link: watch::Sender::new(None),
            facts: Mutex::new(facts),
        });
        let follower = tokio::spawn(follow(shared.clone(), link));
        QemuMachine { shared, board: Board::of(machine_type), follower }
    }

    /// The link, waiting a little for one that is being made.
    async fn link(&self) -> Result<Qmp> {
        let mut link = self.shared.link.subscribe();
        let found = timeout(LINK.answer, link.wait_for(Option::is_some)).await;
        let found = found.ok().and_then(|r| r.ok()).and_then(|l| l.clone());
        found.ok_or_else(|| err!(Timeout, "the hypervisor process of guest {} does not answer", self.shared.id))
    }

    async fn run<C: qmp::Command>(&self, command: C) -> Result<C::Reply> {
        self.link().await?.run(&command).await.map_err(|e| self.refusal(e))
    }

    fn refusal(&self, e: qmp::Error) -> Error {
        match e {
            qmp::Error::Refused { desc, .. } => err!(ServiceAbnormal, "the hypervisor refused: {}", desc).with_context(&self.shared.id),
            other => err!(Timeout, "the hypervisor process of guest {} does not answer", self.shared.id).with_context(other),
        }
    }

    /// Undoes what may be left of something half-plugged; that there is nothing to undo is no error.
    async fn clear(&self, command: &str, key: &str, name: &str) -> Result<()> {
        match self.link().await?.raw(command, json!({ key: name }), LINK.answer).await {
            Ok(_) | Err(qmp::Error::Refused { .. }) => Ok(()),
            Err(e) => Err(self.refusal(e)),
        }
    }

    async fn devices(&self) -> Result<Vec<String>> {
        let list = self.link().await?.raw("qom-list", json!({"path": "/machine/peripheral"}), LINK.answer).await;
        let list = list.map_err(|e| self.refusal(e))?;
        let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(entries.iter().filter_map(|e| e["name"].as_str()).map(str::to_string).collect())
    }

    /// Asks the guest to let go of a device until it has. A guest that is still booting misses the first request.
    async fn let_go(&self, device: &str) -> Result<()> {
        let until = Instant::now() + LET_GO;
        let mut ask_again = Instant::now();
        while self.devices().await?.iter().any(|d| d == device) {
            if Instant::now() >= until {
                return Err(err!(Timeout, "the guest did not let go of {}; shut it down to take it away", device));
            }
            if Instant::now() >= ask_again {
                // Refused while an earlier request is pending, which is as good.
                self.clear("device_del", "id", device).await?;
                ask_again = Instant::now() + Duration::from_secs(10);
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The channel of the guest's agent, whether one listens or not.
    async fn agent(&self) -> qmp::Result<GuestAgent> {
        GuestAgent::connect(&self.shared.files.agent(), AGENT).await
    }

    /// Asks until the agent answers.
    async fn await_agent(&self) -> Result<()> {
        let until = Instant::now() + AGENT_THERE;
        loop {
            let told = match self.agent().await {
                Ok(mut agent) => match agent.ping().await {
                    Ok(()) => return Ok(()),
                    Err(e) => e,
                },
                Err(e) => e,
            };
            if Instant::now() >= until || self.shared.life.borrow().is_gone() {
                return Err(silent_agent().with_context(told));
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn gone_within(&self, within: Duration) -> bool {
        let mut life = self.shared.life.subscribe();
        timeout(within, life.wait_for(Life::is_gone)).await.is_ok()
    }
}

impl Drop for QemuMachine {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Machine for QemuMachine {
    fn life(&self) -> watch::Receiver<Life> {
        self.shared.life.subscribe()
    }

    fn facts(&self) -> MachineFacts {
        self.shared.facts().clone()
    }

    fn power_down(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.run(qmp::SystemPowerdown {}).await.map(drop) })
    }

    fn reset(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.run(qmp::SystemReset {}).await.map(drop) })
    }

    fn end(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            // Both flush the disks; the second also reaches a process whose control socket is lost.
            let link = self.shared.link.borrow().clone();
            if let Some(link) = link {
                let _ = timeout(Duration::from_secs(5), link.run(&qmp::Quit {})).await;
            }
            if !self.gone_within(Duration::from_secs(5)).await {
                self.signal(Signal::TERM)?;
            }
            if !self.gone_within(Duration::from_secs(5)).await {
                tracing::warn!(guest = %self.shared.id, "killed, for it did not end when told");
                self.signal(Signal::KILL)?;
            }
            if self.gone_within(Duration::from_secs(60)).await {
                return Ok(());
            }
            Err(err!(Timeout, "the hypervisor process {} of guest {} cannot be ended", self.shared.process.pid, self.shared.id))
        })
    }

    fn plugged(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(self.devices())
    }

    fn plug_disk<'a>(&'a self, disk: &'a PlanDisk) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let name = disk_device(disk.disk.index);
            if self.devices().await?.contains(&name) {
                return Ok(());
            }
            let device = disk_device_of(disk, self.board, 0)?;
            self.clear("blockdev-del", "node-name", &name).await?;
            self.run(qmp::BlockdevAdd(disk_node(disk))).await?;
            if let Err(e) = self.run(qmp::DeviceAdd(device)).await {
                self.clear("blockdev-del", "node-name", &name).await?;
                return Err(e);
            }
            Ok(())
        })
    }

    fn unplug_disk<'a>(&'a self, disk: &'a GuestDisk) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let name = disk_device(disk.index);
            self.let_go(&name).await?;
            self.clear("blockdev-del", "node-name", &name).await
        })
    }

    fn plug_nic<'a>(&'a self, nic: &'a PlanNic) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if self.devices().await?.contains(&nic_device(nic.nic.index)) {
                return Ok(());
            }
            let device = nic_device_of(nic, self.board, 0)?;
            let backend = format!("net{}", nic.nic.index);
            self.clear("netdev_del", "id", &backend).await?;
            self.run(qmp::NetdevAdd(netdev(nic))).await?;
            if let Err(e) = self.run(qmp::DeviceAdd(device)).await {
                self.clear("netdev_del", "id", &backend).await?;
                return Err(e);
            }
            Ok(())
        })
    }

    fn unplug_nic<'a>(&'a self, nic: &'a GuestNic) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.let_go(&nic_device(nic.index)).await?;
            self.clear("netdev_del", "id", &format!("net{}", nic.index)).await
        })
    }

    fn grow_disk<'a>(&'a self, disk: &'a GuestDisk, bytes: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.run(qmp::BlockResize { node_name: disk_device(disk.index), size: bytes }).await.map(drop) })
    }

    fn agent_answers(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.await_agent())
    }

    fn set_password<'a>(&'a self, account: &'a str, password: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let account = if account.is_empty() { "root" } else { account };
            let mut agent = self.agent().await.map_err(|e| silent_agent().with_context(e))?;
            agent.set_user_password(account, &STANDARD.encode(password)).await.map_err(|e| match e {
                qmp::Error::Refused { desc, .. } => {
                    err!(ServiceAbnormal, "the guest's agent refused the password of {}: {}", account, desc)
                }
                other => silent_agent().with_context(other),
            })
        })
    }
}

impl QemuMachine {
    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.shared.process.pid;
        self.shared.process.signal(signal).map_err(|e| err!(Internal, "process {} cannot be signalled: {}", pid, e))
    }
}

fn silent_agent() -> Error {
    err!(
        Timeout,
        "the guest's agent does not answer; install and start qemu-guest-agent in it, or stop the server to give it the password at its next start"
    )
}

/// Until the process ends.
async fn follow(shared: Arc<Shared>, mut made: Option<(Qmp, Events)>) {
    let mut story = Story::default();
    loop {
        let (link, mut events) = match made.take() {
            Some(link) => link,
            None => tokio::select! {
                () = ended(&shared) => break,
                link = connect(&shared) => link,
            },
        };
        shared.facts().qemu_version = link.version().qemu.to_string();
        shared.link.send_replace(Some(link.clone()));
        tell(&shared, &link, &story).await;
        let over = loop {
            tokio::select! {
                () = ended(&shared) => {
                    // What was said last is still in the pipe.
                    while let Ok(Some(event)) = timeout(Duration::from_secs(5), events.next()).await {
                        story.hear(event.event);
                    }
                    break true;
                }
                event = events.next() => match event {
                    None => break false,
                    Some(event) => {
                        if story.hear(event.event) || events.lost() > 0 {
                            tell(&shared, &link, &story).await;
                        }
                    }
                },
            }
        };
        shared.link.send_replace(None);
        if over {
            break;
        }
        if !shared.process.is_gone() {
            shared.life.send_replace(Life::Silent);
        }
    }
    shared.link.send_replace(None);
    let reason = story.end.unwrap_or_else(|| match last_words(&shared.files) {
        Some(words) => format!("the hypervisor process died; its last words were: {words}"),
        None => "the hypervisor process died".into(),
    });
    shared.life.send_replace(Life::Gone { reason });
}

async fn ended(shared: &Shared) {
    while let Err(e) = shared.process.ended().await {
        tracing::error!(guest = %shared.id, error = %e, "the end of the process cannot be watched");
        sleep(Duration::from_secs(1)).await;
    }
}

async fn connect(shared: &Shared) -> (Qmp, Events) {
    let mut pause = Duration::from_millis(50);
    loop {
        match Qmp::connect(&shared.files.control(), LINK).await {
            Ok(link) => return link,
            Err(e) => tracing::debug!(guest = %shared.id, error = %e, "no link yet"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn tell(shared: &Shared, link: &Qmp, story: &Story) {
    let life = match link.run(&qmp::QueryStatus {}).await {
        Ok(status) => story.life(status.status),
        Err(_) => Life::Silent,
    };
    shared.life.send_if_modified(|old| {
        *old != life && {
            *old = life.clone();
            true
        }
    });
}

/// What the events have told so far.
#[derive(Default)]
struct Story {
    end: Option<String>,
    trouble: String,
}

impl Story {
    /// Tells whether the state should be asked anew.
    fn hear(&mut self, event: Event) -> bool {
        match event {
            Event::Shutdown(shutdown) => {
                self.end = Some(match shutdown.reason.as_str() {
                    "guest-shutdown" => "the guest shut down".into(),
                    "guest-panic" => "the guest's system crashed".into(),
                    "host-qmp-quit" | "host-signal" => "ended by the host".into(),
                    other => format!("ended: {other}"),
                });
                false
            }
            Event::GuestPanicked => {
                self.end = Some("the guest's system crashed".into());
                true
            }
            Event::BlockIoError(e) => {
                self.trouble = if e.nospace {
                    "the storage under a disk is full; free some space and start the guest anew".into()
                } else {
                    format!("a disk could not be used ({}): {}", e.operation, e.reason)
                };
                true
            }
            Event::Stop => true,
            Event::Resume | Event::Reset { .. } => {
                self.trouble.clear();
                true
            }
            Event::Powerdown | Event::DeviceDeleted { .. } | Event::Other { .. } => false,
        }
    }

    fn life(&self, state: RunState) -> Life {
        let reason = match state {
            RunState::Running | RunState::Debug => return Life::Running,
            RunState::IoError if !self.trouble.is_empty() => self.trouble.clone(),
            RunState::IoError => "a disk could not be used".into(),
            RunState::GuestPanicked => "the guest's system crashed".into(),
            RunState::InternalError => "the hypervisor met something it cannot emulate".into(),
            RunState::Suspended => "the guest put itself to sleep".into(),
            other => format!("its processors stand still ({other:?})").to_lowercase(),
        };
        Life::Paused { reason }
    }
}

/// The last line of the process's log without its time and name.
pub(super) fn last_words(files: &GuestFiles) -> Option<String> {
    let log = std::fs::read(files.log()).ok()?;
    let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(4096)..]).into_owned();
    let line = tail.lines().rfind(|l| !l.trim().is_empty())?;
    let words = line.split_once("qemu-system-x86_64: ").map_or(line, |(_, words)| words);
    Some(words.chars().filter(|c| !c.is_control()).take(400).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stories() {
        let mut story = Story::default();
        assert_eq!(story.life(RunState::Running), Life::Running);
        story.hear(Event::BlockIoError(qmp::BlockIoError { nospace: true, ..Default::default() }));
        assert!(matches!(story.life(RunState::IoError), Life::Paused { reason } if reason.contains("full")));
        story.hear(Event::Resume);
        assert!(matches!(story.life(RunState::IoError), Life::Paused { reason } if !reason.contains("full")));
        story.hear(Event::Shutdown(qmp::Shutdown { guest: true, reason: "guest-shutdown".into() }));
        assert_eq!(story.end.as_deref(), Some("the guest shut down"));
    }

    #[test]
    fn last_line_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let files = GuestFiles { dir: dir.path().to_path_buf() };
        assert_eq!(last_words(&files), None);
        std::fs::write(files.log(), "2026-01-01T00:00:00.0Z qemu-system-x86_64: -m 9999999: cannot allocate\n\n").unwrap();
        assert_eq!(last_words(&files).unwrap(), "-m 9999999: cannot allocate");
    }
}
