//! The thin driver of [`decide`]: looks, decides, reports, does, and waits for something to change.

use super::change::Change;
use super::decide::{Action, Close, FALLS, Needs, decide};
use super::memory::{Memory, Phase, Run};
use super::report::report;
use super::{Command, Mailbox, Wanted};
use crate::board::Network as NetworkState;
use crate::hypervisor::{Life, Machine, MachineFacts, Plan, PlanDisk, PlanNic, disk_device, nic_device};
use crate::site::{Site, by_request};
use api_agent::{Existence, GuestDisk, GuestNic, GuestSpec};
use base::{Result, err};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

/// A launch that failed for a passing reason is tried again after 1, 2 and 4 seconds.
const LAUNCH_TRIES: u32 = 3;

pub(crate) struct Actor {
    site: Arc<Site>,
    documents: watch::Receiver<Wanted>,
    commands: mpsc::Receiver<Command>,
    wanted: Wanted,
    memory: Memory,
    machine: Option<Arc<dyn Machine>>,
    life: watch::Receiver<Life>,
    /// Failed tries in a row of whatever is being done.
    tries: u32,
    launch_tries: u32,
    /// Whether what the process has plugged is still to be compared with what is remembered.
    unchecked: bool,
}

impl Actor {
    /// `machine` is the process found at the start of the agent, if any.
    pub fn new(site: Arc<Site>, wanted: Wanted, mut memory: Memory, machine: Option<Arc<dyn Machine>>) -> (Mailbox, Actor) {
        let (documents_in, documents) = watch::channel(wanted.clone());
        let (commands_in, commands) = mpsc::channel(16);
        let mailbox = Mailbox { documents: Arc::new(documents_in), commands: commands_in };
        let life = machine.as_ref().map_or_else(|| watch::channel(Life::none()).1, |m| m.life());
        memory.taken_over();
        let unchecked = machine.is_some();
        let actor = Actor { site, documents, commands, wanted, memory, machine, life, tries: 0, launch_tries: 0, unchecked };
        actor.hold();
        (mailbox, actor)
    }

    /// Until its mailboxes are dropped: the document no longer names the guest, and nothing of it is touched any more.
    pub async fn run(mut self) {
        let mut changes = self.site.board.watch();
        loop {
            changes.mark_unchanged();
            self.wanted = self.documents.borrow_and_update().clone();
            let life = self.life.borrow_and_update().clone();
            self.site.board.set_life(self.id(), &life);
            let action = decide(self.spec(), &life, &self.needs(), &self.memory, &self.site.host_now());
            let settled = self.settle(&action, &life).await;
            self.tell(&life, &action);
            let span = by_request(&self.spec().request_id);
            let step = match settled {
                Ok(()) => self.act(action).instrument(span.clone()).await,
                Err(e) => Err(e),
            };
            let pause = match step {
                Ok(Next::Now) => {
                    if self.documents.has_changed().is_err() {
                        return;
                    }
                    self.tries = 0;
                    continue;
                }
                Ok(Next::Later(at)) => at,
                Err(e) => {
                    // What cannot be done now (a full disk under our own records, say) is tried again ever more slowly.
                    let pause = Duration::from_secs(1 << self.tries.min(6));
                    self.tries += 1;
                    span.in_scope(|| {
                        tracing::warn!(guest = %self.id(), error = %e, context = e.context().unwrap_or(""), "will be tried again");
                    });
                    self.complain(&e);
                    Some(Instant::now() + pause)
                }
            };
            tokio::select! {
                changed = self.documents.changed() => if changed.is_err() { return },
                Some(command) = self.commands.recv() => self.obey(command).await,
                _ = self.life.changed(), if !life.is_gone() => {}
                _ = changes.changed(), if self.waits_for_parts() => {}
                () = until(pause), if pause.is_some() => {}
            }
        }
    }

    fn id(&self) -> &str {
        &self.spec().id
    }

    fn spec(&self) -> &GuestSpec {
        self.wanted.spec()
    }

    fn waits_for_parts(&self) -> bool {
        self.needs() != Needs::Ready
    }

