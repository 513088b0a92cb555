//! The image store: one directory, one file per image and per copy, written by this process alone.
//!
//! ```text
//! <dir>/<image id>            a complete image
//! <dir>/<image id>.<format>   its copy in another format
//! <dir>/<either>.part         being written; garbage after a crash
//! <dir>/.lock                 held while the service runs
//! ```
//!
//! Handlers and the pipeline call it. It knows nothing of rows: which files may stay is told to it ([`Files::names`], [`Files::remove`]).
//! Names are checked here, so that no identifier can become a path.

mod digest;
mod download;
mod range;
mod upload;

pub use digest::{Digests, digest};
pub use download::stream;
pub use range::{Range, select};
pub use upload::{Received, Upload};

use base::{Error, Result, err};
use rustix::fs::{FlockOperation, flock, statvfs};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

const PART: &str = ".part";
const LOCK: &str = ".lock";

/// Bounds of the store.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Largest image taken, bytes.
    pub image: u64,
    /// Left free on the file system for others, bytes.
    pub reserve: u64,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Files(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    bounds: Bounds,
    /// Held for its lock.
    _lock: File,
    /// Digests of uploads that ended a moment ago, still being computed.
    digests: Mutex<HashMap<String, JoinHandle<Result<Digests>>>>,
}

impl Files {
    /// Opens the directory, making it if need be, and removes what a crash left behind.
    ///
    /// # Errors
    /// `Conflict` when another process has it; what the file system reports otherwise.
    pub fn open(dir: &Path, bounds: Bounds) -> Result<Files> {
        let context = |e: io::Error| failed(e, dir);
        fs::create_dir_all(dir).map_err(context)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join(LOCK)).map_err(context)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            err!(Conflict, "the image directory {} is in use by another process; stop that one or set another directory", dir.display())
        })?;
        let files = Files(Arc::new(Inner { dir: dir.to_path_buf(), bounds, _lock: lock, digests: Mutex::default() }));
        for name in files.listing()?.into_iter().filter(|n| n.ends_with(PART)) {
            tracing::info!(file = name, "an unfinished image file is removed");
            fs::remove_file(dir.join(&name)).map_err(context)?;
        }
        Ok(files)
    }

    /// Where a file lies or would lie.
    ///
    /// # Errors
    /// `Internal` for a name that could leave the directory: identifiers are ours, so that is a bug.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 128 || name.starts_with('.') || name.ends_with(PART) || !name.chars().all(good) {
            return Err(Error::internal(format!("impossible image file name {name:?}")));
        }
        Ok(self.0.dir.join(name))
    }

    /// Opens a complete file; `None` when there is none. Its length is what it is now: a file that is being served may be unlinked, never cut.
    pub fn read(&self, name: &str) -> Result<Option<(File, u64)>> {
        let path = self.path(name)?;
        match File::open(&path).and_then(|f| f.metadata().map(|m| (f, m.len()))) {
            Ok(found) => Ok(Some(found)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(e, &path)),
        }
    }

    /// Length of a complete file; `None` when there is none.
    pub fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.read(name)?.map(|(_, len)| len))
    }

    /// Complete files, without order.
    pub fn names(&self) -> Result<Vec<String>> {
        Ok(self.listing()?.into_iter().filter(|n| !n.starts_with('.') && !n.ends_with(PART)).collect())
    }

    /// Removes a file; a missing one is what was wanted.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(e, &path)),
            _ => Ok(()),
        }
    }

    /// Makes a complete file outlive a power failure: its bytes, then its name.
    pub async fn settle(&self, name: &str) -> Result<()> {
        let (path, dir) = (self.path(name)?, self.0.dir.clone());
        blocking(move || {
            File::open(&path).and_then(|f| f.sync_all()).map_err(|e| failed(e, &path))?;
            File::open(&dir).and_then(|d| d.sync_all()).map_err(|e| failed(e, &dir))
        })
        .await
    }

    /// Begins an upload into a file of this name; `expect` is the length announced.
    ///
    /// # Errors
    /// `TooLargeEntity` and `OutOfResource` when the announced length can already be refused.
    pub fn begin(&self, name: &str, expect: Option<u64>) -> Result<Upload> {
        Upload::begin(self, name, expect)
    }

    /// Where to build a file that [`Files::adopt`] then puts into place.
    pub fn scratch(&self, name: &str) -> Result<PathBuf> {
        Ok(part(&self.path(name)?))
    }

    /// Puts the finished scratch file of this name into place.
    pub fn adopt(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        fs::rename(part(&path), &path).map_err(|e| failed(e, &path))
    }

    /// Removes the scratch file of this name, if there is one.
    pub fn discard(&self, name: &str) {
        if let Ok(path) = self.path(name) {
            // Nothing else uses scratch files; what is left goes at the next start.
            let _ = fs::remove_file(part(&path));
        }
    }

    /// Digests of a complete file: those its upload began, or computed now from its bytes.
    pub async fn digests(&self, name: &str) -> Result<Digests> {
        let begun = self.lock_digests().remove(name);
        if let Some(begun) = begun {
            return begun.await.map_err(Error::internal)?;
        }
        let path = self.path(name)?;
        blocking(move || File::open(&path).and_then(|f| digest(&f)).map_err(|e| failed(e, &path))).await
    }

    /// Bytes that may still be written.
    pub fn room(&self) -> Result<u64> {
        let fs = statvfs(&self.0.dir).map_err(|e| failed(e.into(), &self.0.dir))?;
        Ok(fs.f_bavail.saturating_mul(fs.f_frsize).saturating_sub(self.0.bounds.reserve))
    }

    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    fn lock_digests(&self) -> std::sync::MutexGuard<'_, HashMap<String, JoinHandle<Result<Digests>>>> {
        self.0.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listing(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.0.dir).map_err(|e| failed(e, &self.0.dir))?;
        let mut out = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| failed(e, &self.0.dir))?;
            if entry.file_type().is_ok_and(|t| t.is_file())
                && let Ok(name) = entry.file_name().into_string()
            {
                out.push(name);
            }
        }
        Ok(out)
    }
}

fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(PART);
    name.into()
}

/// What the file system says, as an error of ours: a full disk is the administrator's to mend, the rest is for the log.
fn failed(e: io::Error, path: &Path) -> Error {
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => full().with_context(format!("{}: {e}", path.display())),
        _ => Error::internal(format!("{}: {e}", path.display())),
    }
}

fn full() -> Error {
    err!(OutOfResource, "the image store is full; delete images or give it more space, then upload again")
}

/// Runs what may wait for a disk away from the threads that serve.
pub async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(f).await.map_err(Error::internal)?
}
