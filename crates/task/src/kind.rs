//! What an author of tasks writes: kinds of task, and the steps, calls, waits and probes they are made of.
//!
//! All of them are plain data. A task is stored as JSON and read back after a crash; steps are rebuilt by running the body again, so whatever
//! a step needs (chosen names, addresses, identifiers) must come from the task's own fields or from the output of an earlier step.

use crate::Flow;
use base::{Ctx, Error, Json, Result, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Cow, fmt, future::Future, sync::Arc, time::Duration};
use store::Tx;

/// A kind of task; the value itself is the input. `E` is the environment of the service: typed clients, configuration; never a database.
pub trait Task<E>: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The wire's `task_name`, for example `ServerCreateTask`. Tasks in flight are found by it after an upgrade: it never changes.
    const NAME: &'static str;
    /// How many steps the body usually takes; gives `progress`. 0: unknown.
    const STEPS: u32 = 0;

    /// The body. It has no database and no network: it asks `flow` for steps and branches on what they return, and on nothing else, so that
    /// running it again from the start takes the same way. A future got from `flow` is awaited to its end, never dropped half-way.
    fn run(&self, flow: &Flow<E>) -> impl Future<Output = Result<Json>> + Send;

    /// Database writes in the transaction that ends the task as failed, after every undo: mark the objects. The error may be
    /// [`base::Class::ResourceBusy`] and so on; [`is_cancelled`] tells a cancelled task.
    fn failed(&self, env: &E, tx: &mut Tx, error: &Error) -> impl Future<Output = Result<()>> + Send {
        let _ = (env, tx, error);
        async { Ok(()) }
    }
}

/// Names one step of one task, the same in every attempt: the idempotency key of external effects. Displayed as `task id/step name`.
#[derive(Clone, Debug)]
pub struct StepKey {
    pub task_id: Arc<str>,
    pub step: Arc<str>,
    /// Rises with every worker that takes the task. A receiver of calls that remembers the highest it saw of a task can refuse a worker that
    /// was thought dead and wakes up late; the database does so by itself.
    pub epoch: i64,
    /// The caller who asked for the task and the request he asked with.
    pub ctx: Arc<Ctx>,
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.task_id, self.step)
    }
}

/// A step whose effect is database writes: they, the changes it emits and its journal row are one transaction.
///
/// A step that can be neither undone nor says why does not build:
///
/// ```compile_fail,E0080
/// # use {base::{Json, Result}, store::Tx, task::{Flow, Step, StepKey, Task, Tasks}};
/// struct Careless;
///
/// impl Step<()> for Careless {
///     const NAME: &'static str = "careless";
///     type Out = ();
///     async fn act(&self, _: &(), tx: &mut Tx, _: &StepKey) -> Result<()> {
///         tx.delete("disks", store::Cond::True).await.map(drop)
///     }
/// }
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Clean;
///
/// impl Task<()> for Clean {
///     const NAME: &'static str = "CleanTask";
///     async fn run(&self, flow: &Flow<()>) -> Result<Json> {
///         flow.step(Careless).await.map(|()| Json::Null)
///     }
/// }
///
/// Tasks::builder().kind::<Clean>();
/// ```
pub trait Step<E>: Send + Sync {
    const NAME: &'static str;
    type Out: Serialize + DeserializeOwned + Send + Sync;
    /// Why there is nothing to undo. A step has this or an `undo`; one with neither does not build.
    const NO_UNDO: &'static str = "";

    /// Unique within one run of the task; steps in a loop add what tells them apart.
    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(Self::NAME)
    }

    /// How long retryable errors are retried before they count.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// May run again after its transaction was rolled back. An error that is retryable is retried, any other fails the step at once.
    fn act(&self, env: &E, tx: &mut Tx, key: &StepKey) -> impl Future<Output = Result<Self::Out>> + Send;

    /// Takes back what `act` did; committed once.
    fn undo(&self, env: &E, tx: &mut Tx, key: &StepKey, out: &Self::Out) -> impl Future<Output = Result<()>> + Send {
        const { assert!(!Self::NO_UNDO.is_empty(), "a step needs an undo, or NO_UNDO saying why it needs none") };
        let _ = (env, tx, key, out);
        async { Ok(()) }
    }
}