    fn needs(&self) -> Needs {
        let spec = self.spec();
        if spec.existence == Existence::Absent {
            return Needs::Ready;
        }
        for disk in &spec.disks {
            let Some(wanted) = self.wanted.disk(disk) else {
                return Needs::Failed(format!("disk {} is not in the document", disk.disk_id));
            };
            match self.site.board.disk_ready(&disk.disk_id, wanted.generation) {
                Ok(true) => {}
                Ok(false) => return Needs::Waiting(format!("waiting for disk {}", disk.disk_id)),
                Err(why) => return Needs::Failed(format!("disk {}: {why}", disk.disk_id)),
            }
        }
        if let Some(nic) = spec.nics.iter().find(|n| self.wanted.network(&n.network_id).is_none()) {
            return Needs::Failed(format!("network {} of interface {} is not in the document", nic.network_id, nic.index));
        }
        match self.site.board.network() {
            _ if spec.nics.is_empty() => Needs::Ready,
            NetworkState::Applied => Needs::Ready,
            NetworkState::Unknown => Needs::Waiting("waiting for the host's network".into()),
            NetworkState::Failing(why) => Needs::Waiting(format!("waiting for the host's network: {why}")),
        }
    }

    /// At rest the generation is reached; notes it.
    async fn settle(&mut self, action: &Action, life: &Life) -> Result<()> {
        let generation = self.spec().generation;
        let resting = *action == Action::Rest && self.memory.phase != Phase::Erased;
        if resting && self.memory.reached != generation {
            self.memory.reached = generation;
            // A guest that was never here needs no record of not being here.
            if !life.is_gone() || self.memory != (Memory { reached: generation, ..Memory::default() }) {
                self.save().await?;
            }
        }
        Ok(())
    }

    fn tell(&self, life: &Life, action: &Action) {
        let facts = self.machine.as_ref().map(|m| m.facts());
        self.site.board.set_guest(report(self.spec(), life, &self.memory, action, facts.as_ref()));
    }

    /// Shows the region why nothing moves.
    fn complain(&self, e: &base::Error) {
        let life = self.life.borrow().clone();
        let facts = self.machine.as_ref().map(|m| m.facts());
        let action = Action::WaitFor(e.to_string());
        let mut seen = report(self.spec(), &life, &self.memory, &action, facts.as_ref());
        if seen.error.is_empty() {
            seen.error = e.to_string();
        }
        self.site.board.set_guest(seen);
    }

    async fn save(&self) -> Result<()> {
        self.site.records.save_guest(self.id(), &self.memory).await
    }

    /// Tells the others which disks and ports are taken.
    fn hold(&self) {
        let run = self.memory.phase.run();
        let disks = run.iter().flat_map(|r| &r.disks).map(|d| d.disk_id.as_str());
        let ports = run.iter().flat_map(|r| &r.nics).map(|n| n.ifname.as_str());
        self.site.board.hold(self.id(), disks, ports);
    }

    async fn act(&mut self, action: Action) -> Result<Next> {
        match action {
            Action::Rest if self.unchecked && !self.life.borrow().is_gone() => self.check_plugged().await,
            Action::Rest | Action::WaitFor(_) => Ok(Next::Later(None)),
            Action::RestUntil(at) => {
                let left = at.since(self.site.clock.now()).max(0);
                Ok(Next::Later(Some(Instant::now() + Duration::from_micros(left as u64))))
            }
            Action::Adopt => {
                let (boot, now) = (self.site.boot_id(), self.site.clock.now());
                let spec = self.wanted.spec().clone();
                self.memory.up(&spec, &boot, now);
                self.hold();
                self.save().await?;
                tracing::info!(guest = %self.id(), "running guest taken over");
                Ok(Next::Now)
            }
            Action::Launch => self.launch().await,
            Action::PowerDown => {
                self.note_stopping().await?;
                self.tell_now(&Action::PowerDown);
                if let Some(machine) = &self.machine {
                    // A guest that does not answer is cut off when its time is over.
                    if let Err(e) = machine.power_down().await {
                        tracing::warn!(guest = %self.id(), error = %e, "the power button could not be pressed");
                    }
                }
                Ok(Next::Now)
            }
            Action::Kill => {
                self.note_stopping().await?;
                self.tell_now(&Action::Kill);
                let Some(machine) = &self.machine else {
                    return Err(err!(Internal, "guest {} runs but its process is not known", self.id()));
                };
                machine.end().await?;
                Ok(Next::Now)
            }
            Action::Close(close) => self.close(close).await,
            // Whether a change was begun by an earlier life and how far it came, the process knows.
            Action::Change(_) if self.unchecked => self.check_plugged().await,
            Action::Change(change) => match self.change(&change).await {
                Ok(()) => Ok(Next::Now),
                Err(e) => self.fail(&e.to_string()).await,
            },
            Action::Fail(why) => self.fail(&why).await,
            Action::Erase => self.erase().await,
        }
    }

