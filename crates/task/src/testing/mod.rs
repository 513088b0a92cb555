//! The tests every kind of task gets. A service describes a world, the engine of this module goes through everything that can happen in it.
//!
//! [`check`] runs the task undisturbed to learn its steps, then once for each disturbance, each time in a new world:
//! 1. every step done twice (of a transaction the first run is rolled back; a call is called twice): the same result;
//! 2. every step failing, before and after its effect: what the task changed is as before;
//! 3. the process killed before, inside and after every step, going forward and going back: the same result as undisturbed;
//! 4. every undo done twice: as before;
//! 5. the task cancelled at every boundary: as before;
//! 6. every undo failing for good: the task is stuck, and [`crate::retry`] ends it as before.
//!
//! Never called by a running service.

mod dump;
mod script;

pub use dump::{Dump, dump};

use crate::{Builder, Moment, NewTask, Options, Phase, TaskRow, Tasks, Verdict, operate, row, status};
use base::{Ctx, Facts, Result, err};
use script::{Rule, Script};
use std::sync::Arc;
use std::time::Duration;
use store::{Cond, Db, Read, work};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Far longer than anything takes on a loaded machine.
const LONG: Duration = Duration::from_secs(120);

/// A world for one kind of task.
pub trait Bed: Sync {
    type Env: Send + Sync + 'static;

    /// A new one: a database with its tables and what the task needs to find in it. [`crate::MIGRATIONS`] are applied by the test.
    fn world(&self) -> impl Future<Output = (Db, Arc<Self::Env>)> + Send;

    /// The kinds of task that take part.
    fn kinds(&self, builder: Builder<Self::Env>) -> Builder<Self::Env>;

    /// The task, after what its request writes.
    fn start(&self, tx: &mut store::Tx) -> impl Future<Output = Result<NewTask>> + Send;

    /// The tables whose rows count.
    fn tables(&self) -> Vec<&'static Facts>;

    /// Columns that may differ: `status` or `servers.status`. Times are never compared, identifiers not between worlds.
    fn volatile(&self) -> &'static [&'static str] {
        &["status", "progress", "update_version"]
    }

    /// The rows of a table that count; a service that keeps rows of what is gone leaves them out.
    fn rows(&self, _: &Facts) -> Cond {
        Cond::True
    }

    /// Returns when those [`Bed::beside`] have done what the ended task asked of them.
    fn settled(&self, _: &Db, _: &Self::Env) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// What the environment holds outside the database, as lines to compare.
    fn outside(&self, _: &Self::Env) -> Vec<String> {
        Vec::new()
    }

    /// Whoever answers: simulated agents. Runs beside the task until it is dropped; it is not killed with the engine.
    fn beside(&self, _: Db, _: Arc<Self::Env>) -> impl Future<Output = ()> + Send + 'static {
        std::future::pending()
    }
}

/// Options that do not wait long.
pub fn quick() -> Options {
    Options {
        retry_first: Duration::from_millis(1),
        retry_longest: Duration::from_millis(20),
        undo_attempts: 3,
        node: "test".to_string(),
        ..Options::default()
    }
}

/// An engine at work; dropping it is like killing the process.
pub struct Running {
    work: JoinHandle<Result<()>>,
    alive: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Running {
    pub fn new<E: Send + Sync + 'static>(tasks: Tasks<E>) -> Running {
        let alive = Box::new(tasks.alive());
        Running { work: tokio::spawn(async move { tasks.run(std::future::pending()).await }), alive }
    }

