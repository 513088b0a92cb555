//! What must stay true whatever happened: every image is finished or given up, rows and files agree, the recycle bin empties itself, no file
//! is left that no row asks for. The recovery after a crash is these same runs.

use crate::{Glance, own, rows};
use api_image::{Image, Status, SubImage};
use base::{Resource, Result, Row, Value};
use reconcile::{Counts, Reconciler, Reconcilers, Turn};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use store::{Cond, Op, Order, Read};

/// Between the creation of a row and the moment its upload takes hold of it nothing may judge it.
const GRACE_SECS: i64 = 60;
/// Rows of a comparison looked at together.
const PAGE: u64 = 500;

impl Glance {
    /// Starts the standing work. Dropping the answer stops it.
    pub fn upkeep(self: &Arc<Self>) -> Reconcilers {
        let mut all = Reconcilers::new(self.db());
        let finish = all.add(Finish { glance: self.clone(), started: self.engine.clock.now() });
        all.add(Verify(self.clone()));
        all.add(Purge(self.clone()));
        let sweep = all.add(Sweep(self.clone()));
        // A second set would be a second service on one directory; the first handle stays.
        let _ = self.sweep.set(sweep);
        let _ = self.finish.set(finish);
        all
    }

    /// An image was put into a state that asks for work.
    pub(crate) fn work_to_do(&self) {
        if let Some(finish) = self.finish.get() {
            finish.activate();
        }
    }

    /// Something was deleted for good: its file can go.
    pub(crate) fn deleted_something(&self) {
        if let Some(sweep) = self.sweep.get() {
            sweep.activate();
        }
    }

    fn is_busy(&self, id: &str) -> bool {
        self.lock_busy().contains(id)
    }
}

/// Finishes what an earlier process or a failed attempt left in between.
struct Finish {
    glance: Arc<Glance>,
    started: base::Timestamp,
}

impl Reconciler for Finish {
    fn name(&self) -> String {
        "image-finish".into()
    }
    fn period(&self) -> Duration {
        Duration::from_secs(30)
    }
    async fn run(&self, _: &Turn) -> Result<Counts> {
        let glance = &self.glance;
        let between = [Status::Saving, Status::Saved, Status::Probing, Status::Converting];
        let cond = Cond::is_in("status", between.map(Status::name)).and(Cond::eq("deleted", false));
        let mut db = glance.db();
        let (mut settled, mut broken) = (0, 0);
        let mut failed = None;
        for row in db.find(Image::facts(), cond).await? {
            if rows::state(&row) != Some(Status::Saving) {
                if let Some(busy) = glance.take(row.id()) {
                    // One image that cannot be finished must not keep the others waiting.
                    match glance.settle(&busy).await {
                        Ok(()) => settled += 1,
                        Err(e) => failed = Some(e.with_context(row.id())),
                    }
                }
                continue;
            }
            let since = match row.get("updated_at") {
                Value::Time(at) => *at,
                _ => base::Timestamp::ZERO,
            };
            let orphaned = since < self.started || glance.engine.clock.now().since(since) > GRACE_SECS * 1_000_000;
            if orphaned && let Some(_busy) = glance.take(row.id()) {
                glance.broken(&own("finish"), row.id(), "the image service stopped during the upload").await?;
                broken += 1;
            }
        }
        failed.map_or(Ok(Counts::default().with("settled", settled).with("broken", broken)), Err)
    }
}

/// Compares rows with files (spec 21 §12.3): an image whose file is missing or of another length is `queued`, and `active` again when the
/// right one is back.
struct Verify(Arc<Glance>);

impl Reconciler for Verify {
    fn name(&self) -> String {
        "image-verify".into()
    }
    fn period(&self) -> Duration {
        self.0.options.verify
    }
    async fn run(&self, _: &Turn) -> Result<Counts> {
        let (mut lost, mut found) = (0, 0);
        let mut after = String::new();
        loop {
            let page = self.page(&after).await?;
            let Some(last) = page.last() else { break };
            after = last.id().to_string();
            for row in page {
                let (id, size) = (row.id(), u64::try_from(row.int("size")).ok());
                if self.0.is_busy(id) {
                    continue;
                }
                let whole = self.0.files.size(id)? == size;
                let (from, to, why) = match rows::state(&row) {
                    Some(Status::Active) if !whole => (Status::Active, Status::Queued, "the image file is missing or has another size"),
                    Some(Status::Queued) if whole => (Status::Queued, Status::Active, "the image file is there again"),
                    _ => continue,
                };
                if rows::transition(self.0.db(), &own("verify"), id, &[from], to, why, |_| {}).await?.is_some() {
                    if to == Status::Queued {
                        tracing::warn!(image = id, "an image file is missing or has another size");
                        lost += 1;
                    } else {
                        found += 1;
                    }
                }
            }
        }
        Ok(Counts::default().with("lost", lost).with("found", found))
    }
}