    fn tell_now(&self, action: &Action) {
        let life = self.life.borrow().clone();
        self.tell(&life, action);
    }

    async fn note_stopping(&mut self) -> Result<()> {
        let (boot, now) = (self.site.boot_id(), self.site.clock.now());
        let spec = self.wanted.spec().clone();
        self.memory.stopping(&spec, &boot, now);
        self.save().await
    }

    async fn fail(&mut self, why: &str) -> Result<Next> {
        tracing::warn!(guest = %self.id(), error = why, "cannot be made as wanted");
        let generation = self.spec().generation;
        self.memory.failed(generation, why);
        self.save().await?;
        Ok(Next::Now)
    }

    /// Start: note it, make the ports, make the process, note that it is up.
    async fn launch(&mut self) -> Result<Next> {
        // Nobody may grow or delete a disk between our look at it and the process opening it.
        // Sorted, so that two guests with the same disks do not wait for each other.
        let mut ids: Vec<&str> = self.spec().disks.iter().map(|d| d.disk_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut locks = Vec::with_capacity(ids.len());
        for id in ids {
            locks.push(self.site.board.disk_lock(id).lock_owned().await);
        }
        if self.needs() != Needs::Ready {
            return Ok(Next::Now);
        }
        let run = Run::of(self.spec(), &self.site.boot_id(), self.site.clock.now());
        let before = self.memory.clone();
        self.memory.launching(run);
        self.hold();
        if let Err(e) = self.save().await {
            self.memory = before;
            self.hold();
            return Err(e);
        }
        match self.launch_process().await {
            Ok(machine) => {
                self.take(machine);
                let (boot, now) = (self.site.boot_id(), self.site.clock.now());
                let spec = self.wanted.spec().clone();
                self.memory.up(&spec, &boot, now);
                self.launch_tries = 0;
                self.save().await?;
                tracing::info!(guest = %self.id(), pid = self.facts().pid, "guest started");
                Ok(Next::Now)
            }
            Err(e) if e.retryable() && self.launch_tries + 1 < LAUNCH_TRIES => {
                self.tries = self.launch_tries;
                self.launch_tries += 1;
                Err(e)
            }
            Err(e) => {
                self.launch_tries = 0;
                if let Some(context) = e.context() {
                    tracing::warn!(guest = %self.id(), context, "the start failed");
                }
                self.give_back_ports().await;
                self.memory.off();
                self.hold();
                self.fail(&e.to_string()).await
            }
        }
    }

    async fn launch_process(&mut self) -> Result<Arc<dyn Machine>> {
        let mut plan = Plan { guest: self.spec().clone(), machine_type: self.memory.machine_type.clone(), ..Plan::default() };
        for disk in &self.spec().disks {
            plan.disks.push(self.plan_disk(disk).await?);
        }
        for nic in &self.spec().nics {
            plan.nics.push(self.plan_nic(nic).await?);
        }
        self.site.hypervisor.launch(plan).await
    }

    fn take(&mut self, machine: Arc<dyn Machine>) {
        self.life = machine.life();
        self.machine = Some(machine);
        let kind = self.facts().machine_type;
        if !kind.is_empty() {
            self.memory.machine_type = kind;
        }
    }

    fn facts(&self) -> MachineFacts {
        self.machine.as_ref().map(|m| m.facts()).unwrap_or_default()
    }

    async fn plan_disk(&self, disk: &GuestDisk) -> Result<PlanDisk> {
        let spec = self.wanted.disk(disk).ok_or_else(|| err!(NotFound, "disk {} is not in the document", disk.disk_id))?;
        Ok(PlanDisk { disk: disk.clone(), at: self.site.disks.attachment(spec).await? })
    }

    async fn plan_nic(&self, nic: &GuestNic) -> Result<PlanNic> {
        let network = self.wanted.network(&nic.network_id);
        let network =
            network.ok_or_else(|| err!(NotFound, "network {} of interface {} is not in the document", nic.network_id, nic.index))?;
        let tap = self.site.network.plug(nic, network, self.spec()).await?;
        Ok(PlanNic { nic: nic.clone(), tap, mtu: network.mtu })
    }

    /// Ports that stay are found and removed by the sweep, so a failure here stops nothing.
    async fn give_back_ports(&self) {
        for nic in self.memory.phase.run().iter().flat_map(|r| &r.nics) {
            if let Err(e) = self.site.network.unplug(&nic.ifname).await {
                tracing::warn!(guest = %self.id(), port = %nic.ifname, error = %e, "port left behind");
            }
        }
    }

    async fn close(&mut self, close: Close) -> Result<Next> {
        self.give_back_ports().await;
        let generation = self.spec().generation;
        match close {
            Close::AsWanted => self.memory.off(),
            Close::HostFell { soon } => {
                tracing::info!(guest = %self.id(), soon, falls = self.memory.falls, of = FALLS, "the host went down under it");
                self.memory.fell(soon);
            }
            Close::ByItself { reason } => {
                tracing::info!(guest = %self.id(), reason, "ended by itself");
                self.memory.ended(generation, &reason);
            }
        }
        self.machine = None;
        self.hold();
        self.save().await?;
        Ok(Next::Now)
    }

    async fn erase(&mut self) -> Result<Next> {
        self.give_back_ports().await;
        for nic in &self.spec().nics {
            self.site.network.unplug(&nic.ifname).await?;
        }
        self.site.records.forget_guest(self.id()).await?;
        self.memory = Memory { phase: Phase::Erased, ..Memory::default() };
        self.machine = None;
        self.hold();
        tracing::info!(guest = %self.id(), "guest removed");
        Ok(Next::Now)
    }

    /// One change of a running guest. What is plugged is noted before, what is unplugged after: a disk or port may be taken without being
    /// used, never used without being taken.
    async fn change(&mut self, change: &Change) -> Result<()> {
        let Some(machine) = self.machine.clone() else {
            return Err(err!(Internal, "guest {} runs but its process is not known", self.id()));
        };
        let done = match change {
            Change::PlugDisk(disk) => {
                let _lock = self.site.board.disk_lock(&disk.disk_id).lock_owned().await;
                let plan = self.plan_disk(disk).await?;
                self.note(change).await?;
                if let Err(e) = machine.plug_disk(&plan).await {
                    self.note(&Change::UnplugDisk(disk.clone())).await?;
                    return Err(e);
                }
                true
            }
            Change::UnplugDisk(disk) => {
                let gone = self.while_wanted(change, machine.unplug_disk(disk)).await?;
                if gone {
                    self.note(change).await?;
                }
                gone
            }
            Change::PlugNic(nic) => {
                self.note(change).await?;
                let plugged = match self.plan_nic(nic).await {
                    Ok(plan) => machine.plug_nic(&plan).await,
                    Err(e) => Err(e),
                };
                if let Err(e) = plugged {
                    let _ = self.site.network.unplug(&nic.ifname).await;
                    self.note(&Change::UnplugNic(nic.clone())).await?;
                    return Err(e);
                }
                true
            }
            Change::UnplugNic(nic) => {
                let gone = self.while_wanted(change, machine.unplug_nic(nic)).await?;
                if gone {
                    self.site.network.unplug(&nic.ifname).await?;
                    self.note(change).await?;
                }
                gone
            }
            Change::RefreshNic(nic) => {
                self.plan_nic(nic).await?;
                self.note(change).await?;
                true
            }
            Change::SetPassword(_) => {
                let there = self.while_wanted(change, machine.agent_answers()).await?;
                if there {
                    let meta = &self.spec().meta;
                    // Given twice is given: nothing has to be noted before.
                    machine.set_password(&meta.login_account, &meta.password).await?;
                    self.note(change).await?;
                }
                there
            }
        };
        let what = if done { "changed while running" } else { "given up for what is wanted by now" };
        tracing::info!(guest = %self.id(), ?change, "{what}");
        Ok(())
    }

    /// Does what the guest may take its time for. A newer document that wants the guest's end ends it, as does that end itself; waiting for an agent
    /// is ended by whatever else is wanted. A device that the guest was asked for goes sooner or later, so that it is waited for even when it is wanted
    /// again, and then plugged anew. Tells whether it was done.
    async fn while_wanted(&mut self, change: &Change, work: impl Future<Output = Result<()>>) -> Result<bool> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done.map(|()| true),
                changed = self.documents.changed() => {
                    let newer = self.documents.borrow_and_update().clone();
                    let life = self.life.borrow().clone();
                    let next = decide(newer.spec(), &life, &Needs::Ready, &self.memory, &self.site.host_now());
                    let over = match next {
                        Action::Kill | Action::PowerDown | Action::Erase | Action::Close(_) => true,
                        Action::Change(same) if same == *change => false,
                        _ => matches!(change, Change::SetPassword(_)),
                    };
                    if changed.is_err() || over {
                        // It may yet let go of a device; what it has is looked at before anything else is done with it.
                        self.unchecked |= !matches!(change, Change::SetPassword(_));
                        return Ok(false);
                    }
                    self.wanted = newer;
                }
                _ = self.life.changed(), if !self.life.borrow().is_gone() => {
                    if self.life.borrow().is_gone() {
                        return Ok(false);
                    }
                }
                Some(command) = self.commands.recv() => self.obey(command).await,
            }
        }
    }

    /// Forgets what is remembered as plugged and is not: noted by a life that died before plugging it.
    async fn check_plugged(&mut self) -> Result<Next> {
        let Some(machine) = self.machine.clone() else { return Ok(Next::Now) };
        if *self.life.borrow() == Life::Silent {
            return Ok(Next::Later(None));
        }
        let devices = machine.plugged().await?;
        self.unchecked = false;
        let before = self.memory.clone();
        if let Some(run) = self.memory.phase.run_mut() {
            run.disks.retain(|d| devices.contains(&disk_device(d.index)));
            run.nics.retain(|n| devices.contains(&nic_device(n.index)));
        }
        if self.memory != before {
            self.hold();
            self.save().await?;
        }
        Ok(Next::Now)
    }

    async fn note(&mut self, change: &Change) -> Result<()> {
        if let Some(run) = self.memory.phase.run_mut() {
            change.note(run);
        }
        self.hold();
        self.save().await
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Reset { answer } => {
                let done = match self.live_machine() {
                    Some(machine) => machine.reset().await,
                    None => Err(err!(InvalidStatus, "guest {} is not running", self.id())),
                };
                let _ = answer.send(done);
            }
            Command::GrowDisk { disk_id, bytes, answer } => {
                let plugged = self.memory.phase.run().and_then(|r| r.disks.iter().find(|d| d.disk_id == disk_id));
                let done = match (self.live_machine(), plugged) {
                    (Some(machine), Some(disk)) => machine.grow_disk(disk, bytes).await,
                    // The keeper looks again and finds the disk free.
                    _ => Err(err!(ResourceBusy, "guest {} does not run with disk {}", self.id(), disk_id)),
                };
                let _ = answer.send(done);
            }
        }
    }

    fn live_machine(&self) -> Option<&Arc<dyn Machine>> {
        self.machine.as_ref().filter(|_| !self.life.borrow().is_gone())
    }
}

enum Next {
    /// Decide again at once.
    Now,
    /// When something changes, or at this time.
    Later(Option<Instant>),
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
