//! Keeps the document's disks true: one task per disk while there is something to do, none at rest.

use super::decide::{Action, Holder, Image, decide};
use crate::crew::Crew;
use crate::guest::Command;
use crate::pause::Backoff;
use crate::site::{Site, by_request};
use api_agent::{Desired, DiskObserved, DiskSpec, DiskState, Existence, ImageSpec};
use base::{Result, err};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tracing::Instrument;

pub(crate) struct Keeper {
    site: Arc<Site>,
    crew: Arc<Crew>,
    documents: watch::Receiver<Arc<Desired>>,
    tended: Mutex<HashMap<String, Tended>>,
}

/// A disk of some document.
enum Tended {
    /// A task is at it.
    Busy,
    /// This spec has its answer on the board.
    Settled(DiskSpec),
}

/// Where one look led.
enum Step {
    Settled(DiskState, i64),
    /// Something was done: look again.
    Again,
    /// A guest has to let go first.
    Wait(String),
}

impl Keeper {
    pub fn new(site: Arc<Site>, crew: Arc<Crew>, documents: watch::Receiver<Arc<Desired>>) -> Arc<Keeper> {
        Arc::new(Keeper { site, crew, documents, tended: Mutex::default() })
    }

    /// Called after each new document.
    pub fn wake(self: &Arc<Self>) {
        let document = self.documents.borrow().clone();
        let mut tended = self.tended();
        tended.retain(|id, t| {
            let named = document.disks.iter().any(|d| d.id == *id);
            if !named && matches!(t, Tended::Settled(_)) {
                self.site.board.forget_disk(id);
                return false;
            }
            true
        });
        for disk in &document.disks {
            match tended.get(&disk.id) {
                Some(Tended::Busy) => {}
                Some(Tended::Settled(spec)) if spec.asks_same(disk) => {}
                _ => {
                    tended.insert(disk.id.clone(), Tended::Busy);
                    let (keeper, id) = (self.clone(), disk.id.clone());
                    self.crew.run(async move { keeper.tend(id).await });
                }
            }
        }
    }

    fn tended(&self) -> std::sync::MutexGuard<'_, HashMap<String, Tended>> {
        self.tended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tend(self: Arc<Self>, id: String) {
        let mut documents = self.documents.clone();
        let mut changes = self.site.board.watch();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        loop {
            changes.mark_unchanged();
            let document = documents.borrow_and_update().clone();
            let Some(spec) = document.disks.iter().find(|d| d.id == id) else {
                if self.retire(&id, None) {
                    return;
                }
                continue;
            };
            let step = tokio::select! {
                step = self.step(&document, spec).instrument(by_request(&spec.request_id)) => step,
                // A long download is broken off when nobody wants it any more; what came is kept.
                () = other_spec(&mut documents, spec) => continue,
            };
            match step {
                Ok(Step::Again) => backoff.reset(),
                Ok(Step::Settled(state, size_mb)) => {
                    self.tell(spec, state, "", size_mb);
                    if self.retire(&id, Some(spec)) {
                        return;
                    }
                }
                Ok(Step::Wait(why)) => {
                    self.tell(spec, DiskState::Creating, &why, 0);
                    tokio::select! {
                        _ = changes.changed() => {}
                        _ = documents.changed() => {}
                    }
                }
                Err(e) if e.retryable() => {
                    by_request(&spec.request_id).in_scope(|| {
                        tracing::warn!(disk = %id, error = %e, context = e.context().unwrap_or(""), "will be tried again");
                    });
                    let state = self.site.board.disk(&id).map_or(DiskState::Creating, |d| d.state);
                    self.tell(spec, state, &e.to_string(), 0);
                    tokio::select! {
                        () = backoff.pause() => {}
                        _ = documents.changed() => {}
                    }
                }
                Err(e) => {
                    by_request(&spec.request_id).in_scope(|| {
                        tracing::warn!(disk = %id, error = %e, context = e.context().unwrap_or(""), "cannot be made as wanted");
                    });
                    self.tell(spec, DiskState::Failed, &e.to_string(), 0);
                    if self.retire(&id, Some(spec)) {
                        return;
                    }
                }
            }
        }
    }

    /// Ends the task of a disk unless a newer document has other work for it.
    fn retire(&self, id: &str, settled: Option<&DiskSpec>) -> bool {
        let mut tended = self.tended();
        let document = self.documents.borrow().clone();
        let now = document.disks.iter().find(|d| d.id == id);
        let same = match (now, settled) {
            (Some(now), Some(settled)) => now.asks_same(settled),
            (now, settled) => now.is_none() && settled.is_none(),
        };
        if !same {
            return false;
        }
        match settled {
            Some(spec) => drop(tended.insert(id.to_string(), Tended::Settled(spec.clone()))),
            None => {
                tended.remove(id);
                self.site.board.forget_disk(id);
            }
        }
        true
    }

    fn tell(&self, spec: &DiskSpec, state: DiskState, error: &str, size_mb: i64) {
        self.tell_progress(spec, state, error, size_mb, 0);
    }