impl Verify {
    /// The next images that had bytes once, by id.
    async fn page(&self, after: &str) -> Result<Vec<Row>> {
        let mut db = self.0.db();
        let cond = Cond::is_in("status", [Status::Active.name(), Status::Queued.name()])
            .and(Cond::eq("deleted", false))
            .and(Cond::ne("checksum", ""))
            .and(Cond::cmp("id", Op::Gt, after));
        db.page(Image::facts(), cond, vec![Order::asc("id")], PAGE, 0).await
    }
}

/// Lets go what has been in the recycle bin long enough.
struct Purge(Arc<Glance>);

impl Reconciler for Purge {
    fn name(&self) -> String {
        "image-purge".into()
    }
    fn period(&self) -> Duration {
        self.0.options.purge
    }
    async fn run(&self, _: &Turn) -> Result<Counts> {
        let glance = &self.0;
        let keep = i64::try_from(glance.options.keep_deleted.as_secs()).unwrap_or(i64::MAX);
        let before = base::Timestamp(glance.engine.clock.now().micros().saturating_sub(keep.saturating_mul(1_000_000)));
        let cond = Cond::eq("pending_deleted", true).and(Cond::eq("deleted", false)).and(Cond::cmp("pending_deleted_at", Op::Le, before));
        let mut db = glance.db();
        let expired = db.page(Image::facts(), cond, vec![Order::asc("pending_deleted_at")], glance.options.purge_batch, 0).await?;
        let mut gone = 0;
        for row in expired {
            // Taken out of the bin meanwhile, it is in another state.
            let from = [Status::PendingDelete, Status::Killed, Status::Deactivated];
            let (ctx, why) = (own("purge"), "its time in the recycle bin is over");
            let done = rows::transition(glance.db(), &ctx, row.id(), &from, Status::Deleted, why, |_| {});
            if done.await?.is_some() {
                gone += 1;
            }
        }
        if gone > 0 {
            glance.deleted_something();
        }
        Ok(Counts::default().with("deleted", gone))
    }
}

/// Removes files that no row asks for, and rows of copies whose image is gone.
struct Sweep(Arc<Glance>);

impl Reconciler for Sweep {
    fn name(&self) -> String {
        "image-sweep".into()
    }
    fn period(&self) -> Duration {
        Duration::from_secs(600)
    }
    async fn run(&self, _: &Turn) -> Result<Counts> {
        let glance = &self.0;
        // Files first, rows second: a row is always there before its file, so what has none now had none then.
        let files = crate::files::blocking({
            let files = glance.files.clone();
            move || files.names()
        })
        .await?;
        let mut removed = 0;
        for chunk in files.chunks(PAGE as usize) {
            let mut db = glance.db();
            let ids = chunk.iter().map(|name| image_of(name));
            let alive: HashSet<String> =
                db.texts("images", "id", Cond::is_in("id", ids).and(Cond::eq("deleted", false))).await?.into_iter().collect();
            for name in chunk.iter().filter(|name| !alive.contains(image_of(name))) {
                if !glance.is_busy(image_of(name)) {
                    tracing::info!(file = name, "a file that belongs to no image is removed");
                    glance.files.remove(name)?;
                    removed += 1;
                }
            }
        }
        self.copies().await?;
        Ok(Counts::default().with("removed", removed))
    }
}

impl Sweep {
    async fn copies(&self) -> Result<()> {
        let mut db = self.0.db();
        let alive = store::Select::from("images").column("id", base::Kind::Text).filter(Cond::eq("deleted", false));
        let orphans = Cond::in_select("image_id", alive).not();
        if db.count(SubImage::facts().table, orphans.clone()).await? > 0 {
            let orphans = &orphans;
            self.0.db().tx(|tx| store::work(async move { tx.delete("sub_images", orphans.clone()).await })).await?;
        }
        Ok(())
    }
}

/// The image a file belongs to: its name up to the first dot.
fn image_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}
