//! The one decision of a guest's actor: from what is wanted, what is seen and what is remembered to the next thing to do. Pure.

use super::change::{Change, next_change};
use super::memory::{Memory, Phase};
use crate::hypervisor::Life;
use api_agent::{Existence, GuestSpec, Power};
use base::Timestamp;

/// The power button is pressed again this often while a guest does not end: one that is still booting ignores the first press.
const PRESS_AGAIN_SECS: i64 = 10;
/// A guest that takes the host down with it is not started for the fourth time.
pub(super) const FALLS: u32 = 3;
/// The host going down within this many seconds of a start counts as one of the above.
const SOON_SECS: i64 = 900;
/// When the document gives no time to shut down in.
const STOP_TIMEOUT_SECS: u32 = 30;

/// Whether what the guest is made of is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    Ready,
    /// Something will come; the text says what is waited for.
    Waiting(String),
    /// It will not come without a change of the document.
    Failed(String),
}

/// The host, as far as it matters.
#[derive(Clone, Debug, Default)]
pub struct HostNow {
    pub boot_id: String,
    /// When the host booted, in microseconds since 1970.
    pub booted: i64,
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// As wanted, or as good as it gets: until something changes.
    Rest,
    RestUntil(Timestamp),
    /// Disks or network are not ready.
    WaitFor(String),
    /// A process is there that is not noted as up: note it.
    Adopt,
    Launch,
    /// Press the power button.
    PowerDown,
    /// End the process now.
    Kill,
    /// The process is gone: give back its ports and note how it went.
    Close(Close),
    /// Plug or unplug something of the running guest.
    Change(Change),
    /// Note that this generation cannot be reached.
    Fail(String),
    /// Remove ports and files.
    Erase,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Close {
    AsWanted,
    /// The host went down under it.
    HostFell {
        soon: bool,
    },
    ByItself {
        reason: String,
    },
}

pub fn decide(spec: &GuestSpec, life: &Life, needs: &Needs, memory: &Memory, host: &HostNow) -> Action {
    let gone = match life {
        Life::Gone { reason } => Some(reason.as_str()),
        _ => None,
    };
    match (spec.existence, gone) {
        (Existence::Absent, None) => Action::Kill,
        (Existence::Absent, Some(_)) if memory.phase == Phase::Erased => Action::Rest,
        (Existence::Absent, Some(_)) => Action::Erase,
        (Existence::Present, None) => alive(spec, needs, memory, host),
        (Existence::Present, Some(reason)) => not_alive(spec, reason, needs, memory, host),
    }
}

fn alive(spec: &GuestSpec, needs: &Needs, memory: &Memory, host: &HostNow) -> Action {
    match &memory.phase {
        Phase::Off | Phase::Launching { .. } | Phase::Ended { .. } | Phase::Erased => Action::Adopt,
        Phase::Stopping { since, pressed, .. } => {
            let deadline = Timestamp(*since).plus_secs(i64::from(stop_timeout(spec)));
            let again = Timestamp(*pressed).plus_secs(PRESS_AGAIN_SECS);
            if spec.force_stop || host.now >= deadline {
                Action::Kill
            } else if host.now >= again {
                Action::PowerDown
            } else {
                Action::RestUntil(deadline.min(again))
            }
        }
        Phase::Up { run } if spec.power == Power::Off || spec.restarts > run.restarts => {
            if spec.force_stop {
                Action::Kill
            } else {
                Action::PowerDown
            }
        }
        Phase::Up { run } => match next_change(run, spec) {
            None => Action::Rest,
            Some(_) if memory.failed_at(spec.generation).is_some() => Action::Rest,
            Some(change) if !change.needs_parts() => Action::Change(change),
            Some(change) => match needs {
                Needs::Ready => Action::Change(change),
                Needs::Waiting(what) => Action::WaitFor(what.clone()),
                Needs::Failed(why) => Action::Fail(why.clone()),
            },
        },
    }
}

fn not_alive(spec: &GuestSpec, reason: &str, needs: &Needs, memory: &Memory, host: &HostNow) -> Action {
    match &memory.phase {
        Phase::Off | Phase::Erased => start(spec, needs, memory),
        // The agent died while launching, or while the process ended as it was told.
        Phase::Launching { .. } | Phase::Stopping { .. } => Action::Close(Close::AsWanted),
        Phase::Up { run } if spec.power == Power::Off || asked_again(spec, run.restarts, run.starts) => {
            let _ = run;
            Action::Close(Close::AsWanted)
        }
        Phase::Up { run } if run.boot_id != host.boot_id => {
            Action::Close(Close::HostFell { soon: host.booted - run.started < SOON_SECS * 1_000_000 })
        }
        Phase::Up { .. } => Action::Close(Close::ByItself { reason: reason.to_string() }),
        Phase::Ended { run, generation, .. } => {
            let newer = spec.starts == 0 && spec.generation > *generation;
            if spec.power == Power::Off || newer || asked_again(spec, run.restarts, run.starts) {
                Action::Close(Close::AsWanted)
            } else {
                Action::Rest
            }
        }
    }
}

fn asked_again(spec: &GuestSpec, restarts: i64, starts: i64) -> bool {
    spec.restarts > restarts || spec.starts > starts
}

fn start(spec: &GuestSpec, needs: &Needs, memory: &Memory) -> Action {
    if spec.power == Power::Off || memory.failed_at(spec.generation).is_some() {
        return Action::Rest;
    }
    if memory.falls >= FALLS {
        return Action::Fail(format!("the host went down {} times in a row soon after this guest was started", memory.falls));
    }
    match needs {
        Needs::Ready => Action::Launch,
        Needs::Waiting(what) => Action::WaitFor(what.clone()),
        Needs::Failed(why) => Action::Fail(why.clone()),
    }
}

pub(super) fn stop_timeout(spec: &GuestSpec) -> u32 {
    if spec.stop_timeout_secs == 0 { STOP_TIMEOUT_SECS } else { spec.stop_timeout_secs }
}
