//! A hook that disturbs as it is told and remembers what it saw.

use crate::{Hook, Moment, Phase, Point, Verdict};
use base::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

pub(crate) struct Rule {
    phase: Phase,
    /// `task name/step`; any when absent.
    step: Option<String>,
    moment: Moment,
    verdict: Verdict,
    once: bool,
    happened: bool,
}

impl Rule {
    pub fn always(phase: Phase, moment: Moment, verdict: Verdict) -> Rule {
        Rule { phase, step: None, moment, verdict, once: false, happened: false }
    }
    pub fn at(phase: Phase, step: &str, moment: Moment, verdict: Verdict) -> Rule {
        Rule { step: Some(step.to_string()), once: true, ..Rule::always(phase, moment, verdict) }
    }
    /// An undo that fails until [`Script::clear`].
    pub fn sticky(step: &str, error: Error) -> Rule {
        Rule { once: false, ..Rule::at(Phase::Undo, step, Moment::Inside, Verdict::Fail(error)) }
    }
}

pub(crate) struct Script {
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<(Phase, String, Moment)>>,
    frozen: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    pub fn new(rules: Vec<Rule>) -> Script {
        Script { rules: Mutex::new(rules), seen: Mutex::default(), frozen: Notify::new() }
    }

    /// Steps in the order in which they began.
    pub fn seen(&self, phase: Phase) -> Vec<String> {
        lock(&self.seen).iter().filter(|(p, _, m)| *p == phase && *m == Moment::Before).map(|(_, s, _)| s.clone()).collect()
    }

    /// Whether a step came to this moment: one that fails by itself has no inside.
    pub fn came_to(&self, phase: Phase, step: &str, moment: Moment) -> bool {
        lock(&self.seen).iter().any(|(p, s, m)| *p == phase && s == step && *m == moment)
    }

    /// Completes when something is frozen.
    pub async fn frozen(&self) {
        self.frozen.notified().await;
    }

    /// Ends what fails for good. False: nothing did.
    pub fn clear(&self) -> bool {
        let mut rules = lock(&self.rules);
        let sticky = |r: &Rule| r.phase == Phase::Undo && !r.once && matches!(r.verdict, Verdict::Fail(_));
        let found = rules.iter().any(|r| sticky(r) && r.happened);
        rules.retain(|r| !sticky(r));
        found
    }

    /// Whether every rule met its point.
    pub fn all_happened(&self) -> bool {
        lock(&self.rules).iter().all(|r| r.happened)
    }
}

impl Hook for Script {
    fn at(&self, point: Point<'_>) -> Verdict {
        let step = format!("{}/{}", point.task_name, point.step);
        if !self.came_to(point.phase, &step, point.moment) {
            lock(&self.seen).push((point.phase, step.clone(), point.moment));
        }
        let mut rules = lock(&self.rules);
        let hit = rules.iter_mut().find(|r| {
            let here = r.phase == point.phase && r.moment == point.moment && r.step.as_ref().is_none_or(|s| *s == step);
            here && !(r.once && r.happened)
        });
        let Some(rule) = hit else { return Verdict::Go };
        rule.happened = true;
        if matches!(rule.verdict, Verdict::Freeze) {
            self.frozen.notify_one();
        }
        rule.verdict.clone()
    }
}
