//! What a body holds: the way to ask for steps. It has no database and no network, which is what makes a replay take the same way.

use crate::kind::{Call, Probe, Step, Until, Wait};
use crate::run::Run;
use crate::undo::{Stack, UndoCall, UndoStep, UndoSub, Undoable, run_undos};
use crate::wait::{ByProbe, ByWait};
use crate::waits::END;
use crate::{NewTask, Polled, StepKey, StepRow, TaskRow, row, start, state};
use base::{Ctx, Error, Json, Result, Timestamp, err};
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Cow, sync::Arc, time::Duration};
use store::{Cond, Read, Tx};

/// The handle of a body; clones are the same handle.
pub struct Flow<E> {
    pub(crate) run: Arc<Run<E>>,
    prefix: String,
    /// Undos of what was done so far, the innermost attempt last.
    stacks: Vec<Stack<E>>,
}

impl<E> Clone for Flow<E> {
    fn clone(&self) -> Self {
        Flow { run: self.run.clone(), prefix: self.prefix.clone(), stacks: self.stacks.clone() }
    }
}

/// What the journal knows of a step the body enters.
pub(crate) enum Entry {
    New,
    /// Its outcome is not known.
    Begun(StepRow),
    Done(StepRow),
    Failed(Error),
}

impl<E: Send + Sync + 'static> Flow<E> {
    pub(crate) fn new(run: Arc<Run<E>>) -> Flow<E> {
        Flow { run, prefix: String::new(), stacks: vec![Stack::default()] }
    }

    pub(crate) fn stack(&self) -> &Stack<E> {
        self.stacks.last().unwrap_or_else(|| unreachable!("a flow has a stack from the start"))
    }

    pub(crate) fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Looks a step up in the journal. A task on its way back does nothing new.
    pub(crate) fn entry(&self, name: &str) -> Result<Entry> {
        Ok(match (self.run.enter(name)?, self.run.undoing()) {
            (Some(row), _) if row.state == state::DONE => Entry::Done(row),
            (Some(row), _) if row.state == state::FAILED => Entry::Failed(
                row::error_from_json(&row.error).unwrap_or_else(|| Error::internal(format!("step {name} failed without a word"))),
            ),
            (Some(row), None) => Entry::Begun(row),
            (None, None) => Entry::New,
            (_, Some(error)) => Entry::Failed(error),
        })
    }

    /// Identifier of the task.
    pub fn id(&self) -> &str {
        &self.run.id
    }

    /// Who asked for the task.
    pub fn ctx(&self) -> &Ctx {
        &self.run.ctx
    }

    /// Sets the progress in percent from the next step on; without it, it is the share of [`crate::Task::STEPS`].
    pub fn progress(&self, percent: i64) {
        self.run.say(percent);
    }

    /// Does a step, or returns what it returned.
    ///
    /// # Errors
    /// The step's own; [`crate::is_cancelled`] when somebody cancelled the task. A body passes it up to have everything undone, or takes
    /// another way.
    pub async fn step<S: Step<E> + 'static>(&self, step: S) -> Result<S::Out> {
        self.one(step, false).await
    }

    /// Does the last step; its transaction is the one that ends the task. Whoever sees what it wrote, a server that runs, sees the objects free for the next
    /// task. The body returns what this returns.
    pub async fn finish<S: Step<E, Out = ()> + 'static>(&self, step: S) -> Result<Json> {
        self.one(step, true).await.map(|()| Json::Null)
    }

    async fn one<S: Step<E> + 'static>(&self, step: S, last: bool) -> Result<S::Out> {
        let (name, step) = (self.full(&step.name()), Arc::new(step));
        self.act(&name, &*step, last, |out| match S::NO_UNDO {
            "" => Some(Box::new(UndoStep { step: step.clone(), out }) as Box<dyn Undoable<E>>),
            _ => None,
        })
        .await
    }

    /// Makes a call, or returns what it returned.
    pub async fn call<C: Call<E> + 'static>(&self, call: C) -> Result<C::Out> {
        let (name, call) = (self.full(&call.name()), Arc::new(call));
        self.ring(&name, &*call, |out| match C::NO_UNDO {
            "" => Some(Box::new(UndoCall { call: call.clone(), out }) as Box<dyn Undoable<E>>),
            _ => None,
        })
        .await
    }

    /// Waits for what the database will say.
    pub async fn wait<W: Wait<E>>(&self, wait: W) -> Result<W::Out> {
        let name = self.full(&wait.name());
        self.await_look(&name, &ByWait(&wait)).await
    }

    /// Waits for something outside the database.
    pub async fn probe<P: Probe<E>>(&self, probe: P) -> Result<P::Out> {
        let name = self.full(&probe.name());
        self.await_look(&name, &ByProbe(&probe)).await
    }

    /// Goes several ways at once and waits for all of them, also when one fails: then the first error is the result.
    pub async fn all<T>(&self, branches: impl IntoIterator<Item = impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
        futures_util::future::join_all(branches).await.into_iter().collect()
    }

    /// A part of the body with names of its own (`prefix/step`).
    #[must_use]
    pub fn named(&self, prefix: &str) -> Flow<E> {
        Flow { prefix: format!("{}{prefix}/", self.prefix), ..self.clone() }
    }

    /// A part of the body that is undone on its own when it fails, so that the body can try another way: another host, another address.
    pub async fn attempt<T, F, Fut>(&self, name: &str, body: F) -> Result<T>
    where
        F: FnOnce(Flow<E>) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let mut inner = self.named(name);
        inner.stacks.push(Stack::default());
        let result = body(inner.clone()).await;
        match &result {
            Ok(_) => self.stack().append(inner.stack()),
            Err(_) => run_undos(&self.run, inner.stack()).await,
        }
        result
    }

    /// Runs another task as a part of this one and returns its result. It may touch what this task holds. When this task goes back, the child
    /// is cancelled or taken back as well.
    pub async fn sub(&self, name: &str, new: NewTask) -> Result<Json> {
        let parent = self.run.row();
        let new = new.owned_if_not(&parent.facts.domain_id, &parent.facts.tenant_id);
        let child = self.full(name);
        let step = Arc::new(SubStart { name: child.clone(), new });
        let id: String = self
            .act(&child, &*step, false, |out| {
                let id = out.as_str().unwrap_or_default().to_string();
                Some(Box::new(UndoSub { id }) as Box<dyn Undoable<E>>)
            })
            .await?;
        let end = self.wait(SubEnd { name: format!("{name}.end"), id }).await?;
        match row::error_from_json(&end["error"]) {
            Some(error) => Err(error),
            None => Ok(end["result"].clone()),
        }
    }

    /// Holds a further object until the end of the task.
    pub async fn hold(&self, kind: &str, id: &str) -> Result<()> {
        let parent = self.run.row().facts.parent_task_id;
        self.step(Hold { kind: kind.to_string(), id: id.to_string(), parent }).await
    }

    /// Decides a value once: a random or a measured one, that a replay must find again.
    pub async fn decide<T: Serialize + DeserializeOwned + Send + Sync + 'static>(
        &self,
        name: &str,
        value: impl FnOnce() -> T,
    ) -> Result<T> {
        let value = row::encode(&value(), name)?;
        let decided = self.step(Decide { name: name.to_string(), value }).await?;
        row::decode(decided, name)
    }

    /// Waits for a point in time, which must come from the journal as everything a body uses.
    pub async fn until(&self, name: &str, at: Timestamp) -> Result<()> {
        self.wait(Until { name: name.to_string(), at }).await
    }

    /// Waits for a while, over crashes.
    pub async fn sleep(&self, name: &str, duration: Duration) -> Result<()> {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let at = self.decide(&format!("{name}.at"), || self.run.core.now().plus_millis(millis).micros()).await?;
        self.until(name, Timestamp(at)).await
    }

    /// The point of no return: from here the task is not cancelled, and an error undoes only what comes after.
    pub async fn commit_point(&self) -> Result<()> {
        self.commit().await
    }

    /// Remembers how a step is undone, unless it lies behind the point of no return.
    pub(crate) fn keep(&self, name: &str, undo: Box<dyn Undoable<E>>) {
        if !self.run.is_final(name) {
            self.stack().push(name, undo);
        }
    }

    /// Steps that a point of no return here makes final.
    pub(crate) fn undoable(&self) -> Vec<String> {
        self.stacks.iter().flat_map(Stack::names).collect()
    }

    /// Makes final what the journal says lies behind the point of no return, and nothing else: branches beside it come there in another order
    /// when the body is replayed.
    pub(crate) fn seal(&self, point: &StepRow) {
        let finals = self.run.finalize(point);
        self.stacks.iter().for_each(|stack| stack.forget(&finals));
    }
}

