//! What the region is told about a guest. Pure.

use super::decide::Action;
use super::memory::{Memory, Phase};
use crate::hypervisor::{Life, MachineFacts};
use api_agent::{GuestObserved, GuestSpec, GuestState};

/// The state with the generation it answers to. A generation that has not been acted on yet is never answered with a resting state: the
/// region would take it for the result.
pub fn report(spec: &GuestSpec, life: &Life, memory: &Memory, action: &Action, facts: Option<&MachineFacts>) -> GuestObserved {
    let failure = memory.failed_at(spec.generation);
    let (state, error) = match (life, action) {
        (Life::Gone { .. }, Action::Erase) | (_, Action::Kill | Action::PowerDown) => (GuestState::Stopping, String::new()),
        (Life::Gone { .. }, _) => match &memory.phase {
            Phase::Erased => (GuestState::Absent, String::new()),
            // Asked for again: that it ended is no answer to that.
            Phase::Ended { .. } if matches!(action, Action::Close(_)) => (GuestState::Stopping, String::new()),
            Phase::Ended { reason, .. } => (GuestState::Stopped, reason.clone()),
            Phase::Up { .. } | Phase::Stopping { .. } => (GuestState::Stopping, String::new()),
            Phase::Launching { .. } => (GuestState::Starting, String::new()),
            Phase::Off => match action {
                Action::WaitFor(what) => (GuestState::Starting, what.clone()),
                Action::Launch | Action::Fail(_) => (GuestState::Starting, String::new()),
                _ => match failure {
                    Some(f) => (GuestState::Failed, f.error.clone()),
                    None => (GuestState::Stopped, String::new()),
                },
            },
        },
        (life, _) if matches!(memory.phase, Phase::Stopping { .. }) => (GuestState::Stopping, silence(life)),
        (Life::Running | Life::Silent, _) => {
            let error = failure.map_or_else(|| silence(life), |f| f.error.clone());
            (GuestState::Running, error)
        }
        (Life::Paused { reason }, _) => (GuestState::Paused, reason.clone()),
    };
    let unfinished = matches!(state, GuestState::Running | GuestState::Paused) && !matches!(action, Action::Rest | Action::RestUntil(_));
    let run = match &memory.phase {
        Phase::Ended { run, .. } => Some(run),
        other => other.run(),
    };
    let facts = facts.filter(|_| !matches!(life, Life::Gone { .. })).cloned().unwrap_or_default();
    GuestObserved {
        id: spec.id.clone(),
        generation: if unfinished { memory.reached } else { spec.generation },
        state,
        // Off, every restart asked for is behind it: the next start is newer than all of them.
        restarts: run.map_or(spec.restarts, |r| r.restarts),
        error,
        pid: facts.pid,
        qemu_version: facts.qemu_version,
        vnc: facts.vnc,
        serial: facts.serial,
        ended_by_itself: state == GuestState::Stopped && matches!(memory.phase, Phase::Ended { .. }),
    }
}

fn silence(life: &Life) -> String {
    if *life == Life::Silent { "the hypervisor process does not answer".into() } else { String::new() }
}