    fn tell_progress(&self, spec: &DiskSpec, state: DiskState, error: &str, size_mb: i64, progress: i64) {
        let (id, generation, error) = (spec.id.clone(), spec.generation, error.to_string());
        self.site.board.set_disk(DiskObserved { id, generation, state, error, progress, size_mb });
    }

    async fn step(&self, document: &Desired, spec: &DiskSpec) -> Result<Step> {
        let disks = &self.site.disks;
        // A guest about to open the disk is let through first, and none opens it while we work on it.
        let lock = self.site.board.disk_lock(&spec.id);
        let mine = lock.lock().await;
        let found = disks.look(spec).await?;
        let known = document.images.iter().find(|i| i.id == spec.image_id);
        let image = match known {
            _ if spec.image_id.is_empty() => Image::Unneeded,
            _ if found.is_some() => Image::Known,
            None => Image::Unknown,
            Some(known) if disks.has_image(known, spec).await? => Image::Cached,
            Some(_) => Image::Known,
        };
        let holder = self.site.board.holder(&spec.id).map_or(Holder::Nobody, Holder::Guest);
        match decide(spec, found, image, &holder) {
            Action::Ready => Ok(Step::Settled(DiskState::Ready, found.map_or(0, |f| f.size_mb()))),
            Action::Gone => Ok(Step::Settled(DiskState::Absent, 0)),
            Action::Fail(why) => Err(err!(InputParameter, "{}", why)),
            Action::WaitForGuest { guest } => Ok(Step::Wait(format!("guest {guest} still uses it"))),
            Action::FetchImage => {
                self.tell(spec, DiskState::Caching, "", 0);
                drop(mine);
                self.fetch(spec, known).await?;
                Ok(Step::Again)
            }
            Action::Create => {
                self.tell(spec, DiskState::Creating, "", 0);
                disks.create(spec, known.filter(|_| !spec.image_id.is_empty())).await?;
                tracing::info!(disk = %spec.id, image = %spec.image_id, "disk made");
                Ok(Step::Again)
            }
            Action::Grow => {
                self.tell_busy(spec);
                disks.grow(spec).await?;
                self.check_grown(spec).await?;
                tracing::info!(disk = %spec.id, size_mb = spec.size_mb, "disk grown");
                Ok(Step::Again)
            }
            Action::GrowRunning { guest } => {
                self.tell_busy(spec);
                // Its actor may be about to take the lock, and would then never hear us.
                drop(mine);
                self.grow_running(spec, &guest).await?;
                self.check_grown(spec).await?;
                tracing::info!(disk = %spec.id, guest, size_mb = spec.size_mb, "disk grown while in use");
                Ok(Step::Again)
            }
            Action::Delete => {
                self.tell_busy(spec);
                disks.delete(spec).await?;
                tracing::info!(disk = %spec.id, "disk removed");
                Ok(Step::Again)
            }
        }
    }

    fn tell_busy(&self, spec: &DiskSpec) {
        self.tell(spec, DiskState::Creating, "", 0);
    }

    async fn fetch(&self, spec: &DiskSpec, image: Option<&ImageSpec>) -> Result<()> {
        let Some(image) = image else {
            return Err(err!(NotFound, "image {} is not in the document", spec.image_id));
        };
        let progress = |done: u64, of: u64| {
            let percent = done.saturating_mul(100).checked_div(of).and_then(|p| i64::try_from(p).ok()).unwrap_or(0);
            self.tell_progress(spec, DiskState::Caching, "", 0, percent);
        };
        self.site.disks.fetch_image(image, spec, &progress).await
    }

    /// Growing that reports success without effect would be repeated for ever.
    async fn check_grown(&self, spec: &DiskSpec) -> Result<()> {
        match self.site.disks.look(spec).await? {
            Some(facts) if facts.size_mb() >= spec.size_mb => Ok(()),
            found => Err(err!(Internal, "disk {} did not grow", spec.id).with_context(format!("{found:?}"))),
        }
    }

    async fn grow_running(&self, spec: &DiskSpec, guest: &str) -> Result<()> {
        let Some(mailbox) = self.site.mailbox(guest) else {
            return Err(err!(InvalidStatus, "disk {} is used by guest {}, which the document does not name", spec.id, guest));
        };
        let bytes = u64::try_from(spec.size_mb).unwrap_or(0) << 20;
        mailbox.ask(|answer| Command::GrowDisk { disk_id: spec.id.clone(), bytes, answer }).await
    }
}

/// Until a document says something else about the disk.
async fn other_spec(documents: &mut watch::Receiver<Arc<Desired>>, spec: &DiskSpec) {
    loop {
        if documents.changed().await.is_err() {
            // The agent is ending; so will this task.
            std::future::pending::<()>().await;
        }
        let document = documents.borrow_and_update().clone();
        let now = document.disks.iter().find(|d| d.id == spec.id);
        if now.is_none_or(|d| d.existence == Existence::Absent && spec.existence == Existence::Present) {
            return;
        }
    }
}
