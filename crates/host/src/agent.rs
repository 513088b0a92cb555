//! The agent: takes documents in, keeps them, hands them to the actors, and puts together what the region is told.
//!
//! ```text
//!  region ──document──▶ dialer ──▶ supervisor ──▶ records (first), then guests' actors, disks' keeper, network
//!  region ◀──report──── reporter ◀── board ◀──────────────────┘
//! ```
//! At a start everything works from the kept document at once; the region is only needed for news.

use crate::board::{Board, Network as NetworkState};
use crate::crew::Crew;
use crate::dialer::{Dialer, Session};
use crate::disk::{Disks, Keeper};
use crate::guest::{Actor, Memory, Wanted};
use crate::hypervisor::{Hypervisor, Machine};
use crate::jobs::Jobs;
use crate::machine_room::MachineRoom;
use crate::pause::{Backoff, LONGEST};
use crate::records::Records;
use crate::region::Region;
use crate::site::Site;
use api_agent::{Desired, Observed};
use base::{Clock, Result};
use host_net::Network;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Every effect of an agent, real or simulated.
#[derive(Clone)]
pub struct Parts {
    pub hypervisor: Arc<dyn Hypervisor>,
    pub disks: Arc<dyn Disks>,
    pub network: Arc<dyn Network>,
    pub records: Arc<dyn Records>,
    pub region: Arc<dyn Region>,
    pub machine_room: Arc<dyn MachineRoom>,
    pub clock: Clock,
}

/// How an agent talks to its region.
#[derive(Clone, Debug)]
pub struct Talk {
    /// One-time token for the first start.
    pub enroll_token: String,
    /// Seconds the region may hold the question for a newer document.
    pub wait_secs: u64,
    /// Between reports when nothing changes; the region's own wish replaces it.
    pub report_interval: Duration,
    /// Changes within this time make one report.
    pub report_gather: Duration,
}

impl Default for Talk {
    fn default() -> Talk {
        Talk {
            enroll_token: String::new(),
            wait_secs: 50,
            report_interval: Duration::from_secs(30),
            report_gather: Duration::from_millis(10),
        }
    }
}

/// A running agent. Dropping it is a crash: its tasks end at their next await and the guests stay as they are.
pub struct Agent {
    crew: Arc<Crew>,
}

impl Agent {
    /// Takes over what runs and begins to converge. Errors only when what was kept or what runs cannot be read.
    pub async fn start(parts: Parts, talk: Talk) -> Result<Agent> {
        let kept = parts.records.load().await?;
        parts.disks.tidy().await?;
        let machines = parts.hypervisor.find().await?;
        let site = Arc::new(Site {
            hypervisor: parts.hypervisor,
            disks: parts.disks,
            network: parts.network,
            records: parts.records,
            clock: parts.clock,
            board: Board::default(),
            boot: parts.machine_room.boot(),
            mailboxes: Mutex::default(),
        });
        tracing::info!(version = kept.desired.version, guests = kept.guests.len(), running = machines.len(), "agent starts");
        let crew = Arc::new(Crew::new());
        let (documents_in, documents) = watch::channel(Arc::new(kept.desired));
        let (news_in, news) = mpsc::channel(1);
        let (session_in, session) = watch::channel(None);
        let keeper = Keeper::new(site.clone(), crew.clone(), documents.clone());
        let supervisor = Supervisor {
            site: site.clone(),
            crew: crew.clone(),
            keeper,
            documents: documents_in,
            jobs: Arc::new(Jobs::new(site.clone(), kept.jobs)),
        };
        supervisor.begin(kept.guests, machines);
        let reporter = Reporter {
            site: site.clone(),
            region: parts.region.clone(),
            machine_room: parts.machine_room.clone(),
            jobs: supervisor.jobs.clone(),
            documents: documents.clone(),
            session,
            gather: talk.report_gather,
        };
        let dialer = Dialer {
            site: site.clone(),
            region: parts.region,
            machine_room: parts.machine_room,
            talk,
            credential: kept.credential,
            enrolling: kept.enrolling,
            documents: documents.clone(),
            news: news_in,
            session: session_in,
            crew: crew.clone(),
            consoles: Arc::default(),
        };
        crew.run(apply_network(site.clone(), documents.clone()));
        crew.run(sweep(site, documents));
        crew.run(supervisor.run(news));
        crew.run(reporter.run());
        crew.run(dialer.run());
        Ok(Agent { crew })
    }