struct SubStart {
    name: String,
    new: NewTask,
}

impl<E: Sync> Step<E> for SubStart {
    const NAME: &'static str = "sub";
    const NO_UNDO: &'static str = "undone as a whole task";
    type Out = String;

    fn name(&self) -> Cow<'static, str> {
        Cow::Owned(self.name.clone())
    }
    async fn act(&self, _: &E, tx: &mut Tx, key: &StepKey) -> Result<String> {
        start::start_under(tx, &key.ctx, self.new.clone(), &key.task_id).await
    }
}

struct SubEnd {
    name: String,
    id: String,
}

impl<E: Sync> Wait<E> for SubEnd {
    const NAME: &'static str = "sub.end";
    type Out = Json;

    fn name(&self) -> Cow<'static, str> {
        Cow::Owned(self.name.clone())
    }
    fn watches(&self) -> Vec<(String, String)> {
        vec![(END.to_string(), self.id.clone())]
    }
    async fn poll(&self, _: &E, tx: &mut Tx) -> Result<Polled<Json>> {
        let Some(child) = tx.get::<TaskRow>(&self.id).await? else {
            return Err(err!(ResourceNotFound, "task {} not found", self.id));
        };
        if !child.ended() {
            return Ok(Polled::Progress(child.facts.progress));
        }
        Ok(Polled::Ready(match child.succeeded() {
            true => serde_json::json!({ "result": child.facts.result }),
            false => serde_json::json!({ "error": child.facts.error }),
        }))
    }
}