    /// Kills it and returns when nothing of it moves any more.
    ///
    /// # Panics
    /// When it had ended by itself, or does not go.
    pub async fn kill(mut self) {
        self.work.abort();
        // Aborted, which is what was wanted, or failed before, which is a finding.
        if let Ok(Err(e)) = (&mut self.work).await {
            panic!("the engine ended: {e} {:?}", e.context());
        }
        let end = Instant::now() + LONG;
        while (self.alive)() {
            assert!(Instant::now() < end, "the killed engine does not go");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// Starts a task as a request would.
pub async fn begin(db: &Db, new: &NewTask) -> Result<String> {
    db.tx(|tx| work(async move { crate::start(tx, &Ctx::platform("test"), new.clone()).await })).await
}

/// The task once it meets a condition.
///
/// # Panics
/// When it does not within minutes.
pub async fn when(db: &Db, id: &str, what: &str, cond: impl Fn(&TaskRow) -> bool) -> TaskRow {
    let end = Instant::now() + LONG;
    loop {
        let cursor = db.feed().head().await.expect("the end of the feed");
        let row = (&mut &*db).get::<TaskRow>(id).await.expect("the task").expect("a task");
        if cond(&row) {
            return row;
        }
        assert!(Instant::now() < end, "the task is not {what}: {row:#?}");
        db.feed().wait(cursor, Duration::from_millis(500)).await.expect("the feed");
    }
}

/// The task once it has ended.
pub async fn ended(db: &Db, id: &str) -> TaskRow {
    when(db, id, "ended", TaskRow::ended).await
}

/// How much was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps in the order in which the undisturbed task began them, as `task name/step`.
    pub steps: Vec<String>,
    /// Those that were undone when the last step failed.
    pub undos: Vec<String>,
    pub runs: usize,
}

/// One run of the task in a world of its own.
struct Outcome {
    row: TaskRow,
    before: Dump,
    after: Dump,
    script: Arc<Script>,
}

/// Goes through everything.
///
/// # Panics
/// With the disturbance and the difference, when the task does not stand it.
pub async fn check<B: Bed>(bed: &B) -> Report {
    let plain = once(bed, "undisturbed", Vec::new()).await;
    assert!(plain.row.succeeded(), "undisturbed, the task failed: {}", plain.row.facts.error);
    let steps = plain.script.seen(Phase::Act);
    assert!(!steps.is_empty(), "the task has no step");
    let mut report = Report { steps: steps.clone(), runs: 1, ..Report::default() };
    let final_point = steps.iter().position(|s| s.ends_with(crate::act::COMMIT)).unwrap_or(steps.len());
    let oops = || err!(Conflict, "the test says no");

    let out = once(bed, "every step twice", vec![Rule::always(Phase::Act, Moment::Before, Verdict::Twice)]).await;
    out.same_as(&plain, "every step twice");
    report.runs += 1;

    for (i, step) in steps.iter().enumerate() {
        let reversible = i <= final_point;
        let came_to = |moment: &Moment| plain.script.came_to(Phase::Act, step, *moment);
        for moment in [Moment::Before, Moment::Inside].into_iter().filter(came_to) {
            let what = format!("{step} failing {moment:?}");
            let out = once(bed, &what, vec![Rule::at(Phase::Act, step, moment, Verdict::Fail(oops()))]).await;
            out.undone(&what, reversible);
            report.runs += 1;
        }
        for moment in [Moment::Before, Moment::Inside, Moment::After].into_iter().filter(came_to) {
            let what = format!("killed at {step} {moment:?}");
            let out = once(bed, &what, vec![Rule::at(Phase::Act, step, moment, Verdict::Freeze)]).await;
            out.same_as(&plain, &what);
            report.runs += 1;
        }
        if reversible {
            let what = format!("cancelled at {step}");
            let out = once(bed, &what, vec![Rule::at(Phase::Act, step, Moment::Before, Verdict::Cancel)]).await;
            out.undone(&what, true);
            report.runs += 1;
        }
    }

    // Something fails as late as things can still be taken back, so that there is most to undo.
    let last = &steps[final_point.min(steps.len() - 1)];
    let inside = final_point == steps.len() && plain.script.came_to(Phase::Act, last, Moment::Inside);
    let fail = || Rule::at(Phase::Act, last, if inside { Moment::Inside } else { Moment::Before }, Verdict::Fail(oops()));
    let back = once(bed, "the last step failing", vec![fail()]).await;
    report.undos = back.script.seen(Phase::Undo);
    report.runs += 1;
    if report.undos.is_empty() {
        return report;
    }
    let out = once(bed, "every undo twice", vec![fail(), Rule::always(Phase::Undo, Moment::Before, Verdict::Twice)]).await;
    out.undone("every undo twice", true);
    for undo in &report.undos {
        for moment in [Moment::Before, Moment::Inside, Moment::After] {
            let what = format!("killed at the undo of {undo} {moment:?}");
            let out = once(bed, &what, vec![fail(), Rule::at(Phase::Undo, undo, moment, Verdict::Freeze)]).await;
            out.undone(&what, true);
            report.runs += 1;
        }
        let what = format!("the undo of {undo} failing");
        let out = once(bed, &what, vec![fail(), Rule::sticky(undo, oops())]).await;
        out.undone(&what, true);
        report.runs += 1;
    }
    report.runs += 1;
    report
}

async fn once<B: Bed>(bed: &B, what: &str, rules: Vec<Rule>) -> Outcome {
    let (db, env) = bed.world().await;
    db.migrate(&crate::MIGRATIONS).await.expect("the tables of tasks");
    let id = db
        .tx(|tx| {
            work(async move {
                let new = bed.start(tx).await?;
                crate::start(tx, &Ctx::platform("test"), new).await
            })
        })
        .await
        .expect("the start of the task");
    let before = world(bed, &db, &env).await;
    let script = Arc::new(Script::new(rules));
    let beside = tokio::spawn(bed.beside(db.clone(), env.clone()));
    let options = || Options { hook: Some(script.clone()), ..quick() };
    let engine = || Running::new(bed.kinds(Tasks::builder()).options(options()).build(&db, env.clone()));

    let running = engine();
    let end = format!("ended or stuck ({what})");
    let first = async {
        tokio::select! {
            () = script.frozen() => None,
            row = when(&db, &id, &end, |r| r.ended() || r.facts.status == status::STUCK) => Some(row),
            stuck = stuck(&db) => Some(stuck),
        }
    };
    let (row, running) = match first.await {
        None => {
            running.kill().await;
            (None, engine())
        }
        Some(row) => (Some(row), running),
    };
    let row = match row {
        Some(row) if row.facts.status == status::STUCK => {
            assert!(script.clear(), "{what}: the task is stuck: {}", row.facts.error);
            let stuck = row.facts.id.as_str();
            db.tx(|tx| work(async move { operate::retry(tx, stuck).await })).await.expect("a retry of the stuck task");
            when(&db, &id, &format!("ended ({what})"), TaskRow::ended).await
        }
        _ => when(&db, &id, &format!("ended ({what})"), TaskRow::ended).await,
    };
    assert!(script.all_happened(), "{what}: it never came to that");
    running.kill().await;
    bed.settled(&db, &env).await;
    beside.abort();
    sound(&db, what).await;
    let after = world(bed, &db, &env).await;
    Outcome { row, before, after, script }
}

/// A task that is stuck, once there is one: it may be a child of the one that was started.
async fn stuck(db: &Db) -> TaskRow {
    let mut cursor = db.feed().head().await.expect("the end of the feed");
    loop {
        let rows = (&mut &*db).list::<TaskRow>(Cond::eq("status", status::STUCK)).await.expect("the tasks");
        if let Some(row) = rows.into_iter().next() {
            return row;
        }
        db.feed().wait(cursor, LONG).await.expect("the feed");
        cursor = db.feed().head().await.expect("the end of the feed");
    }
}

async fn world<B: Bed>(bed: &B, db: &Db, env: &B::Env) -> Dump {
    let rows = |facts: &Facts| bed.rows(facts);
    let mut out = dump(db, &bed.tables(), rows, bed.volatile()).await.expect("the tables of the bed");
    out.add("outside", bed.outside(env));
    out
}

/// What must hold of the engine's own tables once all tasks have ended.
///
/// # Panics
/// When it does not.
pub async fn sound(db: &Db, what: &str) {
    let mut read = db;
    let tasks = read.list::<TaskRow>(Cond::True).await.expect("the tasks");
    for task in &tasks {
        let steps = operate::history(&mut &*db, &task.facts.id).await.expect("the journal");
        assert!(task.ended(), "{what}: the task has not ended: {task:#?}\n{steps:#?}");
        assert!(task.facts.end_at.is_some() && task.next_at.is_none() && task.holder.is_empty(), "{what}: {task:#?}");
        assert_eq!(task.succeeded(), task.failure().is_none(), "{what}: {task:#?}");
        for step in &steps {
            let open = step.state == row::state::BEGUN && (step.phase == Phase::Undo.name() || task.succeeded());
            assert!(!open, "{what}: a step was left open: {step:#?}");
        }
    }
    assert_eq!(read.count("task_holds", Cond::True).await.expect("the holds"), 0, "{what}: something is still held");
}

impl Outcome {
    fn same_as(&self, plain: &Outcome, what: &str) {
        assert!(self.row.succeeded(), "{what}: the task failed: {}", self.row.facts.error);
        assert_eq!(self.row.facts.progress, 100, "{what}");
        if let Some(difference) = plain.after.blurred().difference(&self.after.blurred()) {
            panic!("{what}: the result is not that of an undisturbed run\n{difference}");
        }
    }

    fn undone(&self, what: &str, reversible: bool) {
        // A body may take another way and succeed, and it may end after its point of no return: then there is nothing to compare with.
        if self.row.succeeded() || !reversible {
            return;
        }
        if let Some(difference) = self.before.difference(&self.after) {
            panic!("{what}: the failed task left something behind\n{difference}");
        }
    }
}
