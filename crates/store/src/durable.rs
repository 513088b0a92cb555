//! Group commit for SQLite: many commits, one flush of the write-ahead log.
//!
//! With `synchronous=FULL` SQLite flushes the log inside every COMMIT, one after the other (some 0.2 ms each on a good disk, 10 ms on a bad one). Here
//! SQLite runs with `synchronous=NORMAL`, where COMMIT only writes the log to the kernel and flushes stay where order matters (before a checkpoint
//! copies the log into the database, and when the log starts over). What FULL adds is exactly the flush after the commit record; we do that ourselves,
//! once for all transactions that committed meanwhile, and acknowledge none before it.
//!
//! In between a commit is visible to readers of the same machine though not yet on disk. The change feed waits for the flush before it hands a change
//! out, so nobody acts on a change that a power cut could take back.
//!
//! Opening the log file is safe: SQLite's locks are on the database and on the `-shm` file, and closing a descriptor of the log drops none of them.

use base::{Error, Result};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub(crate) struct Durable {
    log: PathBuf,
    /// Commits so far; a ticket is its value right after one's own commit.
    committed: AtomicU64,
    /// The ticket up to which everything is on disk.
    flushed: AtomicU64,
    /// The last number of the change feed among those commits.
    head: AtomicI64,
    /// The number of the change feed up to which everything is known to be on disk.
    flushed_head: AtomicI64,
    /// Held by the one who flushes; the file is opened with the first flush.
    pub(crate) leader: Arc<Mutex<Option<Arc<File>>>>,
    /// A failed flush may have dropped pages that the kernel now takes for clean, so nothing after it can be promised.
    broken: Arc<AtomicBool>,
    /// How often the log was flushed.
    flushes: AtomicU64,
}

impl Durable {
    pub(crate) fn new(database: &Path) -> Durable {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Durable {
            log: log.into(),
            committed: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            head: AtomicI64::new(0),
            flushed_head: AtomicI64::new(0),
            leader: Arc::default(),
            broken: Arc::default(),
            flushes: AtomicU64::new(0),
        }
    }

