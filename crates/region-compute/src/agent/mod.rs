//! The region's side of the agent protocol (crate `api-agent`): who may speak, what a host should make true, what it says is.

mod console;
mod document;
mod enrol;
mod observe;
mod register;
mod work;

pub use observe::settle;

use crate::Compute;
use api_agent::{Heard, News, Observed};
use base::{Clock, Error, Kind, Result, Timestamp, err};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use store::{Cond, Db, Read, Select};
use tokio::sync::watch;

/// Speaks with agents. One per process; any number of processes may serve agents of one database.
pub struct Agents {
    db: Db,
    clock: Clock,
    env: Arc<Compute>,
    /// Whether there may be more hosts.
    allowance: Option<Arc<dyn resource::Allowance>>,
    /// What is known of each host whose agent waits, or did.
    waiting: Mutex<HashMap<String, watch::Sender<Wake>>>,
    /// When each host was last heard, and what it last said, so that an unchanged report costs no write.
    heard: Mutex<HashMap<String, Last>>,
    started: Timestamp,
}

/// What wakes an agent's question.
#[derive(Clone, Copy)]
struct Wake {
    /// Of the host's document.
    version: i64,
    /// Calls for consoles so far.
    calls: u64,
}

struct Last {
    at: Timestamp,
    written: Timestamp,
    said: Option<Observed>,
}

/// How often a host that says nothing new is written down as alive.
const WRITE_EVERY: i64 = 20;

/// A host that proved who it is.
#[derive(Clone, Debug)]
pub struct HostId(String);

impl HostId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(crate) fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

impl Agents {
    pub fn new(db: Db, clock: Clock, env: Arc<Compute>) -> Agents {
        let started = clock.now();
        Agents { db, clock, env, allowance: None, waiting: Mutex::default(), heard: Mutex::default(), started }
    }

    /// Lets new hosts in as far as they may be.
    #[must_use]
    pub fn allowing(self, allowance: Option<Arc<dyn resource::Allowance>>) -> Agents {
        Agents { allowance, ..self }
    }

    /// Who a credential belongs to.
    pub async fn authenticate(&self, credential: &str) -> Result<HostId> {
        // A credential is 256 random bits: looking its hash up by equality leaks nothing of use.
        let select =
            Select::from("hosts").column("id", Kind::Text).filter(Cond::eq("credential", hash(credential)).and(Cond::eq("deleted", false)));
        let mut db = &self.db;
        match db.rows(&select).await?.pop() {
            Some(row) if !credential.is_empty() => Ok(HostId(row[0].as_str().to_string())),
            _ => Err(err!(Unauthorized, "unknown host credential; enrol the host again with a new token")),
        }
    }

