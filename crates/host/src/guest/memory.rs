//! What the agent remembers of a guest over its own death, and how each thing done changes it. Pure; [`crate::records`] keeps it.

use api_agent::{GuestDisk, GuestNic, GuestSpec};
use base::Timestamp;
use serde::{Deserialize, Serialize};

/// One per guest, written before and after each step that another life of the agent must know of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    pub phase: Phase,
    /// Generation last made true.
    pub reached: i64,
    pub failure: Option<Failure>,
    /// Versioned machine type of the first start. Kept, so that a newer hypervisor does not change the guest's hardware.
    pub machine_type: String,
    /// Times in a row the host itself went down soon after starting this guest.
    pub falls: u32,
}

/// Where the guest is in its life; the diagram is in [`super`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Phase {
    /// No process, and none expected.
    #[default]
    Off,
    /// Written before the process is made: another life of the agent may or may not find one.
    Launching {
        run: Run,
    },
    Up {
        run: Run,
    },
    /// Told to end. It is led to its end even if the power is wanted again meanwhile, for it may be half-way down.
    Stopping {
        run: Run,
        /// When it was first told.
        since: i64,
        /// When the power button was last pressed.
        pressed: i64,
    },
    /// It ended although it should run.
    Ended {
        run: Run,
        /// Generation wanted when that was noticed.
        generation: i64,
        reason: String,
    },
    /// Nothing of it is left here. Never written.
    Erased,
}

/// One life of the guest's process: with what it was started, kept up with what was plugged since.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Restarts asked for when it was started: this start fulfils them all.
    pub restarts: i64,
    pub starts: i64,
    /// The host's boot the process belongs to.
    pub boot_id: String,
    /// Microseconds since 1970.
    pub started: i64,
    pub disks: Vec<GuestDisk>,
    pub nics: Vec<GuestNic>,
    /// Of the password it has been given, at its start or since.
    pub password_generation: i64,
}

/// A generation that could not be reached. Not tried again until it rises.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    pub generation: i64,
    pub error: String,
}

impl Run {
    /// What starting the guest now would give.
    pub fn of(spec: &GuestSpec, boot_id: &str, now: Timestamp) -> Run {
        Run {
            restarts: spec.restarts,
            starts: spec.starts,
            boot_id: boot_id.to_string(),
            started: now.micros(),
            disks: spec.disks.clone(),
            nics: spec.nics.clone(),
            password_generation: spec.meta.password_generation,
        }
    }
}

impl Phase {
    /// The process this phase speaks of, if any; its ports and disks are taken.
    pub fn run(&self) -> Option<&Run> {
        match self {
            Phase::Launching { run } | Phase::Up { run } | Phase::Stopping { run, .. } => Some(run),
            Phase::Off | Phase::Ended { .. } | Phase::Erased => None,
        }
    }

    pub fn run_mut(&mut self) -> Option<&mut Run> {
        match self {
            Phase::Launching { run } | Phase::Up { run } | Phase::Stopping { run, .. } => Some(run),
            Phase::Off | Phase::Ended { .. } | Phase::Erased => None,
        }
    }
}

impl Memory {
    pub fn failed_at(&self, generation: i64) -> Option<&Failure> {
        self.failure.as_ref().filter(|f| f.generation == generation)
    }

    pub fn launching(&mut self, run: Run) {
        self.phase = Phase::Launching { run };
        self.failure = None;
    }

    /// A process is there. Without a record of it (a lost file) it is taken as started from the present spec.
    pub fn up(&mut self, spec: &GuestSpec, boot_id: &str, now: Timestamp) {
        let run = self.phase.run().cloned().unwrap_or_else(|| Run::of(spec, boot_id, now));
        self.phase = Phase::Up { run };
    }

    /// It is about to be told to end.
    pub fn stopping(&mut self, spec: &GuestSpec, boot_id: &str, now: Timestamp) {
        match &mut self.phase {
            Phase::Stopping { pressed, .. } => *pressed = now.micros(),
            other => {
                let run = other.run().cloned().unwrap_or_else(|| Run::of(spec, boot_id, now));
                self.phase = Phase::Stopping { run, since: now.micros(), pressed: now.micros() };
            }
        }
    }

    /// Another life of the agent takes over. It cannot know whether the last press noted was also done: it presses again.
    pub fn taken_over(&mut self) {
        if let Phase::Stopping { pressed, .. } = &mut self.phase {
            *pressed = 0;
        }
    }

    /// The process is gone, as was wanted.
    pub fn off(&mut self) {
        self.phase = Phase::Off;
    }

    /// The process is gone, as nobody here wanted.
    pub fn ended(&mut self, generation: i64, reason: &str) {
        let run = self.phase.run().cloned().unwrap_or_default();
        self.phase = Phase::Ended { run, generation, reason: reason.to_string() };
    }

    /// The host went down under it; `soon` after its start.
    pub fn fell(&mut self, soon: bool) {
        self.falls = if soon { self.falls + 1 } else { 0 };
        self.phase = Phase::Off;
    }

    pub fn failed(&mut self, generation: i64, error: &str) {
        self.failure = Some(Failure { generation, error: error.to_string() });
        self.falls = 0;
    }
}
