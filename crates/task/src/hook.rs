//! Where tests take hold of the engine: a hook sees every point of every step and may stop, fail or repeat it. Services run without one.

use crate::Phase;
use base::Error;

/// A place in the life of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Nothing was done yet.
    Before,
    /// The effect is there, the journal does not have it: the transaction is open, or the call returned.
    Inside,
    /// The journal has it.
    After,
}

#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    pub task_id: &'a str,
    pub task_name: &'a str,
    pub step: &'a str,
    pub phase: Phase,
    pub moment: Moment,
}

/// What happens at a point.
#[derive(Clone, Debug)]
pub enum Verdict {
    Go,
    /// The step fails with this error; what a transaction wrote is rolled back. Not at [`Moment::After`].
    Fail(Error),
    /// The body never goes on, as if the process had died here.
    Freeze,
    /// At [`Moment::Before`]: the step runs twice; of a transaction the first run is rolled back, a call is called twice.
    Twice,
    /// At [`Moment::Before`]: somebody asks to cancel the task.
    Cancel,
}

pub trait Hook: Send + Sync + 'static {
    fn at(&self, point: Point<'_>) -> Verdict;
}
