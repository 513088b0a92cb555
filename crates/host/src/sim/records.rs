//! Records in memory that survive an agent.

use super::Faults;
use crate::guest::Memory;
use crate::records::{Credential, JobRecord, Kept, Records};
use api_agent::Desired;
use base::Result;
use host_net::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The simulated [`Records`].
pub struct SimRecords {
    faults: Arc<Faults>,
    kept: Mutex<Kept>,
}

impl SimRecords {
    pub(super) fn new(faults: Arc<Faults>) -> SimRecords {
        SimRecords { faults, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that is kept now.
    pub fn snapshot(&self) -> Kept {
        self.kept().clone()
    }

    async fn write(&self, point: &str, by: impl FnOnce(&mut Kept)) -> Result<()> {
        self.faults.point(point).await?;
        by(&mut self.kept());
        self.faults.point(&format!("{point}.done")).await
    }
}

impl Records for SimRecords {
    fn load(&self) -> BoxFuture<'_, Result<Kept>> {
        Box::pin(async { Ok(self.kept().clone()) })
    }

    fn load_guest<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Memory>> {
        Box::pin(async move { Ok(self.kept().guests.get(id).cloned().unwrap_or_default()) })
    }

    fn guest_ids(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async { Ok(self.kept().guests.keys().cloned().collect()) })
    }

    fn save_desired<'a>(&'a self, desired: &'a Desired) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.write("records.desired", |k| k.desired = desired.clone()))
    }

    fn save_guest<'a>(&'a self, id: &'a str, memory: &'a Memory) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.write("records.guest", |k| drop(k.guests.insert(id.to_string(), memory.clone()))))
    }

    fn forget_guest<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.write("records.forget", |k| drop(k.guests.remove(id))))
    }

    fn save_jobs<'a>(&'a self, jobs: &'a BTreeMap<String, JobRecord>) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.write("records.jobs", |k| k.jobs = jobs.clone()))
    }

    fn save_credential<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.write("records.credential", |k| k.credential = Some(credential.clone())))
    }

    fn save_enrolling<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.write("records.enrolling", |k| k.enrolling = Some(credential.clone())))
    }
}
