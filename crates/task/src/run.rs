//! One body at work: its place in the database, its journal in memory, and the fenced writes both are changed with.
//!
//! Every transaction of a body begins with [`Run::open`], which changes the task's row only if this worker still has it. Zero rows mean that
//! another worker took the task over: the body then stops without a word, and whatever its transaction did is rolled back.

use crate::act::COMMIT;
use crate::engine::Core;
use crate::hook::{Moment, Point, Verdict};
use crate::{Phase, StepKey, StepRow, TaskRow, operate, row, stage, start, state, status};
use base::{Ctx, Error, Json, Kind, Resource, Result, Timestamp, Value, err};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{ChangeOp, Cond, Put, Read, Select, Sets, Tx, Work, set, work};
use tokio::sync::Notify;

/// Forward, or why it goes back.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    Forward,
    Undo(Error),
}

#[derive(Default)]
pub(crate) struct Journal {
    rows: HashMap<(Phase, String), StepRow>,
    /// Names this run of the body has come by.
    visited: HashSet<String>,
    /// Steps behind the point of no return.
    finals: HashSet<String>,
    seq: i64,
    /// Steps done, for the progress.
    done: i64,
    /// What the body said about its progress.
    said: Option<i64>,
}

/// Whether a transaction may go on.
pub(crate) enum Fence {
    /// With the task's row as it is now.
    Held(Box<TaskRow>),
    Cancelled,
    Lost,
}

/// What a fenced transaction came to.
pub(crate) enum Written<T> {
    Done(T),
    Cancelled,
    Lost,
}

/// How many branches of a body work and how many wait.
#[derive(Default)]
struct Load {
    busy: usize,
    parked: usize,
    is_parked: bool,
}

pub(crate) struct Run<E> {
    pub core: Arc<Core<E>>,
    pub id: Arc<str>,
    pub ctx: Arc<Ctx>,
    pub steps: i64,
    /// The row as it was last written; its version is ours to count while we hold the task.
    row: Mutex<TaskRow>,
    /// Transactions of one body one after the other: they change the same row.
    order: tokio::sync::Mutex<()>,
    journal: Mutex<Journal>,
    mode: Mutex<Mode>,
    load: Mutex<Load>,
    lost: AtomicBool,
    gone: Notify,
}

/// Version of a row that may have changed behind our back.
const UNKNOWN: i64 = 0;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves a transaction without a trace; never seen by anybody else.
pub(crate) fn rollback() -> Error {
    err!(NotAcceptable, "rolled back")
}

impl<E> Run<E> {
    pub fn new(core: Arc<Core<E>>, mut row: TaskRow, steps: u32, journal: Vec<StepRow>) -> Run<E> {
        // The row is copied with every step and nobody looks at the big documents in it again.
        let caller = serde_json::from_value(std::mem::take(&mut row.facts.user_cred)).unwrap_or_default();
        let ctx = Ctx { caller: Arc::new(caller), ..Ctx::platform(&row.facts.request_id) };
        let mode = match (row.facts.status == status::UNDOING, row.failure()) {
            (true, error) => Mode::Undo(error.unwrap_or_else(|| err!(ServiceAbnormal, "the task is taken back"))),
            (false, _) => Mode::Forward,
        };
        let mut memory = Journal::default();
        for step in journal {
            memory.seq = memory.seq.max(step.seq);
            if step.name == COMMIT {
                memory.finals = final_steps(&step);
            }
            let phase = if step.phase == Phase::Undo.name() { Phase::Undo } else { Phase::Act };
            memory.rows.insert((phase, step.name.clone()), step);
        }
        Run {
            core,
            id: row.facts.id.as_str().into(),
            ctx: Arc::new(ctx),
            steps: i64::from(steps),
            row: Mutex::new(row),
            order: tokio::sync::Mutex::default(),
            journal: Mutex::new(memory),
            mode: Mutex::new(mode),
            load: Mutex::default(),
            lost: AtomicBool::new(false),
            gone: Notify::new(),
        }
    }

    pub fn row(&self) -> TaskRow {
        lock(&self.row).clone()
    }

    pub fn key(&self, step: &str) -> StepKey {
        StepKey { task_id: self.id.clone(), step: step.into(), epoch: lock(&self.row).epoch, ctx: self.ctx.clone() }
    }

    /// The error it goes back for, if it does.
    pub fn undoing(&self) -> Option<Error> {
        match &*lock(&self.mode) {
            Mode::Forward => None,
            Mode::Undo(error) => Some(error.clone()),
        }
    }

    // The end of a body that is no longer ours.

    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Completes when the body has to be dropped.
    pub async fn gone(&self) {
        while !self.is_lost() {
            self.gone.notified().await;
        }
    }

