//! Making simulated effects fail, or the agent die in the middle of one.

use base::{Error, Result};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Every simulated effect passes a named point before and one after it is done: `launch`, `launch.done`, `disk.create`,
/// `disk.create.done`, `records.guest`, … A plan says what happens there.
#[derive(Debug, Default)]
pub struct Faults {
    plan: Mutex<Plan>,
    crashed: Notify,
}

#[derive(Debug, Default)]
struct Plan {
    /// Errors to give at a point, so many times.
    errors: HashMap<String, (Error, u32)>,
    /// Points passed so far, while counting.
    passed: Vec<String>,
    /// Die at the n-th point from now.
    crash_in: Option<usize>,
}

impl Faults {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` passes of a point fail with this error.
    pub fn fail(&self, point: &str, error: Error, times: u32) {
        self.plan().errors.insert(point.to_string(), (error, times));
    }

    /// At the n-th point from now, counted from 0, whoever passes stops there for ever, and [`Faults::crashed`] returns: time to drop the
    /// agent.
    pub fn crash_in(&self, points: usize) {
        self.plan().crash_in = Some(points);
    }

    /// No crash is planned any more. Tells whether one was still to come.
    pub fn no_crash(&self) -> bool {
        self.plan().crash_in.take().is_some()
    }

    /// Returns when a planned crash has come.
    pub async fn crashed(&self) {
        self.crashed.notified().await;
    }

    /// Names of the points passed, in order.
    pub fn passed(&self) -> Vec<String> {
        self.plan().passed.clone()
    }

    /// Called by every simulated effect.
    pub(super) async fn point(&self, name: &str) -> Result<()> {
        let dies = {
            let mut plan = self.plan();
            if let Some((error, times)) = plan.errors.get_mut(name)
                && *times > 0
            {
                *times -= 1;
                return Err(error.clone());
            }
            match &mut plan.crash_in {
                None => false,
                Some(0) => {
                    plan.crash_in = None;
                    plan.passed.push(format!("{name} (died here)"));
                    true
                }
                Some(left) => {
                    *left -= 1;
                    plan.passed.push(name.to_string());
                    false
                }
            }
        };
        if dies {
            self.crashed.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}
