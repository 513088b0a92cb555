//! What the engine promises beyond a single undisturbed task.

use crate::kit::{self, Carton, Env, Shelf, engine, fresh, store};
use base::{Class, Json, Resource, Result, err};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use store::{Cond, Db, Read, Tx, set, work};
use task::testing::{Running, begin, ended, quick, when};
use task::{Flow, NewTask, Options, Step, StepKey, Task, TaskRow, Tasks, is_cancelled, status};
use tokio::time::Instant;

async fn check_box(db: &Db, id: &str) {
    db.tx(|tx| {
        work(async move {
            tx.update("boxes", Cond::eq("id", id), vec![set("status", "checked")]).await?;
            kit::changed(tx, id).await
        })
    })
    .await
    .unwrap();
}

async fn waiting(db: &Db, id: &str) -> TaskRow {
    when(db, id, "waiting", |r| r.facts.status == status::WAITING).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_is_held_until_the_end() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let running = Running::new(engine(&db, &env, quick()));
    let first = begin(&db, &store("b1", "s1", true, false)).await.unwrap();
    waiting(&db, &first).await;
    let refused = begin(&db, &store("b1", "s1", false, false)).await.unwrap_err();
    assert_eq!(refused.class(), Class::ResourceBusy);
    assert_eq!(refused.to_string(), format!("box b1 is held by task {first} (BoxStoreTask); wait for its end or cancel it"));
    assert_eq!(task::holder_of(&mut &db, "box", "b1").await.unwrap(), Some(first.clone()));
    assert_eq!((&mut &db).count("tasks", Cond::True).await.unwrap(), 1, "the refused task left no row");

    check_box(&db, "b1").await;
    assert!(ended(&db, &first).await.succeeded());
    let second = begin(&db, &store("b1", "s1", false, false)).await.unwrap();
    assert_eq!(ended(&db, &second).await.failure().unwrap().class(), Class::DuplicateId, "the box is there already");
    running.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passing_errors_are_retried_and_others_are_not() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let running = Running::new(engine(&db, &env, quick()));
    env.troubles.lock().unwrap().extend((0..5).map(|n| err!(ServiceAbnormal, "no answer {}", n)));
    let id = begin(&db, &store("b1", "s1", false, false)).await.unwrap();
    assert!(ended(&db, &id).await.succeeded());
    let steps = task::history(&mut &db, &id).await.unwrap();
    let deliver = steps.iter().find(|s| s.name == "deliver").unwrap();
    assert_eq!((deliver.attempts, deliver.state.as_str()), (6, "done"));

    env.troubles.lock().unwrap().push(err!(NotFound, "no such warehouse"));
    let id = begin(&db, &store("b2", "s1", false, false)).await.unwrap();
    assert_eq!(ended(&db, &id).await.failure().unwrap().to_string(), "no such warehouse");
    running.kill().await;
}

/// Puts a box and waits until it was checked, for as long as that takes, and looks only when it is told.
#[derive(Serialize, Deserialize)]
struct Patient {
    carton: String,
}

