//! Dials the region: enrols once, registers at each start, then asks for newer documents for ever.
//!
//! ```text
//!            token                    facts                    long poll
//!  no credential ──▶ enrolled ──▶ registered ──▶ asking ──▶ document kept ──┐
//!       ▲                ▲             │            ▲  └──── unchanged ─────┤
//!       │                └─ any error: wait, ever longer, with jitter ──────┤
//!       └─ credential refused, and a token is at hand                       └─▶ asking
//! ```
//! Nothing here touches guests: with the region away for days, they run on from the kept document.

use crate::agent::{NewDocument, Talk};
use crate::console::Consoles;
use crate::crew::Crew;
use crate::machine_room::MachineRoom;
use crate::pause::{Backoff, LONGEST};
use crate::records::Credential;
use crate::region::Region;
use crate::site::Site;
use api_agent::{Desired, Enroll, HostFacts};
use base::{Class, Error, Result, err};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// What reporting needs, once the host is registered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Session {
    pub credential: String,
    pub interval: Duration,
}

pub(crate) struct Dialer {
    pub site: Arc<Site>,
    pub region: Arc<dyn Region>,
    pub machine_room: Arc<dyn MachineRoom>,
    pub talk: Talk,
    pub credential: Option<Credential>,
    pub enrolling: Option<Credential>,
    pub documents: watch::Receiver<Arc<Desired>>,
    pub news: mpsc::Sender<NewDocument>,
    pub session: watch::Sender<Option<Session>>,
    pub crew: Arc<Crew>,
    pub consoles: Arc<Consoles>,
}

impl Dialer {
    pub async fn run(mut self) {
        // A region that is back is wanted at once: whoever makes a server waits for the host.
        let mut backoff = Backoff::new(Duration::from_secs(1), LONGEST);
        loop {
            let Err(e) = self.dial(&mut backoff).await;
            tracing::warn!(error = %e, context = e.context().unwrap_or(""), "the region cannot be used; guests run on");
            backoff.pause().await;
        }
    }

    async fn dial(&mut self, backoff: &mut Backoff) -> Result<std::convert::Infallible> {
        let facts = self.facts().await?;
        let credential = match self.credential.clone() {
            Some(credential) => credential,
            None => self.enroll(&facts).await?,
        };
        let registered = match self.region.register(&credential.credential, &facts).await {
            Err(e) if refused(&e) && !self.talk.enroll_token.is_empty() => {
                tracing::warn!("the credential of this host is refused; enrolling again");
                self.enroll(&facts).await?;
                return Err(e);
            }
            other => other?,
        };
        let interval = match registered.report_interval_secs {
            0 => self.talk.report_interval,
            secs => Duration::from_secs(secs),
        };
        tracing::info!(host = %registered.host_id, "registered");
        self.session.send_replace(Some(Session { credential: credential.credential.clone(), interval }));
        loop {
            self.ask(&credential, &registered.host_id).await?;
            backoff.reset();
        }
    }

    async fn facts(&self) -> Result<HostFacts> {
        let mut facts = self.machine_room.facts().await?;
        match self.site.hypervisor.abilities().await {
            Ok(abilities) => {
                facts.accelerator = abilities.accelerator.name().to_string();
                facts.qemu_version.clone_from(&abilities.qemu_version);
            }
            // The region shows a host that cannot run guests; that is better than one it never hears of.
            Err(e) => tracing::error!(error = %e, context = e.context().unwrap_or(""), "this host cannot run guests"),
        }
        Ok(facts)
    }

    async fn enroll(&mut self, facts: &HostFacts) -> Result<Credential> {
        if self.talk.enroll_token.is_empty() {
            return Err(err!(InvalidCredential, "this host is not enrolled; start its agent with an enrolment token"));
        }
        let secret = self.secret().await?;
        let ask = Enroll { token: self.talk.enroll_token.clone(), hostname: facts.hostname.clone(), secret };
        let enrolled = self.region.enroll(&ask).await?;
        let credential = Credential { credential: enrolled.credential, host_id: enrolled.host_id };
        self.site.records.save_credential(&credential).await?;
        tracing::info!(host = %credential.host_id, "enrolled");
        self.credential = Some(credential.clone());
        Ok(credential)
    }

    /// The credential to be: the one of a question that was not answered, or a new one, written down before it is used.
    async fn secret(&mut self) -> Result<String> {
        let used = self.credential.as_ref().map(|c| c.credential.as_str());
        if let Some(asked) = self.enrolling.as_ref().filter(|e| Some(e.credential.as_str()) != used) {
            return Ok(asked.credential.clone());
        }
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        let made = Credential { credential: hex::encode(bytes), host_id: String::new() };
        self.site.records.save_enrolling(&made).await?;
        self.enrolling = Some(made.clone());
        Ok(made.credential)
    }

    async fn ask(&self, credential: &Credential, host_id: &str) -> Result<()> {
        let have = self.documents.borrow().version;
        let asked = Instant::now();
        let news = self.region.desired(&credential.credential, have, self.talk.wait_secs).await?;
        let called = !news.consoles.is_empty();
        for call in news.consoles {
            let console = self.consoles.clone().serve(self.site.clone(), self.region.clone(), credential.credential.clone(), call);
            self.crew.run(console);
        }
        let Some(document) = news.document.filter(|d| d.version != have) else {
            // A region that answers "unchanged" at once must not be asked in a circle.
            if !called && asked.elapsed() < Duration::from_secs(1) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            return Ok(());
        };
        if !document.host_id.is_empty() && document.host_id != host_id {
            return Err(err!(BadGateway, "the region sent the document of host {}", document.host_id));
        }
        tracing::info!(version = document.version, guests = document.guests.len(), disks = document.disks.len(), "document");
        let (kept, answer) = oneshot::channel();
        let ending = || Error::internal("the agent is ending");
        self.news.send((document, kept)).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())?
    }
}

fn refused(e: &Error) -> bool {
    matches!(e.class(), Class::Unauthorized | Class::InvalidCredential | Class::Forbidden)
}