    /// Ends the agent and waits until it has let go of everything. Guests run on.
    pub async fn stop(self) {
        self.crew.dismiss().await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.crew.abandon();
    }
}

struct Supervisor {
    site: Arc<Site>,
    crew: Arc<Crew>,
    keeper: Arc<Keeper>,
    documents: watch::Sender<Arc<Desired>>,
    jobs: Arc<Jobs>,
}

/// A document to take in, and whom to tell when it is kept.
pub(crate) type NewDocument = (Desired, oneshot::Sender<Result<()>>);

impl Supervisor {
    fn begin(&self, mut remembered: BTreeMap<String, Memory>, mut machines: HashMap<String, Arc<dyn Machine>>) {
        let document = self.documents.borrow().clone();
        for wanted in Wanted::all(&document) {
            let id = wanted.spec().id.clone();
            self.hire(wanted, remembered.remove(&id).unwrap_or_default(), machines.remove(&id));
        }
        // Guests of no document keep what they have.
        for (id, memory) in &remembered {
            let run = memory.phase.run();
            let disks = run.iter().flat_map(|r| &r.disks).map(|d| d.disk_id.as_str());
            self.site.board.hold(id, disks, run.iter().flat_map(|r| &r.nics).map(|n| n.ifname.as_str()));
        }
        self.keeper.wake();
        self.jobs.clone().begin(&document, &self.crew);
    }

    async fn run(self, mut news: mpsc::Receiver<NewDocument>) {
        while let Some((document, kept)) = news.recv().await {
            let done = self.take_in(document).await;
            let _ = kept.send(done);
        }
    }

    /// Kept first, acted on second: another life of the agent must not know less than this one did.
    async fn take_in(&self, document: Desired) -> Result<()> {
        // A guest new in the document may still be here from an earlier one.
        let mut returning = BTreeMap::new();
        for guest in document.guests.iter().filter(|g| self.site.mailbox(&g.id).is_none()) {
            returning.insert(guest.id.clone(), self.site.records.load_guest(&guest.id).await?);
        }
        let mut machines = if returning.is_empty() { HashMap::new() } else { self.site.hypervisor.find().await? };
        self.site.records.save_desired(&document).await?;

        let before = self.documents.borrow().clone();
        let document = Arc::new(document);
        self.documents.send_replace(document.clone());
        let named: BTreeSet<&str> = document.guests.iter().map(|g| g.id.as_str()).collect();
        for old in before.guests.iter().filter(|g| !named.contains(g.id.as_str())) {
            // Its actor ends with its mailbox and leaves everything as it is.
            self.site.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).remove(&old.id);
            self.site.board.forget_guest(&old.id);
        }
        for wanted in Wanted::all(&document) {
            let id = wanted.spec().id.clone();
            match self.site.mailbox(&id) {
                Some(mailbox) => mailbox.want(wanted),
                None => self.hire(wanted, returning.remove(&id).unwrap_or_default(), machines.remove(&id)),
            }
        }
        self.keeper.wake();
        self.jobs.clone().begin(&document, &self.crew);
        Ok(())
    }

    fn hire(&self, wanted: Wanted, memory: Memory, machine: Option<Arc<dyn Machine>>) {
        let id = wanted.spec().id.clone();
        let (mailbox, actor) = Actor::new(self.site.clone(), wanted, memory, machine);
        self.site.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).insert(id, mailbox);
        self.crew.run(actor.run());
    }
}

