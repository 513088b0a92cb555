//! The tasks of one agent. They end together, as they would with the process.

use std::sync::{Mutex, PoisonError};
use tokio::task::JoinSet;

#[derive(Debug, Default)]
pub(crate) struct Crew(Mutex<Option<JoinSet<()>>>);

impl Crew {
    pub fn new() -> Crew {
        Crew(Mutex::new(Some(JoinSet::new())))
    }

    /// Runs a task until it ends or [`Crew::dismiss`] is called; after that nothing is taken on.
    pub fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = set.as_mut() {
            set.spawn(task);
            // Those that ended must not pile up.
            while let Some(ended) = set.try_join_next() {
                if let Err(e) = ended {
                    tracing::error!(error = %e, "a task of the agent ended badly");
                }
            }
        }
    }

    /// Ends all tasks at their next await.
    pub fn abandon(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Ends all tasks at their next await and waits for them.
    pub async fn dismiss(&self) {
        let set = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut set) = set {
            set.shutdown().await;
        }
    }
}
