//! Simulated guests.

use super::{Faults, SimDisks};
use crate::hypervisor::*;
use api_agent::GuestDisk;
use api_agent::GuestNic;
use base::{Result, err};
use host_net::{BoxFuture, Shelf};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How a guest behaves.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub boots: Boots,
    pub power_button: PowerButton,
    /// Never lets go of a device it is asked for.
    pub keeps_devices: bool,
    /// Takes so long to let go of one; whoever waits no more leaves it plugged.
    pub slow_devices: Duration,
    /// No agent of its own answers: whoever waits for one does so for this long.
    pub no_agent: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
pub enum Boots {
    #[default]
    AtOnce,
    /// Its process takes so long to start.
    After(Duration),
}

#[derive(Clone, Debug, Default)]
pub enum PowerButton {
    #[default]
    Obeys,
    ObeysAfter(Duration),
    Ignores,
}

/// The simulated [`Hypervisor`]; its guests survive agents.
pub struct SimHypervisor {
    faults: Arc<Faults>,
    disks: Arc<SimDisks>,
    /// What tells of each process: there as long as the process is.
    processes: Arc<Shelf>,
    state: Mutex<State>,
    next_pid: AtomicU32,
}

#[derive(Default)]
struct State {
    machines: HashMap<String, Arc<SimMachine>>,
    scripts: HashMap<String, Script>,
    launches: HashMap<String, u32>,
}

impl SimHypervisor {
    pub(super) fn new(faults: Arc<Faults>, disks: Arc<SimDisks>) -> SimHypervisor {
        SimHypervisor { faults, disks, processes: Arc::default(), state: Mutex::default(), next_pid: AtomicU32::new(1000) }
    }

    /// With guests that outlive the process.
    pub(super) fn at(faults: Arc<Faults>, disks: Arc<SimDisks>, dir: &Path) -> Result<SimHypervisor> {
        let hypervisor = SimHypervisor { processes: Arc::new(Shelf::at(dir.join("machines"))?), ..SimHypervisor::new(faults, disks) };
        for (id, text) in hypervisor.processes.all() {
            let process: Process = serde_json::from_str(&text).map_err(base::Error::internal)?;
            hypervisor.next_pid.fetch_max(process.pid + 1, Ordering::Relaxed);
            let machine = hypervisor.machine(&id, process, Script::default());
            hypervisor.state().machines.insert(id, machine);
        }
        Ok(hypervisor)
    }