    /// Has the body dropped where it stands.
    pub async fn leave(&self) -> Infallible {
        if !self.lost.swap(true, Ordering::SeqCst) {
            self.gone.notify_one();
        }
        std::future::pending().await
    }

    pub async fn lose(&self) -> Infallible {
        if !self.is_lost() {
            self.core.metrics.lost.inc();
            tracing::debug!(task = %self.id, "another worker has the task");
        }
        self.leave().await
    }

    /// Takes over which steps a point of no return has made final.
    pub fn finalize(&self, point: &StepRow) -> HashSet<String> {
        let finals = final_steps(point);
        lock(&self.journal).finals.clone_from(&finals);
        finals
    }

    pub fn is_final(&self, step: &str) -> bool {
        lock(&self.journal).finals.contains(step)
    }

    // The journal in memory.

    /// Enters a step: its row, if it was journaled before. A name must not come twice.
    pub fn enter(&self, name: &str) -> Result<Option<StepRow>> {
        let mut journal = lock(&self.journal);
        if !journal.visited.insert(name.to_string()) {
            return Err(Error::internal(format!("the body enters step {name} twice; names within a task are unique")));
        }
        let row = journal.rows.get(&(Phase::Act, name.to_string())).cloned();
        if row.as_ref().is_some_and(|r| r.state == state::DONE) {
            journal.done += 1;
        }
        Ok(row)
    }

    pub fn journaled(&self, phase: Phase, name: &str) -> Option<StepRow> {
        lock(&self.journal).rows.get(&(phase, name.to_string())).cloned()
    }

    /// Steps that have an effect and that this run of the body did not come by.
    pub fn unvisited(&self) -> Vec<String> {
        let journal = lock(&self.journal);
        let missed = journal.rows.iter().filter(|((phase, name), row)| {
            let undone =
                || journal.rows.get(&(Phase::Undo, name.clone())).is_some_and(|u| u.state != state::FAILED && u.state != state::BEGUN);
            *phase == Phase::Act && row.state != state::FAILED && !journal.visited.contains(name) && !undone()
        });
        missed.map(|((_, name), _)| name.clone()).collect()
    }

    /// A new row of the journal, not yet written.
    pub fn begin(&self, phase: Phase, name: &str, state: &str, started_at: Timestamp, attempts: i64) -> StepRow {
        let mut journal = lock(&self.journal);
        let seq = match journal.rows.get(&(phase, name.to_string())) {
            Some(row) => row.seq,
            None => {
                journal.seq += 1;
                journal.seq
            }
        };
        StepRow {
            task_id: self.id.to_string(),
            phase: phase.name().to_string(),
            name: name.to_string(),
            seq,
            state: state.to_string(),
            attempts,
            started_at,
            ..StepRow::default()
        }
    }

    /// Takes a row over that a transaction has committed.
    pub fn committed(&self, phase: Phase, row: StepRow) {
        let mut journal = lock(&self.journal);
        if phase == Phase::Act && row.state == state::DONE {
            journal.done += 1;
            self.core.metrics.steps.inc();
            self.core.metrics.step_seconds.observe(row.ended_at.map_or(0.0, |end| end.since(row.started_at) as f64 / 1e6));
        }
        journal.rows.insert((phase, row.name.clone()), row);
    }

    pub fn say(&self, percent: i64) {
        lock(&self.journal).said = Some(percent.clamp(0, 99));
    }

    /// Percent done; `within` is that of the step it is in.
    fn progress(&self, within: i64) -> i64 {
        let journal = lock(&self.journal);
        match journal.said {
            Some(said) => said,
            None if self.steps == 0 => lock(&self.row).facts.progress.max(within.min(99)),
            None => ((journal.done * 100 + within) / self.steps).clamp(0, 99),
        }
    }
}

/// Fenced writes.
impl<E: Send + Sync> Run<E> {
    /// Where the task stands now, as assignments to its row.
    pub fn place(&self, word: &'static str, stage: &str, within: i64) -> Sets {
        vec![set("status", word), set("stage", stage), set("progress", self.progress(within))]
    }

    /// The end of the task as complete, as assignments to its row.
    pub fn complete(&self, out: Json) -> Sets {
        vec![
            set("status", status::DONE),
            set("stage", stage::COMPLETE),
            set("progress", 100),
            set("result", out),
            set("end_at", Some(self.core.now())),
            set("next_at", None::<Timestamp>),
            set("holder", ""),
        ]
    }

