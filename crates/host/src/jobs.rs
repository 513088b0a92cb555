//! One-shot work of the document: each job is done at most once, however often it is seen and whenever the agent dies.

use crate::crew::Crew;
use crate::guest::Command;
use crate::records::JobRecord;
use crate::site::{Site, by_request};
use api_agent::{Desired, Job, JobResult, Work};
use base::{Result, err};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::Instrument;

pub(crate) struct Jobs {
    site: Arc<Site>,
    records: tokio::sync::Mutex<BTreeMap<String, JobRecord>>,
    /// Begun by this life of the agent.
    ours: Mutex<HashSet<String>>,
}

impl Jobs {
    pub fn new(site: Arc<Site>, records: BTreeMap<String, JobRecord>) -> Jobs {
        Jobs { site, records: tokio::sync::Mutex::new(records), ours: Mutex::default() }
    }

    fn ours(&self) -> MutexGuard<'_, HashSet<String>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called after each new document.
    pub fn begin(self: Arc<Self>, document: &Arc<Desired>, crew: &Crew) {
        let (this, all) = (self.clone(), document.clone());
        crew.run(async move { this.forget_all_but(&all.jobs).await });
        // Side by side: one guest that does not answer must not hold up the others.
        for job in document.jobs.clone() {
            let this = self.clone();
            let span = by_request(&job.request_id);
            let once = async move {
                if let Err(e) = this.once(&job).await {
                    tracing::warn!(job = %job.id, error = %e, "could not be begun; a later document or start tries again");
                }
            };
            crew.run(once.instrument(span));
        }
    }

    /// Results the document no longer asks about.
    async fn forget_all_but(&self, jobs: &[Job]) {
        let mut records = self.records.lock().await;
        let before = records.len();
        records.retain(|id, _| jobs.iter().any(|j| j.id == *id));
        if records.len() != before
            && let Err(e) = self.site.records.save_jobs(&records).await
        {
            tracing::warn!(error = %e, "finished jobs are still kept");
        }
    }

    async fn once(&self, job: &Job) -> Result<()> {
        {
            let mut records = self.records.lock().await;
            match records.get(&job.id) {
                Some(JobRecord::Done { .. }) => return Ok(()),
                // Begun by a life of the agent that ended, or by a task that is still at it.
                Some(JobRecord::Begun) => {
                    if self.ours().contains(&job.id) {
                        return Ok(());
                    }
                    let e =
                        err!(ServiceAbnormal, "the host agent was restarted while doing this; look at the result and ask again if needed");
                    return self.finish(&mut records, job, Err(e)).await;
                }
                None => {
                    records.insert(job.id.clone(), JobRecord::Begun);
                    if let Err(e) = self.site.records.save_jobs(&records).await {
                        records.remove(&job.id);
                        return Err(e);
                    }
                    self.ours().insert(job.id.clone());
                }
            }
        }
        let done = self.work(job).await;
        let mut records = self.records.lock().await;
        self.finish(&mut records, job, done).await
    }

    async fn finish(&self, records: &mut BTreeMap<String, JobRecord>, job: &Job, done: Result<serde_json::Value>) -> Result<()> {
        let (error, output) = match done {
            Ok(output) => (String::new(), output),
            Err(e) => (e.to_string(), serde_json::Value::Null),
        };
        tracing::info!(job = %job.id, error, "job done");
        let result = JobResult { id: job.id.clone(), error, output };
        records.insert(job.id.clone(), JobRecord::Done { result });
        self.site.board.nudge();
        self.site.records.save_jobs(records).await
    }

    async fn work(&self, job: &Job) -> Result<serde_json::Value> {
        match &job.work {
            Work::ResetGuest { guest_id } => {
                let Some(mailbox) = self.site.mailbox(guest_id) else {
                    return Err(err!(NotFound, "guest {} is not on this host", guest_id));
                };
                mailbox.ask(|answer| Command::Reset { answer }).await?;
                Ok(serde_json::Value::Null)
            }
            Work::Unknown => Err(err!(NotImplemented, "this host agent is too old for that kind of work; upgrade it")),
        }
    }

    /// Of those the document asks about.
    pub async fn results(&self, jobs: &[Job]) -> Vec<JobResult> {
        let records = self.records.lock().await;
        let done = |j: &Job| match records.get(&j.id) {
            Some(JobRecord::Done { result }) => Some(result.clone()),
            _ => None,
        };
        jobs.iter().filter_map(done).collect()
    }
}