    /// Notices processes that somebody killed by taking away what tells of them.
    pub fn look(&self) {
        // Held, so that none is taken for killed that is just being made.
        let mut state = self.state();
        for id in self.processes.missed() {
            if let Some(machine) = state.machines.remove(&id) {
                machine.ends("its process was killed");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a guest behaves from its next start on.
    pub fn script(&self, guest: &str, script: Script) {
        self.state().scripts.insert(guest.to_string(), script);
    }

    /// Processes made for a guest so far.
    pub fn launches(&self, guest: &str) -> u32 {
        self.state().launches.get(guest).copied().unwrap_or(0)
    }

    /// Guests with a process now.
    pub fn running(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.state().machines.iter().filter(|(_, m)| m.lives()).map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids
    }

    /// The guest shuts itself down, or its process dies.
    pub fn guest_ends(&self, guest: &str, reason: &str) {
        if let Some(machine) = self.state().machines.remove(guest) {
            machine.ends(reason);
        }
    }

    /// Devices of a running guest.
    pub fn devices(&self, guest: &str) -> Vec<String> {
        self.state().machines.get(guest).map(|m| m.devices().into_iter().collect()).unwrap_or_default()
    }

    /// Account and password the guest's agent was last given.
    pub fn login(&self, guest: &str) -> Option<(String, String)> {
        self.state().machines.get(guest).and_then(|m| m.login.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Times the reset button was pressed.
    pub fn resets(&self, guest: &str) -> u32 {
        self.state().machines.get(guest).map_or(0, |m| m.resets.load(Ordering::SeqCst))
    }

    pub(super) fn all_end(&self, reason: &str) {
        for (_, machine) in self.state().machines.drain() {
            machine.ends(reason);
        }
    }

    pub(super) fn memory_used_mb(&self) -> i64 {
        self.state().machines.values().filter(|m| m.lives()).map(|m| m.process().memory_mb).sum()
    }

    fn made(&self, plan: &Plan, script: Script) -> Result<Arc<SimMachine>> {
        let disks = plan.disks.iter().map(|d| disk_device(d.disk.index));
        let process = Process {
            pid: self.next_pid.fetch_add(1, Ordering::Relaxed),
            memory_mb: plan.guest.vmem_size,
            devices: disks.chain(plan.nics.iter().map(|n| nic_device(n.nic.index))).collect(),
        };
        let machine = self.machine(&plan.guest.id, process, script);
        machine.keep()?;
        Ok(machine)
    }

    fn machine(&self, id: &str, process: Process, script: Script) -> Arc<SimMachine> {
        Arc::new(SimMachine {
            faults: self.faults.clone(),
            disks: self.disks.clone(),
            processes: self.processes.clone(),
            id: id.to_string(),
            script,
            life: watch::Sender::new(Life::Running),
            resets: AtomicU32::new(0),
            login: Mutex::default(),
            facts: MachineFacts {
                pid: process.pid,
                qemu_version: "10.0.0".into(),
                vnc: format!("/sim/{id}/vnc.sock"),
                serial: format!("/sim/{id}/serial.sock"),
                machine_type: "pc-i440fx-10.0".into(),
            },
            process: Mutex::new(process),
        })
    }
}

/// A guest's process, as kept for another life of the simulator.
#[derive(Debug, Serialize, Deserialize)]
struct Process {
    pid: u32,
    memory_mb: i64,
    devices: BTreeSet<String>,
}

impl Hypervisor for SimHypervisor {
    fn abilities(&self) -> BoxFuture<'_, Result<Arc<Abilities>>> {
        let machines = vec![MachineType { name: "pc-i440fx-10.0".into(), alias: "pc".into(), max_cpus: 255 }];
        let abilities = Abilities { accelerator: Accelerator::Kvm, qemu_version: "10.0.0".into(), machines, ..Abilities::default() };
        Box::pin(async { Ok(Arc::new(abilities)) })
    }

    fn find(&self) -> BoxFuture<'_, Result<HashMap<String, Arc<dyn Machine>>>> {
        Box::pin(async {
            let state = self.state();
            let living = state.machines.iter().filter(|(_, m)| m.lives());
            Ok(living.map(|(id, m)| (id.clone(), m.clone() as Arc<dyn Machine>)).collect())
        })
    }

    fn launch(&self, plan: Plan) -> BoxFuture<'_, Result<Arc<dyn Machine>>> {
        Box::pin(async move {
            self.faults.point("launch").await?;
            let id = plan.guest.id.clone();
            let script = self.state().scripts.get(&id).cloned().unwrap_or_default();
            let old = self.state().machines.get(&id).filter(|m| m.lives()).cloned();
            let machine = match old {
                Some(machine) => machine,
                None => {
                    let mut state = self.state();
                    let machine = self.made(&plan, script.clone())?;
                    state.machines.insert(id.clone(), machine.clone());
                    *state.launches.entry(id).or_default() += 1;
                    machine
                }
            };
            if let Boots::After(time) = script.boots {
                tokio::time::sleep(time).await;
            }
            self.faults.point("launch.done").await?;
            Ok(machine as Arc<dyn Machine>)
        })
    }
}

struct SimMachine {
    faults: Arc<Faults>,
    disks: Arc<SimDisks>,
    processes: Arc<Shelf>,
    id: String,
    script: Script,
    life: watch::Sender<Life>,
    resets: AtomicU32,
    /// Account and password its agent was last given.
    login: Mutex<Option<(String, String)>>,
    facts: MachineFacts,
    process: Mutex<Process>,
}

impl SimMachine {
    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn devices(&self) -> BTreeSet<String> {
        self.process().devices.clone()
    }

    /// Writes down what another life of the simulator must find.
    fn keep(&self) -> Result<()> {
        let text = serde_json::to_string(&*self.process()).map_err(base::Error::internal)?;
        let mut kept = Ok(());
        // One that died meanwhile must not be there again for the next life, which would take it over without its ports.
        self.life.send_if_modified(|life| {
            if !life.is_gone() {
                kept = self.processes.put(&self.id, &text);
            }
            false
        });
        kept
    }

    fn lives(&self) -> bool {
        !self.life.borrow().is_gone()
    }

    fn ends(&self, reason: &str) {
        end(&self.life, &self.processes, &self.id, reason);
    }

    async fn device(&self, point: &str, device: String, plugged: bool) -> Result<()> {
        self.faults.point(point).await?;
        if !plugged && !self.script.slow_devices.is_zero() {
            tokio::time::sleep(self.script.slow_devices).await;
        }
        if plugged {
            self.process().devices.insert(device);
            self.keep()?;
        } else if self.script.keeps_devices && self.devices().contains(&device) {
            return Err(err!(Timeout, "the guest did not let go of {}", device));
        } else {
            self.process().devices.remove(&device);
            self.keep()?;
        }
        self.faults.point(&format!("{point}.done")).await
    }
}

/// Once: a later process of the same guest is another.
fn end(life: &watch::Sender<Life>, processes: &Shelf, id: &str, reason: &str) {
    life.send_if_modified(|life| {
        if life.is_gone() {
            return false;
        }
        if let Err(e) = processes.take(id) {
            tracing::error!(guest = id, error = %e, "a simulated process cannot be ended");
        }
        *life = Life::Gone { reason: reason.to_string() };
        true
    });
}

impl Machine for SimMachine {
    fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    fn facts(&self) -> MachineFacts {
        self.facts.clone()
    }

    fn power_down(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.faults.point("power_down").await?;
            match self.script.power_button {
                PowerButton::Obeys => self.ends("the guest shut down"),
                PowerButton::ObeysAfter(time) => {
                    let (life, processes, id) = (self.life.clone(), self.processes.clone(), self.id.clone());
                    tokio::spawn(async move {
                        tokio::time::sleep(time).await;
                        end(&life, &processes, &id, "the guest shut down");
                    });
                }
                PowerButton::Ignores => {}
            }
            self.faults.point("power_down.done").await
        })
    }