    /// Changes the task's row, if it is still this worker's and, going forward, nobody asked to cancel it. The row as it will be is taken over
    /// with [`Run::settle`] once the transaction has committed.
    pub async fn open(&self, tx: &mut Tx, mut sets: Sets) -> Result<Fence> {
        let mut next = self.row();
        // A task that has ended is nobody's: a last step whose commit was not answered is not followed by the note that it will be tried again.
        let mut mine = Cond::eq("id", &*self.id).and(Cond::eq("epoch", next.epoch)).and(Cond::ne("status", status::DONE));
        if self.undoing().is_none() {
            mine = mine.and(Cond::eq("cancel_requested", false));
        }
        sets.push(set("updated_at", tx.now()));
        for (column, put) in &sets {
            let (Put::To(value), Some(i)) = (put, TaskRow::facts().position(column)) else { continue };
            base::Columns::set(&mut next, i, value.clone()).map_err(|e| Error::bad_value(column, &e))?;
        }
        sets.push(("update_version".into(), Put::Add(1)));
        if tx.update("tasks", mine, sets).await? == 0 {
            return Ok(match self.look(tx).await? {
                Fence::Held(_) => Fence::Lost,
                other => other,
            });
        }
        next.update_version = match next.update_version {
            UNKNOWN => self.select(tx, "update_version", Kind::Int).await?.as_int().unwrap_or(UNKNOWN),
            known => known + 1,
        };
        start::announce(tx, &next, ChangeOp::Update).await?;
        Ok(Fence::Held(Box::new(next)))
    }

    async fn select(&self, tx: &mut Tx, column: &'static str, kind: Kind) -> Result<Value> {
        let select = Select::from("tasks").column(column, kind).filter(Cond::eq("id", &*self.id));
        Ok(tx.rows(&select).await?.into_iter().flatten().next().unwrap_or_default())
    }

    /// Whether the task is still this worker's, without writing.
    pub async fn look(&self, tx: &mut Tx) -> Result<Fence> {
        let select = Select::from("tasks").column("epoch", Kind::Int).column("cancel_requested", Kind::Bool);
        let rows = tx.rows(&select.filter(Cond::eq("id", &*self.id))).await?;
        let row = self.row();
        Ok(match rows.first().map(Vec::as_slice) {
            Some([epoch, _]) if epoch.as_int() != Some(row.epoch) => Fence::Lost,
            Some([_, cancel]) if cancel.as_bool() == Some(true) && self.undoing().is_none() => {
                // Whoever asked has changed the row.
                self.unsettle();
                Fence::Cancelled
            }
            Some(_) => Fence::Held(Box::new(row)),
            None => Fence::Lost,
        })
    }

    /// The transaction that [`Run::open`] was part of has committed.
    pub fn settle(&self, next: TaskRow) {
        *lock(&self.row) = next;
    }

    /// A transaction ended in an error, and it is not known whether it committed.
    pub fn unsettle(&self) {
        lock(&self.row).update_version = UNKNOWN;
    }

    /// Transactions of a body do not overlap: taken before each.
    pub async fn in_order(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.order.lock().await
    }

    /// One transaction that begins with [`Run::open`].
    pub async fn write<'c, T, F>(&'c self, sets: Sets, body: F) -> Result<Written<T>>
    where
        F: for<'t> Fn(&'t mut Tx) -> Work<'c, 't, Result<T>> + Send + Sync,
        T: Send,
    {
        let _order = self.in_order().await;
        let _permit = self.core.ops.acquire().await;
        let (sets, body) = (&sets, &body);
        let result = self.core.db.tx(|tx| {
            work(async move {
                Ok(match self.open(tx, sets.clone()).await? {
                    Fence::Held(next) => Written::Done((next, body(tx).await?)),
                    Fence::Cancelled => Written::Cancelled,
                    Fence::Lost => Written::Lost,
                })
            })
        });
        match result.await {
            Ok(Written::Done((next, out))) => {
                self.settle(*next);
                Ok(Written::Done(out))
            }
            Ok(Written::Cancelled) => Ok(Written::Cancelled),
            Ok(Written::Lost) => Ok(Written::Lost),
            Err(e) => {
                self.unsettle();
                Err(e)
            }
        }
    }

    /// [`Run::write`] for the engine's own writes, which must not fail: repeated until the database takes them or the task is somebody else's.
    /// `None`: cancelled.
    pub async fn insist<'c, T, F>(&'c self, sets: Sets, body: F) -> Option<T>
    where
        F: for<'t> Fn(&'t mut Tx) -> Work<'c, 't, Result<T>> + Send + Sync,
        T: Send,
    {
        let mut attempt = 0;
        loop {
            match self.write(sets.clone(), &body).await {
                Ok(Written::Done(out)) => return Some(out),
                Ok(Written::Cancelled) => return None,
                Ok(Written::Lost) => match self.lose().await {},
                Err(e) => {
                    if attempt == 0 {
                        tracing::warn!(task = %self.id, error = %e, cause = e.context(), "the journal cannot be written; trying on");
                    }
                    tokio::time::sleep(self.core.backoff(attempt)).await;
                    attempt += 1;
                }
            }
        }
    }

    /// Turns the body round. Written down before anything is undone, so that a replay goes back at the same place.
    pub async fn turn(&self, error: &Error) {
        if self.undoing().is_some() {
            return;
        }
        *lock(&self.mode) = Mode::Undo(error.clone());
        let mut sets = self.place(status::UNDOING, "undo", 0);
        sets.push(set("error", row::error_to_json(error)));
        self.insist(sets, |_| work(async { Ok(()) })).await;
    }

    /// The task cannot go on without an operator.
    pub async fn stick(&self, name: &str, attempts: i64, error: &Error) -> Infallible {
        let step = StepRow { error: row::error_to_json(error), ..self.begin(Phase::Undo, name, state::FAILED, self.core.now(), attempts) };
        let mut sets = vec![set("status", status::STUCK), set("holder", ""), set("next_at", None::<Timestamp>)];
        sets.push(set("stage", name));
        let step = &step;
        // A task that cannot be replayed is stuck in forward mode too: then a request to cancel it does not stand in the way.
        while self.insist(sets.clone(), |tx| work(record(tx, step))).await.is_none() {
            *lock(&self.mode) = Mode::Undo(crate::kind::cancelled());
        }
        let row = self.row();
        self.core.metrics.stuck.get_or_create(&crate::metrics::OfTask { task: row.facts.task_name.clone() }).inc();
        tracing::error!(
            task = %self.id, name = row.facts.task_name, step = name, error = %error, cause = error.context(),
            "task is stuck: mend the cause and retry it, or skip the step, or abandon the task"
        );
        self.leave().await
    }
}