    /// Notes a commit, with the last number it has in the change feed or 0, and gives the ticket to wait with.
    pub(crate) fn committed(&self, head: i64) -> u64 {
        self.head.fetch_max(head, Ordering::AcqRel);
        self.committed.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Waits until the commit of this ticket is on disk.
    pub(crate) async fn flush(&self, ticket: u64) -> Result<()> {
        let done = || self.flushed.load(Ordering::Acquire) >= ticket;
        if done() {
            return Ok(());
        }
        let leader = self.leader.clone().lock_owned().await;
        if done() { Ok(()) } else { self.lead(leader).await }
    }

    /// Waits until the change of this number, which was read from the database, is on disk. Tickets do not tell: its writer may have committed and not yet
    /// noted that, or be another process.
    pub(crate) async fn flush_change(&self, seq: i64) -> Result<()> {
        let done = || self.flushed_head.load(Ordering::Acquire) >= seq;
        if done() {
            return Ok(());
        }
        let leader = self.leader.clone().lock_owned().await;
        if !done() {
            self.lead(leader).await?;
            self.flushed_head.fetch_max(seq, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Flushes for all who committed before now.
    async fn lead(&self, mut leader: OwnedMutexGuard<Option<Arc<File>>>) -> Result<()> {
        if self.broken.load(Ordering::Acquire) {
            return Err(
                Error::internal("an earlier flush of the database's log failed; restart the service").with_context(self.log.display())
            );
        }
        let (upto, head) = (self.committed.load(Ordering::Acquire), self.head.load(Ordering::Acquire));
        let (log, broken) = (self.log.clone(), self.broken.clone());
        // Whoever leads may be dropped while it waits. The kernel tells of a failure only once, so it is noted there; and nobody else leads before.
        let work = move || {
            let done = flush(&log, leader.clone());
            match &done {
                Ok(file) => *leader = Some(file.clone()),
                Err(e) => {
                    broken.store(true, Ordering::Release);
                    tracing::error!(path = %log.display(), error = %e, "flushing the database's log failed");
                }
            }
            (leader, done)
        };
        let (_leader, done) = tokio::task::spawn_blocking(work).await.map_err(Error::internal)?;
        match done {
            Ok(_) => {
                self.flushes.fetch_add(1, Ordering::Relaxed);
                self.flushed.store(upto, Ordering::Release);
                self.flushed_head.fetch_max(head, Ordering::AcqRel);
                Ok(())
            }
            Err(e) => Err(Error::internal(e).with_context(self.log.display())),
        }
    }
}

/// Flushes the log, and answers it open.
fn flush(log: &Path, open: Option<Arc<File>>) -> std::io::Result<Arc<File>> {
    // A log without a name was replaced when all connections had closed.
    let open = match open {
        Some(file) if file.metadata()?.nlink() > 0 => Some(file),
        _ => None,
    };
    let file = match open {
        Some(file) => file,
        None => {
            // The names of new files are as durable as their directory.
            if let Some(dir) = log.parent().filter(|d| !d.as_os_str().is_empty()) {
                File::open(dir)?.sync_all()?;
            }
            Arc::new(File::open(log)?)
        }
    };
    file.sync_data()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinSet;

    /// A log and ten commits that wait for its flush.
    async fn ten(log: bool) -> (Arc<Durable>, tempfile::TempDir, JoinSet<Result<()>>) {
        let dir = tempfile::tempdir().expect("a directory");
        if log {
            File::create(dir.path().join("x.db-wal")).expect("a log");
        }
        let durable = Arc::new(Durable::new(&dir.path().join("x.db")));
        let busy = durable.leader.lock().await;
        let mut waiting = JoinSet::new();
        for _ in 0..10 {
            let durable = durable.clone();
            let ticket = durable.committed(0);
            waiting.spawn(async move { durable.flush(ticket).await });
        }
        assert_eq!((durable.committed.load(Ordering::Relaxed), durable.flushed.load(Ordering::Relaxed)), (10, 0));
        drop(busy);
        (durable, dir, waiting)
    }

    #[tokio::test]
    async fn commits_share_a_flush() {
        let (durable, _dir, waiting) = ten(true).await;
        assert!(waiting.join_all().await.iter().all(Result::is_ok));
        assert_eq!((durable.flushed.load(Ordering::Relaxed), durable.flushes.load(Ordering::Relaxed)), (10, 1));
        durable.flush(10).await.expect("nothing to do");
        assert_eq!(durable.flushes.load(Ordering::Relaxed), 1);
        let ticket = durable.committed(3);
        durable.flush(ticket).await.expect("one more");
        assert_eq!((durable.flushed.load(Ordering::Relaxed), durable.flushes.load(Ordering::Relaxed)), (11, 2));
        for (seq, flushes) in [(3, 2), (5, 3), (5, 3), (4, 3), (6, 4)] {
            durable.flush_change(seq).await.expect("a change that was read");
            assert_eq!(durable.flushes.load(Ordering::Relaxed), flushes, "{seq}");
        }
    }

    #[tokio::test]
    async fn a_failed_flush_acknowledges_nothing() {
        let (durable, dir, waiting) = ten(false).await;
        assert!(waiting.join_all().await.iter().all(Result::is_err));
        File::create(dir.path().join("x.db-wal")).expect("a log");
        let ticket = durable.committed(3);
        assert!(durable.flush(ticket).await.is_err(), "what the failed flush lost stays lost");
    }

    /// The leader's request was given up while the disk was waited for: its failure counts all the same.
    #[tokio::test]
    async fn a_failed_flush_is_noted_without_its_leader() {
        let dir = tempfile::tempdir().expect("a directory");
        let durable = Durable::new(&dir.path().join("x.db"));
        let ticket = durable.committed(1);
        {
            let mut leading = std::pin::pin!(durable.flush(ticket));
            assert!(futures_now(leading.as_mut()).is_none(), "it waits for the disk");
        }
        // The flush goes on without it; who comes next waits for its end.
        drop(durable.leader.lock().await);
        File::create(dir.path().join("x.db-wal")).expect("a log");
        assert!(durable.flush(ticket).await.is_err(), "a later flush cannot promise it");
    }

    /// What a future answers when it is asked once.
    fn futures_now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