impl Task<Env> for Patient {
    const NAME: &'static str = "PatientTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        let carton = flow.step(kit::Place { carton: self.carton.clone(), shelf: "s1".to_string() }).await?;
        flow.wait(kit::Until { carton, status: "checked", deadline: None, every: Duration::from_secs(24 * 3600) }).await?;
        Ok(Json::Null)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_wait_without_asking_and_one_is_woken_alone() {
    const MANY: usize = 2000;
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let tasks = Tasks::builder().kind::<Patient>().options(Options { active: 8, ..quick() }).build(&db, env);
    let metrics = tasks.metrics().clone();
    let running = Running::new(tasks);
    let new = |carton: String| NewTask::of(&Patient { carton: carton.clone() }).on("box", &carton, &carton);
    let news: Vec<NewTask> = (0..MANY).map(|n| new(format!("b{n}"))).collect();
    let mut ids = Vec::new();
    for chunk in news.chunks(100) {
        let started = db.tx(|tx| {
            work(async move {
                let mut ids = Vec::new();
                for new in chunk {
                    ids.push(task::start(tx, &base::Ctx::platform("many"), new.clone()).await?);
                }
                Ok(ids)
            })
        });
        ids.extend(started.await.unwrap());
    }
    // The last is counted as parked an instant after it no longer counts as active, or before.
    let end = Instant::now() + Duration::from_secs(240);
    while metrics.parked.get() < MANY as i64 || metrics.active.get() > 0 {
        let (parked, active) = (metrics.parked.get(), metrics.active.get());
        assert!(Instant::now() < end, "{parked} of {MANY} are parked, {active} active");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((metrics.active.get(), metrics.parked.get()), (0, MANY as i64));
    let polls = metrics.polls.get();
    assert!(polls <= MANY as u64 * 2, "{polls} looks for {MANY} waits");

    check_box(&db, "b700").await;
    assert!(ended(&db, &ids[700]).await.succeeded());
    assert_eq!(metrics.polls.get(), polls + 1, "nobody else looked");
    assert_eq!(metrics.parked.get(), MANY as i64 - 1);
    running.kill().await;
}

/// Waits for a box that nobody checks.
#[derive(Serialize, Deserialize)]
struct Hopeless;

impl Task<Env> for Hopeless {
    const NAME: &'static str = "HopelessTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        flow.step(kit::Place { carton: "b1".to_string(), shelf: "s1".to_string() }).await?;
        flow.wait(kit::Until {
            carton: "b1".to_string(),
            status: "checked",
            deadline: Some(Duration::from_millis(100)),
            every: kit::USUAL,
        })
        .await?;
        Ok(Json::Null)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_late_fails_the_task() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let running = Running::new(Tasks::builder().kind::<Hopeless>().options(quick()).build(&db, env));
    let id = begin(&db, &NewTask::of(&Hopeless)).await.unwrap();
    let error = ended(&db, &id).await.failure().unwrap();
    assert_eq!((error.class(), error.to_string().as_str()), (Class::Timeout, "until did not happen in time"));
    assert!((&mut &db).get::<Carton>("b1").await.unwrap().is_none());
    running.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_a_waiting_a_queued_and_an_ended_task() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let cancel = |id: String| {
        let db = db.clone();
        async move { db.tx(|tx| work(task::cancel(tx, &id))).await }
    };
    let queued = begin(&db, &store("b0", "s1", false, false)).await.unwrap();
    cancel(queued.clone()).await.unwrap();
    let running = Running::new(engine(&db, &env, quick()));
    assert!(is_cancelled(&ended(&db, &queued).await.failure().unwrap()));
    assert_eq!(task::history(&mut &db, &queued).await.unwrap().len(), 0, "it never began");

    let id = begin(&db, &store("b1", "s1", true, false)).await.unwrap();
    waiting(&db, &id).await;
    cancel(id.clone()).await.unwrap();
    assert!(is_cancelled(&ended(&db, &id).await.failure().unwrap()));
    assert_eq!((&mut &db).get::<Shelf>("s1").await.unwrap().unwrap().used, 0);
    let late = cancel(id.clone()).await.unwrap_err();
    assert_eq!(late.class(), Class::InvalidStatus);
    running.kill().await;
}

/// Passes its point of no return and then waits.
#[derive(Serialize, Deserialize)]
struct Sworn {
    fail: bool,
}

impl Task<Env> for Sworn {
    const NAME: &'static str = "SwornTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        flow.step(kit::Place { carton: "b1".to_string(), shelf: "s1".to_string() }).await?;
        flow.commit_point().await?;
        flow.step(kit::Reserve { shelf: "s1".to_string() }).await?;
        flow.wait(kit::Until { carton: "b1".to_string(), status: "checked", deadline: None, every: kit::USUAL }).await?;
        if self.fail { Err(err!(Conflict, "too late")) } else { Ok(Json::Null) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_point_of_no_return_there_is_no_cancelling_and_no_undo() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let running = Running::new(Tasks::builder().kind::<Sworn>().options(quick()).build(&db, env));
    let id = begin(&db, &NewTask::of(&Sworn { fail: true })).await.unwrap();
    waiting(&db, &id).await;
    let refused = db.tx(|tx| work(task::cancel(tx, &id))).await.unwrap_err();
    assert_eq!(refused.class(), Class::InvalidStatus);
    check_box(&db, "b1").await;
    assert_eq!(ended(&db, &id).await.failure().unwrap().to_string(), "too late");
    assert!((&mut &db).get::<Carton>("b1").await.unwrap().is_some(), "what was before the point stays");
    assert_eq!((&mut &db).get::<Shelf>("s1").await.unwrap().unwrap().used, 0, "what came after it is undone");
    running.kill().await;
}

/// A task that fails, and whose call cannot be taken back while the warehouse has trouble.
async fn make_stuck(db: &Db, env: &Env) -> (String, TaskRow) {
    let id = begin(db, &store("b1", "s1", true, true)).await.unwrap();
    waiting(db, &id).await;
    env.troubles.lock().unwrap().extend((0..3).map(|_| err!(Forbidden, "the gate is shut")));
    check_box(db, "b1").await;
    let row = when(db, &id, "stuck", |r| r.facts.status == status::STUCK).await;
    (id, row)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_task_is_visible_and_can_be_retried_skipped_and_abandoned() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let tasks = engine(&db, &env, quick());
    let metrics = tasks.metrics().clone();
    let running = Running::new(tasks);
    let used = async || (&mut &db).get::<Shelf>("s1").await.unwrap().unwrap().used;

    let (id, row) = make_stuck(&db, &env).await;
    assert_eq!((row.facts.stage.as_str(), row.holder.as_str(), row.next_at), ("deliver", "", None));
    assert_eq!(row.failure().unwrap().to_string(), "the box is ugly", "why it went back");
    let steps = task::history(&mut &db, &id).await.unwrap();
    let undo = steps.iter().find(|s| s.phase == "undo" && s.name == "deliver").unwrap();
    assert_eq!((undo.state.as_str(), undo.attempts), ("failed", 3));
    assert_eq!(task::error_from_json(&undo.error).unwrap().to_string(), "the gate is shut", "why it cannot go on");
    assert_eq!(begin(&db, &store("b1", "s1", false, false)).await.unwrap_err().class(), Class::ResourceBusy, "its objects are still held");
    db.tx(|tx| work(task::retry(tx, &id))).await.unwrap();
    ended(&db, &id).await;
    assert_eq!((used().await, env.things().len()), (0, 0));
    assert_eq!(db.tx(|tx| work(task::retry(tx, &id))).await.unwrap_err().class(), Class::InvalidStatus);

    let (id, _) = make_stuck(&db, &env).await;
    db.tx(|tx| work(task::skip(tx, &id))).await.unwrap();
    ended(&db, &id).await;
    assert_eq!((used().await, env.things().len()), (0, 1), "only the skipped undo was not done");

    let (id, _) = make_stuck(&db, &env).await;
    db.tx(|tx| work(task::abandon(tx, &id))).await.unwrap();
    let row = ended(&db, &id).await;
    assert_eq!(row.failure().unwrap().to_string(), "the box is ugly");
    assert_eq!((used().await, env.things().len()), (1, 2), "nothing more was undone");
    assert_eq!((&mut &db).count("task_holds", Cond::True).await.unwrap(), 0);
    // Counted after the row is written, which is all that was waited for.
    let stuck = || metrics.stuck.get_or_create(&task::OfTask { task: "BoxStoreTask".to_string() }).get();
    let counted = async {
        while stuck() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), counted).await.unwrap_or_else(|_| panic!("{} counted as stuck", stuck()));
    assert_eq!(stuck(), 3);
    running.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_thought_dead_changes_nothing() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *env.gate.lock().unwrap() = Some(gate.clone());
    let first = engine(&db, &env, quick());
    let lost = first.metrics().lost.clone();
    let first = Running::new(first);
    let id = begin(&db, &store("b1", "s1", false, false)).await.unwrap();
    env.until_calls(1).await;
    // The second process starts at the same place, so the first one counts as dead, but it is only slow.
    let second = Running::new(engine(&db, &env, quick()));
    env.until_calls(2).await;
    assert_eq!((&mut &db).get::<TaskRow>(&id).await.unwrap().unwrap().epoch, 2);
    gate.add_permits(2);
    assert!(ended(&db, &id).await.succeeded());
    let end = Instant::now() + Duration::from_secs(60);
    while lost.get() == 0 {
        assert!(Instant::now() < end, "the first worker did not notice");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let steps = task::history(&mut &db, &id).await.unwrap();
    assert_eq!(steps.iter().filter(|s| s.state == "done").count(), 3);
    assert_eq!((&mut &db).get::<Shelf>("s1").await.unwrap().unwrap().used, 1);
    first.kill().await;
    second.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stops_leaves_its_tasks_to_others_at_once() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    // Places differ and the lease is long: without giving them back nobody else would get them in time.
    let options = |node: &str| Options { node: node.to_string(), lease: Duration::from_secs(3600), ..quick() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let tasks = engine(&db, &env, options("one"));
    let first = tokio::spawn(async move { tasks.run(async { drop(stopped.await) }).await });
    let second = Running::new(engine(&db, &env, options("two")));
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(begin(&db, &store(&format!("b{n}"), "s1", true, false)).await.unwrap());
    }
    for id in &ids {
        waiting(&db, id).await;
    }
    stop.send(()).unwrap();
    first.await.unwrap().unwrap();
    for (n, id) in ids.iter().enumerate() {
        check_box(&db, &format!("b{n}")).await;
        assert!(ended(&db, id).await.succeeded());
    }
    second.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_worker_is_replaced_when_its_lease_has_run_out() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let options = |node: &str| Options { node: node.to_string(), lease: Duration::from_millis(900), ..quick() };
    let first = Running::new(engine(&db, &env, options("one")));
    let id = begin(&db, &store("b1", "s1", true, false)).await.unwrap();
    waiting(&db, &id).await;
    let second = Running::new(engine(&db, &env, options("two")));
    first.kill().await;
    when(&db, &id, "taken over", |r| r.epoch == 2).await;
    check_box(&db, "b1").await;
    assert!(ended(&db, &id).await.succeeded());
    second.kill().await;
}

/// A task of which the second version of the program has forgotten a step.
#[derive(Serialize, Deserialize)]
struct Old {}

#[derive(Serialize, Deserialize)]
struct Young {}

impl Task<Env> for Old {
    const NAME: &'static str = "ChangedTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        flow.step(kit::Reserve { shelf: "s1".to_string() }).await?;
        flow.step(kit::Place { carton: "b1".to_string(), shelf: "s1".to_string() }).await?;
        flow.wait(kit::Until { carton: "b1".to_string(), status: "checked", deadline: None, every: kit::USUAL }).await?;
        Ok(Json::Null)
    }
}

impl Task<Env> for Young {
    const NAME: &'static str = "ChangedTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        flow.step(kit::Place { carton: "b1".to_string(), shelf: "s1".to_string() }).await?;
        Err(err!(Conflict, "never mind"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_forgot_a_step_is_stuck_before_anything_is_undone() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let running = Running::new(Tasks::builder().kind::<Old>().options(quick()).build(&db, env.clone()));
    let id = begin(&db, &NewTask::of(&Old {})).await.unwrap();
    waiting(&db, &id).await;
    running.kill().await;
    let running = Running::new(Tasks::builder().kind::<Young>().options(quick()).build(&db, env));
    let row = when(&db, &id, "stuck", |r| r.facts.status == status::STUCK).await;
    assert_eq!(row.facts.stage, "(replay)");
    assert!((&mut &db).get::<Carton>("b1").await.unwrap().is_some());
    db.tx(|tx| work(task::skip(tx, &id))).await.unwrap();
    assert_eq!(ended(&db, &id).await.failure().unwrap().to_string(), "never mind");
    assert!((&mut &db).get::<Carton>("b1").await.unwrap().is_none());
    assert_eq!((&mut &db).get::<Shelf>("s1").await.unwrap().unwrap().used, 1, "nobody knows how to undo it");
    running.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_kinds_wait_and_unreadable_input_is_stuck() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let strange = begin(&db, &NewTask::of(&Hopeless)).await.unwrap();
    let broken = begin(&db, &store("b1", "s1", false, false)).await.unwrap();
    let bad = Json::from("no box at all");
    let (id, bad) = (&broken, &bad);
    db.tx(|tx| work(async move { tx.update("tasks", Cond::eq("id", id.as_str()), vec![set("params", bad.clone())]).await })).await.unwrap();
    let running = Running::new(engine(&db, &env, quick()));
    let row = when(&db, &broken, "stuck", |r| r.facts.status == status::STUCK).await;
    assert_eq!(row.facts.stage, "(replay)");
    assert_eq!((&mut &db).get::<TaskRow>(&strange).await.unwrap().unwrap().facts.status, status::QUEUE);
    db.tx(|tx| work(task::abandon(tx, &broken))).await.unwrap();
    assert!(ended(&db, &broken).await.failure().is_some());
    running.kill().await;
}

/// Panics where it is told to.
#[derive(Clone, Serialize, Deserialize)]
struct Panics {
    undo: bool,
}

impl Step<Env> for Panics {
    const NAME: &'static str = "panics";
    type Out = ();

    async fn act(&self, _: &Env, tx: &mut Tx, _: &StepKey) -> Result<()> {
        tx.insert(&Carton { id: "b1".to_string(), ..Carton::default() }.to_row()).await?;
        assert!(self.undo, "in act");
        Ok(())
    }
    async fn undo(&self, _: &Env, _: &mut Tx, _: &StepKey, (): &()) -> Result<()> {
        panic!("in undo")
    }
}

impl Task<Env> for Panics {
    const NAME: &'static str = "PanicsTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        flow.step(kit::Reserve { shelf: "s1".to_string() }).await?;
        flow.step(self.clone()).await?;
        Err(err!(Conflict, "as told"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_fails_the_step_or_its_undo_and_not_the_worker() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let running = Running::new(Tasks::builder().kind::<Panics>().options(quick()).build(&db, env));
    let act = begin(&db, &NewTask::of(&Panics { undo: false })).await.unwrap();
    let row = ended(&db, &act).await;
    assert_eq!(row.failure().unwrap().class(), Class::Internal);
    assert_eq!((&mut &db).get::<Shelf>("s1").await.unwrap().unwrap().used, 0);
    assert!((&mut &db).get::<Carton>("b1").await.unwrap().is_none());
    let undo = begin(&db, &NewTask::of(&Panics { undo: true })).await.unwrap();
    let row = when(&db, &undo, "stuck", |r| r.facts.status == status::STUCK).await;
    assert_eq!(row.facts.stage, "panics");
    running.kill().await;
}

async fn workers_share(db: Db) {
    const MANY: usize = 150;
    let env = Arc::new(Env::default());
    let mut ids = Vec::new();
    for n in 0..MANY {
        ids.push(begin(&db, &store(&format!("b{n}"), "s1", false, n % 7 == 0)).await.unwrap());
    }
    let options = |node: &str| Options { node: node.to_string(), active: 4, ..quick() };
    let engines: Vec<Tasks<Env>> = ["one", "two", "three"].into_iter().map(|n| engine(&db, &env, options(n))).collect();
    let claimed: Vec<_> = engines.iter().map(|e| e.metrics().claimed.clone()).collect();
    let each =
        || -> Vec<u64> { claimed.iter().map(|c| c.get_or_create(&task::OfTask { task: "BoxStoreTask".to_string() }).get()).collect() };
    // Nobody gets further than the delivery until all three have some: each takes as many as it may work on, and there are far more.
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *env.gate.lock().unwrap() = Some(gate.clone());
    let running: Vec<Running> = engines.into_iter().map(Running::new).collect();
    let end = Instant::now() + Duration::from_secs(120);
    while each().contains(&0) {
        assert!(Instant::now() < end, "{:?}", each());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gate.add_permits(MANY * 4);
    for (n, id) in ids.iter().enumerate() {
        let row = ended(&db, id).await;
        assert_eq!((row.succeeded(), row.epoch), (n % 7 != 0, 1), "{row:?}");
    }
    let each = each();
    assert_eq!(each.iter().sum::<u64>(), MANY as u64, "{each:?}");
    assert_eq!((&mut &db).get::<Shelf>("s1").await.unwrap().unwrap().used as usize, MANY - MANY.div_ceil(7));
    task::testing::sound(&db, "shared work").await;
    for r in running {
        r.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_work_on_sqlite() {
    workers_share(fresh().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_work_on_postgres() {
    let db = store::testing::postgres().await;
    kit::prepare(&db).await;
    workers_share(db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_see_every_step_with_rising_versions() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let mut cursor = db.feed().head().await.unwrap();
    let running = Running::new(engine(&db, &env, quick()));
    let id = begin(&db, &store("b1", "s1", false, false)).await.unwrap();
    let row = ended(&db, &id).await;
    let (head, mut changes) = (db.feed().settle().await.unwrap(), Vec::new());
    while cursor < head {
        let batch = db.feed().after(cursor, 1000).await.unwrap();
        assert!(!batch.lost && !batch.changes.is_empty());
        changes.extend(batch.changes);
        cursor = batch.cursor;
    }
    let seen: Vec<(i64, String, i64)> = changes
        .iter()
        .filter(|(_, _, c)| c.kind == "task" && c.id == id)
        .map(|(_, _, c)| (c.version, c.data["stage"].as_str().unwrap().to_string(), c.data["progress"].as_i64().unwrap()))
        .collect();
    let stages: Vec<&str> = seen.iter().map(|(_, stage, _)| stage.as_str()).collect();
    assert_eq!(stages, ["on_init", "reserve", "place", "deliver", "deliver", "complete"], "a call is seen twice: begun and done");
    let progress: Vec<i64> = seen.iter().map(|(_, _, p)| *p).collect();
    assert!(progress.is_sorted() && progress.last() == Some(&100), "{progress:?}");
    let versions: Vec<i64> = seen.iter().map(|(v, _, _)| *v).collect();
    assert!(versions.windows(2).all(|w| w[0] < w[1]) && versions.last() == Some(&row.update_version), "{versions:?}");
    running.kill().await;
}

/// Sleeps, and is told when it began.
#[derive(Serialize, Deserialize)]
struct Nap;

impl Task<Env> for Nap {
    const NAME: &'static str = "NapTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        flow.sleep("nap", Duration::from_millis(300)).await?;
        Ok(Json::Null)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleeping_and_beginning_later() {
    let (db, env) = (fresh().await, Arc::new(Env::default()));
    let options = Options { look: Duration::from_millis(50), ..quick() };
    let running = Running::new(Tasks::builder().kind::<Nap>().options(options).build(&db, env));
    let asked = db.clock().now();
    let id = begin(&db, &NewTask::of(&Nap).not_before(asked.plus_millis(400))).await.unwrap();
    let row = ended(&db, &id).await;
    assert!(row.facts.start_at.unwrap().since(asked) >= 400_000, "{row:?}");
    assert!(row.facts.end_at.unwrap().since(row.facts.start_at.unwrap()) >= 300_000, "{row:?}");
    running.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_are_those_of_the_facts() {
    for db in [store::testing::sqlite().await, store::testing::postgres().await] {
        db.migrate(&task::MIGRATIONS).await.unwrap();
        for facts in [TaskRow::facts(), task::ArchivedTask::facts(), task::StepRow::facts()] {
            let mut found = store::ddl::check(&db, facts).await.unwrap();
            // The journal's key are three columns, which facts cannot say.
            found.retain(|words| facts.table != "task_steps" || !words.ends_with("must not be the primary key"));
            assert_eq!(found, Vec::<String>::new(), "{}", facts.table);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_tasks_are_archived_with_their_history_and_later_deleted() {
    use base::Clock;
    use reconcile::{Reconciler, Turn};
    const DAY: Duration = Duration::from_secs(86_400);
    let clock = Clock::manual(base::Timestamp::parse("2026-01-01T00:00:00Z").unwrap());
    let db = store::testing::sqlite_with(clock.clone()).await;
    kit::prepare(&db).await;
    let env = Arc::new(Env::default());
    let running = Running::new(engine(&db, &env, quick()));
    let done = begin(&db, &store("b1", "s1", false, false)).await.unwrap();
    ended(&db, &done).await;
    let open = begin(&db, &store("b2", "s1", true, false)).await.unwrap();
    waiting(&db, &open).await;
    running.kill().await;

    let retention = task::Retention::new(&db);
    let run = async || retention.run(&Turn::alone()).await.unwrap();
    assert_eq!((run().await.get("archived"), run().await.get("deleted")), (0, 0));
    clock.advance(DAY * 8);
    assert_eq!(run().await.get("archived"), 1);
    let mut read = &db;
    assert!(read.get::<TaskRow>(&done).await.unwrap().is_none());
    assert_eq!(task::history(&mut read, &done).await.unwrap().len(), 0);
    let archived = read.get::<task::ArchivedTask>(&done).await.unwrap().unwrap();
    let names: Vec<&str> = archived.history.as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["reserve", "place", "deliver"]);
    assert_eq!(archived.facts.result, "receipt for b1");
    assert!(read.get::<TaskRow>(&open).await.unwrap().is_some(), "one that has not ended stays, however old");
    clock.advance(DAY * 365);
    assert_eq!(run().await.get("deleted"), 1);
    assert!(read.get::<task::ArchivedTask>(&done).await.unwrap().is_none());
}