/// Work and waiting.
impl<E> Run<E> {
    /// A branch of the body works as long as this lives.
    pub fn busy(&self) -> Busy<'_, E> {
        self.shift(|load| load.busy += 1);
        Busy(self)
    }

    /// The branch waits as long as this lives.
    pub fn park(&self) -> Parked<'_, E> {
        self.shift(|load| {
            load.busy -= 1;
            load.parked += 1;
        });
        Parked(self)
    }

    fn shift(&self, change: impl FnOnce(&mut Load)) {
        let mut load = lock(&self.load);
        change(&mut load);
        let parked = load.parked > 0 && load.busy == 0;
        if parked != load.is_parked {
            load.is_parked = parked;
            self.core.parked(parked);
        }
    }
}

/// For tests.
impl<E: Send + Sync> Run<E> {
    /// Asks the hook what happens at a point; does the freezing and cancelling itself.
    pub async fn at(&self, phase: Phase, step: &str, moment: Moment) -> Result<bool> {
        let Some(hook) = &self.core.options.hook else { return Ok(false) };
        let row = self.row();
        let point = Point { task_id: &self.id, task_name: &row.facts.task_name, step, phase, moment };
        match hook.at(point) {
            Verdict::Go => Ok(false),
            Verdict::Fail(error) => Err(error),
            Verdict::Freeze => std::future::pending().await,
            Verdict::Twice => Ok(true),
            Verdict::Cancel => {
                let id = &self.id;
                match self.core.db.tx(|tx| work(async move { operate::cancel(tx, id).await })).await {
                    // Too late, as it may be for people.
                    Err(e) if e.class() == base::Class::InvalidStatus => Ok(false),
                    other => other.map(|()| false),
                }
            }
        }
    }
}

impl<E> Drop for Run<E> {
    fn drop(&mut self) {
        if lock(&self.load).is_parked {
            self.core.parked(false);
        }
    }
}

pub(crate) struct Busy<'r, E>(&'r Run<E>);

impl<E> Drop for Busy<'_, E> {
    fn drop(&mut self) {
        self.0.shift(|load| load.busy -= 1);
    }
}

pub(crate) struct Parked<'r, E>(&'r Run<E>);

impl<E> Drop for Parked<'_, E> {
    fn drop(&mut self) {
        self.0.shift(|load| {
            load.busy += 1;
            load.parked -= 1;
        });
    }
}

/// The steps a point of no return lists in the journal.
fn final_steps(point: &StepRow) -> HashSet<String> {
    point.output.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_string)).collect()
}

/// Writes a row of the journal.
pub(crate) async fn record(tx: &mut Tx, step: &StepRow) -> Result<()> {
    let row = step.to_row();
    let columns = row.facts.fields.iter().map(|f| f.name.into()).zip(row.values).collect();
    tx.upsert("task_steps", &["task_id", "phase", "name"], columns).await
}

/// The row of the journal as the database has it.
pub(crate) async fn recorded(tx: &mut Tx, task_id: &str, phase: Phase, name: &str) -> Result<Option<StepRow>> {
    let key = Cond::eq("task_id", task_id).and(Cond::eq("phase", phase.name())).and(Cond::eq("name", name));
    Ok(tx.find(StepRow::facts(), key).await?.first().map(StepRow::from_row))
}
