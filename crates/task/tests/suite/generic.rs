//! The generated tests on tasks of every shape, and on tasks that must not pass them.

use crate::kit::{self, Carton, Env, Shelf, Store};
use base::{Facts, Json, Resource, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{Cond, Db, Tx, add};
use task::testing::{Bed, check};
use task::{Builder, Flow, NewTask, Step, StepKey, Task};

/// A bed for any task on one box.
struct Kit {
    task: fn() -> NewTask,
    postgres: bool,
}

impl Bed for Kit {
    type Env = Env;

    async fn world(&self) -> (Db, Arc<Env>) {
        let db = if self.postgres { store::testing::postgres().await } else { store::testing::sqlite().await };
        kit::prepare(&db).await;
        (db, Arc::default())
    }
    fn kinds(&self, builder: Builder<Env>) -> Builder<Env> {
        builder.kind::<Store>().kind::<Pair>().kind::<Hasty>().kind::<Once>().kind::<Final>()
    }
    async fn start(&self, _: &mut Tx) -> Result<NewTask> {
        Ok((self.task)())
    }
    fn tables(&self) -> Vec<&'static Facts> {
        vec![Shelf::facts(), Carton::facts()]
    }
    fn outside(&self, env: &Env) -> Vec<String> {
        env.things().into_values().collect()
    }
    fn beside(&self, db: Db, _: Arc<Env>) -> impl Future<Output = ()> + Send + 'static {
        kit::inspector(db)
    }
}

/// Two boxes at once as children, each under a name of its own, then a try on a full shelf, then a decided name.
#[derive(Serialize, Deserialize)]
struct Pair {
    a: String,
    b: String,
}

impl Task<Env> for Pair {
    const NAME: &'static str = "BoxPairTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        let child = |box_id: &str| kit::store(box_id, "s1", true, false);
        flow.all([flow.sub("first", child(&self.a)), flow.sub("second", child(&self.b))]).await?;
        flow.hold("shelf", "s1").await?;
        let mut placed = "";
        for shelf in ["full", "s1"] {
            let attempt = flow.attempt(shelf, |flow| async move {
                flow.step(kit::Place { carton: format!("{shelf} extra"), shelf: shelf.to_string() }).await?;
                flow.step(kit::Reserve { shelf: shelf.to_string() }).await
            });
            match attempt.await {
                Ok(()) => placed = shelf,
                Err(e) if e.class() == base::Class::InsufficientResource => continue,
                Err(e) => return Err(e),
            }
            break;
        }
        let name = flow.decide("name", base::new_id).await?;
        flow.step(kit::Place { carton: name, shelf: placed.to_string() }).await?;
        Ok(Json::from(placed))
    }
}

/// Has a point of no return in the middle.
#[derive(Serialize, Deserialize)]
struct Final;

impl Task<Env> for Final {
    const NAME: &'static str = "BoxFinalTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        flow.step(kit::Reserve { shelf: "s1".to_string() }).await?;
        flow.commit_point().await?;
        flow.call(kit::Deliver { what: "b1".to_string() }).await?;
        Ok(Json::Null)
    }
}

/// Forgets to give the room back.
#[derive(Serialize, Deserialize)]
struct Hasty;

struct Grab;

impl Step<Env> for Grab {
    const NAME: &'static str = "grab";
    const NO_UNDO: &'static str = "a lie";
    type Out = ();

    async fn act(&self, _: &Env, tx: &mut Tx, _: &StepKey) -> Result<()> {
        tx.update("shelves", Cond::eq("id", "s1"), vec![add("used", 1)]).await.map(drop)
    }
}

impl Task<Env> for Hasty {
    const NAME: &'static str = "BoxHastyTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        flow.step(Grab).await?;
        flow.step(kit::Place { carton: "b1".to_string(), shelf: "s1".to_string() }).await?;
        Ok(Json::Null)
    }
}

/// Has an effect outside of its step.
#[derive(Serialize, Deserialize)]
struct Once;

struct Leak;

impl Step<Env> for Leak {
    const NAME: &'static str = "leak";
    const NO_UNDO: &'static str = "a lie";
    type Out = ();

    async fn act(&self, env: &Env, _: &mut Tx, _: &StepKey) -> Result<()> {
        env.put(&format!("leak {}", env.things().len()), "leak");
        Ok(())
    }
}

impl Task<Env> for Once {
    const NAME: &'static str = "BoxOnceTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        flow.step(Leak).await?;
        Ok(Json::Null)
    }
}

fn pair() -> NewTask {
    NewTask::of(&Pair { a: "b1".to_string(), b: "b2".to_string() }).on("box", "b1", "b1").on("box", "b2", "b2")
}

async fn passes(task: fn() -> NewTask, postgres: bool) -> task::testing::Report {
    check(&Kit { task, postgres }).await
}

/// The words with which a task fails the tests.
async fn fails(task: fn() -> NewTask) -> String {
    let outcome = tokio::spawn(passes(task, false)).await;
    let panic = outcome.expect_err("the task should not pass").into_panic();
    panic.downcast_ref::<String>().cloned().expect("a message")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_steps() {
    let report = passes(|| kit::store("b1", "s1", true, false), false).await;
    let steps = ["reserve", "place", "deliver", "until"].map(|s| format!("BoxStoreTask/{s}"));
    assert_eq!(report.steps, steps);
    assert_eq!(report.undos, ["deliver", "place", "reserve"].map(|s| format!("BoxStoreTask/{s}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_steps_on_postgres() {
    passes(|| kit::store("b1", "s1", true, false), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_attempts_holds_and_decisions() {
    let report = passes(pair, false).await;
    assert!(report.runs > 100, "{}", report.runs);
    for step in ["BoxPairTask/first", "BoxPairTask/second.end", "BoxStoreTask/deliver", "BoxPairTask/full/reserve", "BoxPairTask/s1/place"]
    {
        assert!(report.steps.iter().any(|s| s == step), "{step} is not in {:?}", report.steps);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_of_no_return() {
    let report = passes(|| NewTask::of(&Final), false).await;
    assert_eq!(report.steps.len(), 3, "{:?}", report.steps);
    assert_eq!(report.undos, ["BoxFinalTask/reserve"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_undo_is_found() {
    let words = fails(|| NewTask::of(&Hasty)).await;
    assert!(words.contains("left something behind") && words.contains("shelves"), "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_beside_the_transaction_is_found() {
    let words = fails(|| NewTask::of(&Once)).await;
    assert!(words.contains("every step twice") && words.contains("+ outside: leak"), "{words}");
}