struct Hold {
    kind: String,
    id: String,
    parent: String,
}

impl<E: Sync> Step<E> for Hold {
    const NAME: &'static str = "hold";
    type Out = ();

    fn name(&self) -> Cow<'static, str> {
        Cow::Owned(format!("hold {} {}", self.kind, self.id))
    }
    async fn act(&self, _: &E, tx: &mut Tx, key: &StepKey) -> Result<()> {
        start::hold(tx, &key.task_id, &self.parent, &self.kind, &self.id).await
    }
    async fn undo(&self, _: &E, tx: &mut Tx, key: &StepKey, (): &()) -> Result<()> {
        let mine = Cond::eq("kind", self.kind.as_str()).and(Cond::eq("id", self.id.as_str())).and(Cond::eq("task_id", &*key.task_id));
        tx.delete("task_holds", mine).await.map(drop)
    }
}

struct Decide {
    name: String,
    value: Json,
}

impl<E: Sync> Step<E> for Decide {
    const NAME: &'static str = "decide";
    const NO_UNDO: &'static str = "a decided value has no effect";
    type Out = Json;

    fn name(&self) -> Cow<'static, str> {
        Cow::Owned(self.name.clone())
    }
    async fn act(&self, _: &E, _: &mut Tx, _: &StepKey) -> Result<Json> {
        Ok(self.value.clone())
    }
}