    fn reset(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.faults.point("reset").await?;
            self.resets.fetch_add(1, Ordering::SeqCst);
            self.faults.point("reset.done").await
        })
    }

    fn end(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.faults.point("end").await?;
            self.ends("ended by the host");
            self.faults.point("end.done").await
        })
    }

    fn plugged(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async { Ok(self.devices().into_iter().collect()) })
    }

    fn plug_disk<'a>(&'a self, disk: &'a PlanDisk) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.device("plug_disk", disk_device(disk.disk.index), true))
    }

    fn unplug_disk<'a>(&'a self, disk: &'a GuestDisk) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.device("unplug_disk", disk_device(disk.index), false))
    }

    fn plug_nic<'a>(&'a self, nic: &'a PlanNic) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.device("plug_nic", nic_device(nic.nic.index), true))
    }

    fn unplug_nic<'a>(&'a self, nic: &'a GuestNic) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.device("unplug_nic", nic_device(nic.index), false))
    }

    fn grow_disk<'a>(&'a self, disk: &'a GuestDisk, bytes: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.faults.point("grow_running").await?;
            self.disks.resize(&disk.disk_id, bytes)?;
            self.faults.point("grow_running.done").await
        })
    }

    fn agent_answers(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.faults.point("agent").await?;
            if let Some(time) = self.script.no_agent {
                tokio::time::sleep(time).await;
                return Err(err!(Timeout, "the guest's agent does not answer"));
            }
            Ok(())
        })
    }

    fn set_password<'a>(&'a self, account: &'a str, password: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.faults.point("set_password").await?;
            *self.login.lock().unwrap_or_else(PoisonError::into_inner) = Some((account.into(), password.into()));
            self.faults.point("set_password.done").await
        })
    }
}
