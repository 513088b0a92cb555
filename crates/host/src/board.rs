//! What the agent's actors tell each other and the region: states, and who uses what. Memory only; it is found anew at each start.

use crate::hypervisor::Life;
use api_agent::{DiskObserved, DiskState, GuestObserved};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Board {
    notes: Mutex<Notes>,
    /// Counts every change.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Notes {
    guests: BTreeMap<String, GuestObserved>,
    disks: BTreeMap<String, DiskObserved>,
    /// Guest whose process has the disk open.
    holders: HashMap<String, String>,
    /// Guest of each tap that is or may be in use.
    ports: HashMap<String, String>,
    locks: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
    lives: HashMap<String, Life>,
    /// `Ok` when the host's network is as the document wants it.
    network: Network,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Network {
    #[default]
    Unknown,
    Applied,
    Failing(String),
}

impl Default for Board {
    fn default() -> Board {
        Board { notes: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Board {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, by: impl FnOnce(&mut Notes) -> bool) {
        if by(&mut self.notes()) {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// Sees every later change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Something outside the board changed that the region should hear of.
    pub fn nudge(&self) {
        self.change(|_| true);
    }

    pub fn set_guest(&self, seen: GuestObserved) {
        self.change(|n| match n.guests.get(&seen.id) {
            Some(old) if *old == seen => false,
            _ => n.guests.insert(seen.id.clone(), seen).is_none_or(|_| true),
        });
    }

    pub fn forget_guest(&self, id: &str) {
        self.change(|n| n.guests.remove(id).is_some());
    }

    pub fn set_disk(&self, seen: DiskObserved) {
        self.change(|n| match n.disks.get(&seen.id) {
            Some(old) if *old == seen => false,
            _ => n.disks.insert(seen.id.clone(), seen).is_none_or(|_| true),
        });
    }

    pub fn forget_disk(&self, id: &str) {
        self.change(|n| n.disks.remove(id).is_some());
    }

    pub fn disk(&self, id: &str) -> Option<DiskObserved> {
        self.notes().disks.get(id).cloned()
    }

    pub fn guests(&self) -> Vec<GuestObserved> {
        self.notes().guests.values().cloned().collect()
    }

    pub fn disks(&self) -> Vec<DiskObserved> {
        self.notes().disks.values().cloned().collect()
    }

    pub fn set_network(&self, network: Network) {
        self.change(|n| std::mem::replace(&mut n.network, network.clone()) != network);
    }

    pub fn network(&self) -> Network {
        self.notes().network.clone()
    }

    /// Notes what a guest's process has; replaces what was noted before.
    pub fn hold<'a>(&self, guest: &str, disks: impl IntoIterator<Item = &'a str>, ports: impl IntoIterator<Item = &'a str>) {
        self.change(|n| {
            n.holders.retain(|_, g| g != guest);
            n.ports.retain(|_, g| g != guest);
            n.holders.extend(disks.into_iter().map(|d| (d.to_string(), guest.to_string())));
            n.ports.extend(ports.into_iter().map(|p| (p.to_string(), guest.to_string())));
            true
        });
    }

    pub fn holder(&self, disk: &str) -> Option<String> {
        self.notes().holders.get(disk).cloned()
    }

    pub fn ports(&self) -> HashMap<String, String> {
        self.notes().ports.clone()
    }

    /// Who works on a disk's files, or is about to open them, holds this.
    pub fn disk_lock(&self, disk: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut notes = self.notes();
        notes.locks.retain(|_, l| Arc::strong_count(l) > 1);
        notes.locks.entry(disk.to_string()).or_default().clone()
    }

    /// Ids of guests with a process.
    pub fn running(&self) -> Vec<String> {
        self.notes().lives.iter().filter(|(_, l)| !l.is_gone()).map(|(id, _)| id.clone()).collect()
    }

    pub fn set_life(&self, guest: &str, life: &Life) {
        let mut notes = self.notes();
        match life {
            Life::Gone { .. } => notes.lives.remove(guest),
            alive => notes.lives.insert(guest.to_string(), alive.clone()),
        };
    }

    /// Whether the disk can be opened by a guest; an error when that will not come by itself. What is known of an older generation counts
    /// for nothing: its keeper has yet to see the newer one.
    pub fn disk_ready(&self, id: &str, generation: i64) -> Result<bool, String> {
        match self.notes().disks.get(id).filter(|d| d.generation >= generation) {
            Some(DiskObserved { state: DiskState::Ready, .. }) => Ok(true),
            Some(DiskObserved { state: DiskState::Failed, error, .. }) => Err(error.clone()),
            Some(DiskObserved { state: DiskState::Absent, .. }) => Err("it is deleted".into()),
            _ => Ok(false),
        }
    }
}