/// A step with an effect outside the database. It is journaled as begun before, and with its output after; a crash between the two repeats it,
/// so the other side must treat a second call with the same key as the first. A call of a worker that was thought dead may come after another
/// worker undid it: a side that must not have that remembers undone keys, or looks at [`StepKey::epoch`].
pub trait Call<E>: Send + Sync {
    const NAME: &'static str;
    type Out: Serialize + DeserializeOwned + Send + Sync;
    /// Why there is nothing to undo; see [`Step::NO_UNDO`].
    const NO_UNDO: &'static str = "";

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(Self::NAME)
    }

    /// How long retryable errors are retried before they count.
    fn patience(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn call(&self, env: &E, key: &StepKey) -> impl Future<Output = Result<Self::Out>> + Send;

    /// Takes the effect back; idempotent. `out` is absent when the call began and its outcome is not known, or it failed: then whatever part
    /// of it may exist under the key has to go.
    fn undo_call(&self, env: &E, key: &StepKey, out: Option<&Self::Out>) -> impl Future<Output = Result<()>> + Send {
        const { assert!(!Self::NO_UNDO.is_empty(), "a call needs an undo, or NO_UNDO saying why it needs none") };
        let _ = (env, key, out);
        async { Ok(()) }
    }
}

/// What a wait or a probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled<T> {
    Ready(T),
    Pending,
    /// Pending, and this many percent of it are done.
    Progress(i64),
}

/// Waits until the database says so: an agent's report, another object's status. Costs memory only. It is polled again when the change feed
/// shows a change of a watched object, and every [`Wait::every`] in case nobody reports.
pub trait Wait<E>: Send + Sync {
    const NAME: &'static str;
    type Out: Serialize + DeserializeOwned + Send + Sync;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(Self::NAME)
    }

    /// The objects, as (singular keyword, id), whose changes may end the wait.
    fn watches(&self) -> Vec<(String, String)>;

    /// Counted from the first poll, over crashes. Then the body gets [`Wait::late`].
    fn deadline(&self) -> Option<Duration> {
        None
    }

    fn late(&self) -> Error {
        base::err!(Timeout, "{} did not happen in time", self.name())
    }

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// A time at which it is worth looking, if one is known.
    fn due(&self) -> Option<Timestamp> {
        None
    }

    /// Looks, and writes nothing: the transaction is rolled back unless the answer is `Ready`.
    fn poll(&self, env: &E, tx: &mut Tx) -> impl Future<Output = Result<Polled<Self::Out>>> + Send;
}

/// Waits for something outside the database by asking again and again.
pub trait Probe<E>: Send + Sync {
    const NAME: &'static str;
    type Out: Serialize + DeserializeOwned + Send + Sync;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(Self::NAME)
    }

    fn every(&self) -> Duration;

    /// Counted from the first question, over crashes.
    fn deadline(&self) -> Duration;

    fn late(&self) -> Error {
        base::err!(Timeout, "{} did not happen in time", self.name())
    }

    fn probe(&self, env: &E, key: &StepKey) -> impl Future<Output = Result<Polled<Self::Out>>> + Send;
}

/// A wait for a time of day; made by [`Flow::until`].
pub(crate) struct Until {
    pub name: String,
    pub at: Timestamp,
}

impl<E: Sync> Wait<E> for Until {
    const NAME: &'static str = "until";
    type Out = ();

    fn name(&self) -> Cow<'static, str> {
        Cow::Owned(self.name.clone())
    }
    fn watches(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    fn due(&self) -> Option<Timestamp> {
        Some(self.at)
    }
    async fn poll(&self, _: &E, tx: &mut Tx) -> Result<Polled<()>> {
        Ok(if tx.now() >= self.at { Polled::Ready(()) } else { Polled::Pending })
    }
}

const CANCELLED: &str = "the task was cancelled";

pub(crate) fn cancelled() -> Error {
    Error::new(base::Class::Conflict, CANCELLED, Vec::new())
}

/// Whether a task ended because somebody cancelled it.
pub fn is_cancelled(error: &Error) -> bool {
    error.template() == CANCELLED
}
