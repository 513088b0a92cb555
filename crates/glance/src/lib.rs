//! The image service: rows that describe images, files that hold them, and the way from an upload to an image servers start from.
//!
//! ```text
//! routes ──▶ resource engine (rows, rights, lists)         upkeep (reconcilers)
//!   │             ▲ hooks: image/                             │ unfinished work, lost files,
//!   └─▶ intake ──▶ files ──▶ settle ──▶ convert               ▼ recycle bin, files without a row
//!       bytes in   on disk   checksum   other formats
//! ```
//!
//! Rows come before files and go after them, never the other way round: a file without a row is rubbish and is swept away, a row whose file is
//! missing is `queued` again. Whatever the process died in, a restart finds it in the rows. One process owns a directory.
//!
//! Images are never opened by anything but `diskimage` (headers) and `qemu-img convert` (copies), never mounted, never executed.

mod convert;
mod copies;
pub mod files;
mod image;
mod intake;
mod options;
mod quota;
mod routes;
mod rows;
mod settle;
mod upkeep;
mod usage;

pub use options::Options;
pub use routes::Identify;

use base::{Ctx, Result};
use files::{Bounds, Files};
use resource::{Engine, Gate, Owners};
use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use store::{Db, Migrations};
use tokio::sync::Semaphore;

/// The tables of this service, beside the engine's own.
pub const MIGRATIONS: Migrations = Migrations {
    owner: "image",
    sqlite: &[("0001_init.sql", include_str!("../migrations/sqlite/0001_init.sql"))],
    postgres: &[("0001_init.sql", include_str!("../migrations/postgres/0001_init.sql"))],
};

/// The service.
pub struct Glance {
    engine: Arc<Engine>,
    gate: Arc<dyn Gate>,
    files: Files,
    options: Options,
    /// Images something in this process is working on.
    busy: Mutex<HashSet<String>>,
    streams: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Copies are made one at a time: each takes a processor.
    converting: Semaphore,
    fetcher: OnceLock<http::Client>,
    sweep: OnceLock<reconcile::Handle>,
    finish: OnceLock<reconcile::Handle>,
}

impl Glance {
    /// Opens the service on its database and directory. Nothing runs yet: [`Glance::router`] serves, [`Glance::upkeep`] works.
    ///
    /// # Errors
    /// When the tables cannot be made or the directory belongs to another process.
    pub async fn open(db: Db, gate: Arc<dyn Gate>, owners: Arc<dyn Owners>, options: Options) -> Result<Arc<Glance>> {
        db.migrate(&resource::MIGRATIONS).await?;
        db.migrate(&MIGRATIONS).await?;
        let files = Files::open(&options.dir, Bounds { image: options.max_image, reserve: options.reserve })?;
        let kinds = vec![image::kind(&options), copies::kind()];
        let clock = db.clock().clone();
        let settings = resource::Options {
            recycle: options.recycle,
            version: telemetry::version().to_string(),
            allowance: options.allowance.clone(),
            ..resource::Options::default()
        };
        let engine = Engine::new(api_image::SERVICE, db, clock, gate.clone(), owners, kinds, settings);
        let streams = Arc::new(Semaphore::new(options.streams));
        Ok(Arc::new(Glance {
            engine: Arc::new(engine),
            gate,
            files,
            options,
            busy: Mutex::default(),
            streams,
            waiting: AtomicUsize::new(0),
            converting: Semaphore::new(1),
            fetcher: OnceLock::new(),
            sweep: OnceLock::new(),
            finish: OnceLock::new(),
        }))
    }

    /// The engine, for whoever documents or extends the service.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    fn db(&self) -> &Db {
        &self.engine.db
    }

    /// Takes an image for this process's work; `None` when it is taken already.
    fn take(self: &Arc<Self>, id: &str) -> Option<Busy> {
        self.lock_busy().insert(id.to_string()).then(|| Busy { glance: self.clone(), id: id.to_string() })
    }

    fn lock_busy(&self) -> MutexGuard<'_, HashSet<String>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, the image is this task's.
struct Busy {
    glance: Arc<Glance>,
    id: String,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.glance.lock_busy().remove(&self.id);
    }
}

/// The context of background work.
fn own(what: &str) -> Ctx {
    Ctx::platform(&format!("{what}-{}", base::hex_id()))
}