    /// The host's document once it is newer than what the agent has, calls for consoles once there are any, or nothing when the time is up.
    pub async fn desired(&self, host: &HostId, after: i64, patience: Duration) -> Result<News> {
        let mut wake = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.entry(host.0.clone()).or_insert_with(|| watch::Sender::new(Wake { version: -1, calls: 0 })).subscribe()
        };
        let calls = wake.borrow().calls;
        let (newer, called) = (self.version(host).await? > after, self.is_called(host).await?);
        if !newer && !called {
            let woken = tokio::time::timeout(patience, wake.wait_for(|w| w.version > after || w.calls != calls)).await;
            if woken.is_err() {
                return Ok(News::default());
            }
        }
        let consoles = if called || wake.borrow().calls != calls { self.take_calls(host).await? } else { Vec::new() };
        let newer = newer || wake.borrow().version > after;
        let document = if newer { Some(document::build(&self.db, &self.env, host.as_str()).await?) } else { None };
        Ok(News { document, consoles })
    }

    async fn version(&self, host: &HostId) -> Result<i64> {
        let select = Select::from("hosts").column("desired_version", Kind::Int).filter(Cond::eq("id", host.as_str()));
        let mut db = &self.db;
        Ok(db.rows(&select).await?.first().and_then(|r| r[0].as_int()).unwrap_or(0))
    }

    /// Follows the feed and wakes the agents whose documents changed.
    pub async fn follow(&self) -> Result<()> {
        let mut cursor = self.db.feed().head().await?;
        loop {
            self.db.feed().wait(cursor, Duration::from_secs(30)).await?;
            let batch = self.db.feed().after(cursor, 1000).await?;
            cursor = batch.cursor;
            let waiting: HashSet<String> = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
            if batch.lost {
                self.ring(waiting.iter().map(String::as_str));
            }
            self.ring(batch.changes.iter().filter(|(_, _, c)| c.kind == console::FEED).map(|(_, _, c)| c.id.as_str()));
            let changed: HashSet<&str> = if batch.lost {
                waiting.iter().map(String::as_str).collect()
            } else {
                batch
                    .changes
                    .iter()
                    .filter(|(_, _, c)| c.kind == "host" && waiting.contains(&c.id))
                    .map(|(_, _, c)| c.id.as_str())
                    .collect()
            };
            if changed.is_empty() {
                continue;
            }
            let select =
                Select::from("hosts").column("id", Kind::Text).column("desired_version", Kind::Int).filter(Cond::is_in("id", changed));
            let mut db = &self.db;
            for row in db.rows(&select).await? {
                if let (Some(version), Some(sender)) =
                    (row[1].as_int(), self.waiting.lock().unwrap_or_else(PoisonError::into_inner).get(row[0].as_str()))
                {
                    sender.send_if_modified(|wake| {
                        let newer = version > wake.version;
                        wake.version = wake.version.max(version);
                        newer
                    });
                }
            }
        }
    }

    /// Whether a disk on this host is made of an image: only then may the host have its bytes.
    pub async fn needs_image(&self, host: &HostId, image_id: &str) -> Result<bool> {
        let mut db = &self.db;
        db.exists("disks", Cond::eq("host_id", host.as_str()).and(Cond::eq("template_id", image_id)).and(Cond::eq("deleted", false))).await
    }

    /// Takes a report in.
    pub async fn observed(&self, host: &HostId, report: Observed) -> Result<Heard> {
        let now = self.clock.now();
        let (news, alive) = {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let last = heard.entry(host.0.clone()).or_insert_with(|| Last { at: now, written: Timestamp::ZERO, said: None });
            last.at = now;
            let alive = now.since(last.written) > WRITE_EVERY * 1_000_000;
            if alive {
                last.written = now;
            }
            (last.said.as_ref().is_none_or(|said| !same(said, &report)), alive)
        };
        // Now and then also what is no news: another process may have taken another report since, a task may have ended whose hold kept this one
        // from counting, and the servers of a host that was silent are unknown until it says again what it said before.
        if news || alive {
            let taken = async {
                if alive {
                    self.mark_alive(host, &report).await?;
                }
                self.take(host, &report).await
            };
            if let Err(e) = taken.await {
                // Not written: the same report must count as news when it comes again, and as a sign of life.
                self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(host.as_str());
                return Err(e);
            }
            if let Some(last) = self.heard.lock().unwrap_or_else(PoisonError::into_inner).get_mut(host.as_str()) {
                last.said = Some(report);
            }
        }
        Ok(Heard { version: self.version(host).await? })
    }

    /// Marks hosts offline that were not heard of for too long, and their servers unknown. Run it every few seconds.
    pub async fn mark_offline(&self) -> Result<usize> {
        let (now, patience) = (self.clock.now(), self.env.settings.host_timeout.as_micros() as i64);
        // After a start nobody has been heard yet; silence counts from then.
        if now.since(self.started) < patience {
            return Ok(0);
        }
        let silent = Cond::eq("host_status", "online").and(Cond::eq("deleted", false)).and(Cond::ne("credential", "")).and(Cond::cmp(
            "last_ping_at",
            store::Op::Lt,
            Timestamp(now.micros() - patience),
        ));
        let mut db = &self.db;
        let hosts = db.find(<api_compute::Host as base::Resource>::facts(), silent).await?;
        let mut marked = 0;
        for row in hosts {
            let recent =
                self.heard.lock().unwrap_or_else(PoisonError::into_inner).get(row.id()).is_some_and(|l| now.since(l.at) < patience);
            if recent {
                continue;
            }
            self.offline(row).await?;
            marked += 1;
        }
        self.forget_states().await?;
        Ok(marked)
    }
}

/// Whether two reports say the same of guests, disks and jobs; numbers of the moment do not count.
fn same(a: &Observed, b: &Observed) -> bool {
    a.version == b.version && a.guests == b.guests && a.disks == b.disks && a.jobs == b.jobs && a.orphans == b.orphans
}

pub(crate) fn secret() -> Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    Ok(hex::encode(bytes))
}
