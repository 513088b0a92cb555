//! A region in memory for one agent: tests edit its document and wait for what the agent reports.

use crate::region::Region;
use api_agent::*;
use base::{Result, err};
use host_net::BoxFuture;
use http::tunnel::Tunnel;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Speaks the whole contract, strictly: wrong credentials are refused.
pub struct MemoryRegion {
    document: watch::Sender<Desired>,
    heard: watch::Sender<Observed>,
    registered: watch::Sender<Option<HostFacts>>,
    away: AtomicBool,
}

const TOKEN: &str = "one-time";
const CREDENTIAL: &str = "credential-of-the-host";
const HOST: &str = "host-1";

impl MemoryRegion {
    pub fn new() -> Arc<MemoryRegion> {
        Arc::new(MemoryRegion {
            document: watch::Sender::new(Desired { host_id: HOST.into(), version: 1, ..Desired::default() }),
            heard: watch::Sender::new(Observed::default()),
            registered: watch::Sender::new(None),
            away: AtomicBool::new(false),
        })
    }

    /// The token an agent may enrol with.
    pub fn token(&self) -> String {
        TOKEN.into()
    }

    /// From now on nothing is answered, or all is again.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// Changes the document; its version rises.
    pub fn edit(&self, by: impl FnOnce(&mut Desired)) {
        self.document.send_modify(|d| {
            by(d);
            d.version += 1;
        });
    }

    pub fn document(&self) -> Desired {
        self.document.borrow().clone()
    }

    pub fn last(&self) -> Observed {
        self.heard.borrow().clone()
    }

    pub fn registered(&self) -> Option<HostFacts> {
        self.registered.borrow().clone()
    }

    /// Waits for a report that shows this; `None` when none came in time.
    pub async fn until(&self, within: Duration, shows: impl Fn(&Observed) -> bool) -> Option<Observed> {
        let mut heard = self.heard.subscribe();
        let seen = tokio::time::timeout(within, heard.wait_for(|o| shows(o))).await;
        seen.ok().and_then(|r| r.ok()).map(|o| o.clone())
    }

    fn here(&self, credential: &str) -> Result<()> {
        if self.away.load(Ordering::SeqCst) {
            return Err(err!(BadGateway, "cannot reach {}", "the region"));
        }
        if credential != CREDENTIAL {
            return Err(err!(Unauthorized, "unknown credential"));
        }
        Ok(())
    }
}

impl Region for MemoryRegion {
    fn enroll<'a>(&'a self, enroll: &'a Enroll) -> BoxFuture<'a, Result<Enrolled>> {
        Box::pin(async move {
            self.here(CREDENTIAL)?;
            if enroll.token != TOKEN {
                return Err(err!(Unauthorized, "the enrolment token is unknown or used"));
            }
            Ok(Enrolled { credential: CREDENTIAL.into(), host_id: HOST.into() })
        })
    }

    fn register<'a>(&'a self, credential: &'a str, facts: &'a HostFacts) -> BoxFuture<'a, Result<Registered>> {
        Box::pin(async move {
            self.here(credential)?;
            self.registered.send_replace(Some(facts.clone()));
            Ok(Registered { host_id: HOST.into(), ..Registered::default() })
        })
    }

    fn desired<'a>(&'a self, credential: &'a str, after: i64, wait_secs: u64) -> BoxFuture<'a, Result<News>> {
        Box::pin(async move {
            self.here(credential)?;
            let mut document = self.document.subscribe();
            let newer = document.wait_for(|d| d.version > after);
            let newer = tokio::time::timeout(Duration::from_secs(wait_secs), newer).await;
            self.here(credential)?;
            Ok(News { document: newer.ok().and_then(|r| r.ok()).map(|d| d.clone()), consoles: Vec::new() })
        })
    }

    fn observed<'a>(&'a self, credential: &'a str, observed: &'a Observed) -> BoxFuture<'a, Result<Heard>> {
        Box::pin(async move {
            self.here(credential)?;
            self.heard.send_replace(observed.clone());
            Ok(Heard { version: self.document.borrow().version })
        })
    }

    fn console<'a>(&'a self, _: &'a str, call: &'a ConsoleCall) -> BoxFuture<'a, Result<Tunnel>> {
        Box::pin(async { Err(err!(ResourceNotFound, "{} {} not found", "console", call.id)) })
    }

    fn console_refused<'a>(&'a self, _: &'a str, _: &'a ConsoleCall, _: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}