/// Makes the host's network that of the newest document, again and again until it is.
async fn apply_network(site: Arc<Site>, mut documents: watch::Receiver<Arc<Desired>>) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        let document = documents.borrow_and_update().clone();
        let failed = match site.network.apply(&document.networks, &document.guests).await {
            Ok(()) => {
                backoff.reset();
                site.board.set_network(NetworkState::Applied);
                false
            }
            Err(e) => {
                tracing::warn!(error = %e, context = e.context().unwrap_or(""), "the host's network is not as wanted");
                site.board.set_network(NetworkState::Failing(e.to_string()));
                true
            }
        };
        tokio::select! {
            changed = documents.changed() => if changed.is_err() { return },
            () = backoff.pause(), if failed => {}
        }
    }
}

/// Removes ports nobody has any more and keeps logs within bounds; at the start and now and then.
async fn sweep(site: Arc<Site>, documents: watch::Receiver<Arc<Desired>>) {
    loop {
        // Listed before the ports in use are read, and those are noted before they are made: none made meanwhile is taken for a stray one.
        match site.network.taps().await {
            Ok(taps) => {
                let used = site.board.ports();
                let document = documents.borrow().clone();
                let named = |tap: &String| document.guests.iter().flat_map(|g| &g.nics).any(|n| n.ifname == *tap);
                for tap in taps.iter().filter(|t| !used.contains_key(*t) && !named(t)) {
                    match site.network.unplug(tap).await {
                        Ok(()) => tracing::info!(port = %tap, "port of no guest removed"),
                        Err(e) => tracing::warn!(port = %tap, error = %e, "port of no guest could not be removed"),
                    }
                }
            }
            Err(e) => tracing::warn!(error = %e, "the host's ports cannot be listed"),
        }
        site.hypervisor.upkeep(&site.board.running()).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

/// Tells the region, on change and at intervals.
struct Reporter {
    site: Arc<Site>,
    region: Arc<dyn Region>,
    machine_room: Arc<dyn MachineRoom>,
    jobs: Arc<Jobs>,
    documents: watch::Receiver<Arc<Desired>>,
    session: watch::Receiver<Option<Session>>,
    gather: Duration,
}

impl Reporter {
    async fn run(mut self) {
        let mut changes = self.site.board.watch();
        let mut backoff = Backoff::new(Duration::from_secs(1), LONGEST);
        loop {
            let Some(session) = self.session.borrow_and_update().clone() else {
                if self.session.changed().await.is_err() {
                    return;
                }
                continue;
            };
            changes.mark_unchanged();
            let document = self.documents.borrow_and_update().clone();
            let observed = self.observed(&document).await;
            match self.region.observed(&session.credential, &observed).await {
                Ok(_) => backoff.reset(),
                Err(e) => {
                    tracing::warn!(error = %e, context = e.context().unwrap_or(""), "the region did not take the report");
                    backoff.pause().await;
                    continue;
                }
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = self.documents.changed() => {}
                _ = self.session.changed() => {}
                () = tokio::time::sleep(session.interval) => continue,
            }
            tokio::time::sleep(self.gather).await;
        }
    }

    async fn observed(&self, document: &Desired) -> Observed {
        Observed {
            version: document.version,
            guests: self.site.board.guests(),
            disks: self.site.board.disks(),
            jobs: self.jobs.results(&document.jobs).await,
            stats: self.machine_room.stats().await,
            orphans: self.orphans(document).await.unwrap_or_else(|e| {
                tracing::warn!(error = %e, "orphans cannot be listed");
                Vec::new()
            }),
        }
    }

    async fn orphans(&self, document: &Desired) -> Result<Vec<String>> {
        let mut found: BTreeSet<String> = self.site.disks.list().await?.into_iter().collect();
        for disk in &document.disks {
            found.remove(&disk.id);
        }
        let guests = self.site.records.guest_ids().await?;
        found.extend(guests.into_iter().filter(|id| !document.guests.iter().any(|g| g.id == *id)));
        Ok(found.into_iter().collect())
    }
}
