//! The point of no return in a body that goes several ways at once: what is final is what the journal says, whatever comes first in a replay.

use crate::kit::{Deliver, Env, fresh};
use base::{Json, Result, err};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use task::testing::{Running, begin, ended, quick, when};
use task::{Flow, Hook, Moment, NewTask, Options, Phase, Point, Polled, Step, StepKey, Task, Tasks, Verdict, Wait};
use tokio::sync::{Notify, Semaphore};

const POINT: &str = "point of no return";

/// Delivers on one way, passes its point of no return on another, and fails.
#[derive(Serialize, Deserialize)]
struct Ways {
    /// The point comes only after the delivery.
    after: bool,
}

impl Task<Env> for Ways {
    const NAME: &'static str = "WaysTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        let deliver = async { flow.call(Deliver { what: "thing".to_string() }).await.map(drop) };
        let point = async {
            if self.after {
                flow.wait(Delivered(flow.id().to_string())).await?;
            }
            flow.commit_point().await
        };
        // Polled in this order: a replay comes by the delivery first when it was last, and last when it was first.
        match self.after {
            true => drop(futures_util::future::try_join(point, deliver).await?),
            false => drop(futures_util::future::try_join(deliver, point).await?),
        }
        flow.step(Fails).await?;
        Ok(Json::Null)
    }
}

/// Until the journal has the delivery.
struct Delivered(String);

impl Wait<Env> for Delivered {
    const NAME: &'static str = "delivered";
    type Out = ();

    fn watches(&self) -> Vec<(String, String)> {
        vec![("task".to_string(), self.0.clone())]
    }
    async fn poll(&self, _: &Env, tx: &mut store::Tx) -> Result<Polled<()>> {
        let steps = task::history(tx, &self.0).await?;
        Ok(if steps.iter().any(|s| s.name == "deliver" && s.state == "done") { Polled::Ready(()) } else { Polled::Pending })
    }
}

struct Fails;

impl Step<Env> for Fails {
    const NAME: &'static str = "fails";
    type Out = ();

    async fn act(&self, _: &Env, _: &mut store::Tx, _: &StepKey) -> Result<()> {
        Err(err!(Conflict, "as told"))
    }
    async fn undo(&self, _: &Env, _: &mut store::Tx, _: &StepKey, (): &()) -> Result<()> {
        Ok(())
    }
}

/// Freezes the body once, at one moment of one step.
struct FreezeAt {
    phase: Phase,
    step: &'static str,
    moment: Moment,
    happened: AtomicBool,
    frozen: Notify,
}

impl FreezeAt {
    fn new(phase: Phase, step: &'static str, moment: Moment) -> Arc<FreezeAt> {
        Arc::new(FreezeAt { phase, step, moment, happened: AtomicBool::new(false), frozen: Notify::new() })
    }
}

impl Hook for FreezeAt {
    fn at(&self, point: Point<'_>) -> Verdict {
        let here = (point.phase, point.step, point.moment) == (self.phase, self.step, self.moment);
        if !here || self.happened.swap(true, Ordering::SeqCst) {
            return Verdict::Go;
        }
        self.frozen.notify_one();
        Verdict::Freeze
    }
}

async fn killed_at(freeze: Arc<FreezeAt>, after: bool) -> (Arc<Env>, Vec<(String, String)>) {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let gate = Arc::new(Semaphore::new(0));
    *env.gate.lock().unwrap() = Some(gate.clone());
    let engine = || {
        let options = Options { hook: Some(freeze.clone()), ..quick() };
        Running::new(Tasks::builder().kind::<Ways>().options(options).build(&db, env.clone()))
    };
    let running = engine();
    let id = begin(&db, &NewTask::of(&Ways { after })).await.unwrap();
    if !after {
        when(&db, &id, "past its point of no return", |r| r.facts.committed).await;
    }
    gate.add_permits(100);
    tokio::time::timeout(Duration::from_secs(120), freeze.frozen.notified()).await.expect("it never came to that");
    running.kill().await;
    let running = engine();
    let row = ended(&db, &id).await;
    assert_eq!(row.failure().unwrap().to_string(), "as told");
    running.kill().await;
    let steps = task::history(&mut &db, &id).await.unwrap();
    (env, steps.into_iter().filter(|s| s.phase == "undo").map(|s| (s.name, s.state)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_after_it_on_another_way_is_undone_by_a_replay_too() {
    let (env, undone) = killed_at(FreezeAt::new(Phase::Undo, "deliver", Moment::Inside), false).await;
    assert_eq!(undone, [("deliver".to_string(), "done".to_string())]);
    assert!(env.things().is_empty(), "{:?}", env.things());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_it_on_another_way_stays_in_a_replay_too() {
    let (env, undone) = killed_at(FreezeAt::new(Phase::Act, POINT, Moment::After), true).await;
    assert_eq!(undone, []);
    assert_eq!(env.things().len(), 1, "the delivery lies behind the point of no return");
}
