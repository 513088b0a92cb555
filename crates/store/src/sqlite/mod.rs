//! The SQLite engine: one writing connection behind a fair lock, a few reading ones, and the disk.
//!
//! The file is in WAL mode, so readers never wait for the writer nor the writer for readers.
//!
//! Statements run on the thread that asks. Most take a few microseconds, less than handing them to another thread and being woken by it. A read that turns
//! out long is stopped and started over on a thread for blocking work; a statement of a transaction that was long goes there from its second time on. Long is
//! what takes SQLite many steps, not what took long by the clock: on a busy machine that would be everything, once. What the disk must be waited for, flushes and checkpoints, happens there as well.

mod readers;
mod statement;
#[cfg(test)]
mod tests;

use crate::durable::Durable;
use crate::fault::{self, Fault};
use crate::sql::{Arg, Sql};
use base::{Error, Result, Value, err};
use readers::Readers;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;

pub(crate) use statement::Outcome;

/// How long a writer waits for another process that writes the same file.
const BUSY: Duration = Duration::from_secs(10);

/// Steps of SQLite's machine between two looks at how many there were.
const STEPS: i32 = 1000;

/// Looks a statement may take on the thread that asks: a millisecond or two. Longer ones keep the others of that thread waiting.
const SHORT: i64 = 40;

/// Statements remembered to be long; when there are more, all are forgotten and learnt anew.
const LONG_ONES: usize = 1000;

/// Writing statements after which the log is copied into the database.
const CHECKPOINT: usize = 1000;

/// Pages of the log after which writers wait until it is copied whole: while they go on, the copy never catches up with them, and the log would
/// grow for as long as they do.
const MUCH: i64 = 4000;

/// How long such a copy waits for readers of an older state. When one of them stays longer, the next attempt may do.
const READERS_END: Duration = Duration::from_millis(200);

/// When a commit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// When it is on the disk: survives a power cut. Concurrent commits share one flush ([`Durable`]).
    Full,
    /// When the kernel has it: survives any death of the process, and a power cut costs the last moments.
    Normal,
    /// Nothing is ever flushed: for databases that do not outlive the process.
    Off,
}

pub(crate) struct Engine {
    readers: Readers,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    pub(crate) durable: Option<Durable>,
    /// Removes a temporary database with the last handle.
    _scratch: Option<Scratch>,
}

/// How connections are opened.
#[derive(Clone)]
struct Opener {
    path: PathBuf,
    sync: Sync,
}

/// The writing connection. `dirty` stands from before BEGIN until after COMMIT or ROLLBACK: whoever takes the lock and finds it set cleans up first.
pub(crate) struct Writer {
    /// Gone while a long statement has it on another thread, and for good when that statement's future was dropped.
    conn: Option<Connection>,
    dirty: bool,
    opener: Opener,
    /// Looks at the statement that runs.
    looks: Arc<AtomicI64>,
    long: Arc<Long>,
    /// Statements since the log was last copied into the database.
    unwritten: usize,
    me: Weak<tokio::sync::Mutex<Writer>>,
}

pub(crate) type Held = OwnedMutexGuard<Writer>;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(path = %self.0.display(), error = %e, "temporary database stays behind");
        }
    }
}

/// Texts of statements that were long.
#[derive(Default)]
struct Long(Mutex<HashSet<String>>);

impl Long {
    fn knows(&self, text: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(text)
    }

    fn learn(&self, text: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= LONG_ONES {
            all.clear();
        }
        all.insert(text.to_string());
    }
}

/// Makes the database keep a log. Of several that do so to a new file at once all but one are refused, whatever patience they have: SQLite does not
/// wait here.
fn to_wal(conn: &Connection) -> rusqlite::Result<()> {
    let until = std::time::Instant::now() + BUSY;
    loop {
        match conn.pragma_update(None, "journal_mode", "WAL") {
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) && std::time::Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

impl Opener {
    fn open(&self, writing: bool) -> Result<Connection> {
        self.try_open(writing).map_err(|e| Error::internal(e).with_context(format!("database {}", self.path.display())))
    }

    /// The writing connection, which counts its looks.
    fn writing(&self, looks: &Arc<AtomicI64>) -> Result<Connection> {
        let conn = self.open(true)?;
        let looks = looks.clone();
        let count = move || {
            looks.fetch_add(1, Ordering::Relaxed);
            false
        };
        conn.progress_handler(STEPS, Some(count)).map_err(Error::internal)?;
        Ok(conn)
    }

    fn try_open(&self, writing: bool) -> rusqlite::Result<Connection> {
        // One connection is never used by two threads at once, so SQLite need not guard it.
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, writing);
        let conn = Connection::open_with_flags(&self.path, flags)?;
        conn.set_prepared_statement_cache_capacity(500);
        // Without it a statement whose plan could depend on a bound value is planned anew with each value.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        conn.busy_timeout(BUSY)?;
        if writing {
            to_wal(&conn)?;
            conn.pragma_update(None, "cache_size", -16_000)?;
            // Done elsewhere, see `checkpoint`.
            conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        } else {
            conn.pragma_update(None, "query_only", true)?;
            conn.pragma_update(None, "cache_size", -8000)?;
        }
        conn.pragma_update(None, "synchronous", if self.sync == Sync::Off { "OFF" } else { "NORMAL" })?;
        conn.pragma_update(None, "foreign_keys", false)?;
        conn.pragma_update(None, "mmap_size", 1_i64 << 30)?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
        // From now on waiting is ours: SQLite would sleep on a thread that others need.
        conn.busy_timeout(Duration::ZERO)?;
        Ok(conn)
    }
}

impl Engine {
    /// Opens or makes the file; `None` is a temporary database of its own, gone with the last handle.
    pub(crate) async fn open(path: Option<&Path>, sync: Option<Sync>, readers: usize) -> Result<Engine> {
        let (path, scratch, sync) = match path {
            Some(path) => (path.to_path_buf(), None, sync.unwrap_or(Sync::Full)),
            None => {
                let dir = std::env::temp_dir().join(format!("store-{}", uuid::Uuid::new_v4().simple()));
                std::fs::create_dir(&dir).map_err(|e| Error::internal(e).with_context(dir.display()))?;
                (dir.join("scratch.db"), Some(Scratch(dir)), sync.unwrap_or(Sync::Off))
            }
        };
        let opener = Opener { path: path.clone(), sync };
        let (first, looks) = (opener.clone(), Arc::new(AtomicI64::new(0)));
        let counted = looks.clone();
        let conn = tokio::task::spawn_blocking(move || first.writing(&counted)).await.map_err(Error::internal)??;
        let long = Arc::new(Long::default());
        let writing = opener.clone();
        let remembering = long.clone();
        let writer = Arc::new_cyclic(|me: &Weak<_>| {
            let writer = Writer { conn: Some(conn), dirty: false, opener: writing, looks, long: remembering, unwritten: 0, me: me.clone() };
            tokio::sync::Mutex::new(writer)
        });
        let durable = if sync == Sync::Full { Some(Durable::new(&path)) } else { None };
        Ok(Engine { readers: Readers::new(opener, long, readers), writer, durable, _scratch: scratch })
    }

    pub(crate) async fn read(&self, sql: Sql) -> Result<Vec<Vec<Value>>, Fault> {
        let began = Instant::now();
        loop {
            match self.readers.read(&sql).await {
                // Rare in WAL mode: another process opens or closes the database just now.
                Err(fault) if fault.again && began.elapsed() < BUSY => tokio::time::sleep(Duration::from_millis(2)).await,
                done => return done,
            }
        }
    }

    /// Takes the writer.
    pub(crate) async fn hold(&self) -> Held {
        self.writer.clone().lock_owned().await
    }

    /// A copy of the whole database as it is now, in one file; the file must not exist.
    pub(crate) async fn backup_to(&self, path: &Path) -> Result<()> {
        let mut held = self.writer.clone().lock_owned().await;
        held.clean();
        let text = path.to_str().ok_or_else(|| err!(InputParameter, "{} is not a path in UTF-8", path.display()))?;
        let sql = Sql { text: "VACUUM INTO ?".into(), args: vec![Arg::Text(text.into())], kinds: Vec::new(), cached: false };
        held.long.learn(&sql.text);
        Ok(held.execute(sql).await.map(drop)?)
    }
}

impl Writer {
    pub(crate) async fn begin(&mut self) -> Result<(), Fault> {
        self.clean();
        let began = Instant::now();
        loop {
            self.dirty = true;
            match self.plain("BEGIN IMMEDIATE") {
                // Another process writes, or another handle of this one.
                Err(fault) if fault.again && began.elapsed() < BUSY => tokio::time::sleep(Duration::from_millis(2)).await,
                done => return done,
            }
        }
    }

    pub(crate) fn commit(&mut self) -> Result<(), Fault> {
        self.plain("COMMIT")?;
        self.dirty = false;
        if self.unwritten >= CHECKPOINT {
            self.unwritten = 0;
            tokio::spawn(checkpoint(self.opener.clone(), self.me.clone()));
        }
        Ok(())
    }

    /// Ends what an earlier holder left open.
    pub(crate) fn clean(&mut self) {
        if self.dirty {
            // A connection that is gone took its transaction with it.
            if let Some(conn) = self.conn.as_ref().filter(|conn| !conn.is_autocommit())
                && let Err(fault) = statement::script(conn, "ROLLBACK")
            {
                tracing::debug!(error = ?fault.error, "could not roll back; opening the database anew");
                self.conn = None;
            }
            self.dirty = false;
        }
    }

    pub(crate) async fn query(&mut self, sql: Sql) -> Result<Vec<Vec<Value>>, Fault> {
        self.run(sql, statement::query).await
    }

    pub(crate) async fn execute(&mut self, sql: Sql) -> Result<Outcome, Fault> {
        self.unwritten += 1;
        self.run(sql, statement::execute).await
    }

    /// Several statements at once, without values: migrations.
    pub(crate) fn script(&mut self, text: &str) -> Result<(), Fault> {
        self.unwritten += 1;
        statement::script(self.conn()?, text)
    }

    fn plain(&mut self, text: &'static str) -> Result<(), Fault> {
        let sql = Sql { text: text.into(), args: Vec::new(), kinds: Vec::new(), cached: true };
        statement::execute(self.conn()?, &sql).map(drop)
    }

    fn conn(&mut self) -> Result<&Connection> {
        if self.conn.is_none() {
            self.conn = Some(self.opener.writing(&self.looks)?);
        }
        self.conn.as_ref().ok_or_else(|| Error::internal("no connection"))
    }

    async fn run<T: Send + 'static>(&mut self, sql: Sql, f: fn(&Connection, &Sql) -> Result<T, Fault>) -> Result<T, Fault> {
        if !self.long.knows(&sql.text) {
            // One statement after the other in a loop would otherwise never let go of its thread.
            tokio::task::coop::consume_budget().await;
            self.looks.store(0, Ordering::Relaxed);
            let done = f(self.conn()?, &sql);
            if self.looks.load(Ordering::Relaxed) > SHORT {
                self.long.learn(&sql.text);
            }
            return done;
        }
        self.conn()?;
        let Some(conn) = self.conn.take() else { return Err(Error::internal("no connection").into()) };
        // When nobody waits for it any more it must not keep the next writer waiting.
        let mut waiting = Waiting { stop: conn.get_interrupt_handle(), over: false };
        let work = move || {
            let done = f(&conn, &sql);
            (conn, done)
        };
        let (conn, done) = tokio::task::spawn_blocking(work).await.map_err(Error::internal)?;
        waiting.over = true;
        self.conn = Some(conn);
        done
    }
}

/// Stops a statement on another thread, with the connection that is nobody's any more, when its future is dropped.
struct Waiting {
    stop: rusqlite::InterruptHandle,
    over: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over {
            self.stop.interrupt();
        }
    }
}

/// Copies the log into the database, beside whoever reads and writes; when it has become long, while nobody writes.
async fn checkpoint(opener: Opener, writer: Weak<tokio::sync::Mutex<Writer>>) {
    let left = copied(&opener, "PRAGMA wal_checkpoint(PASSIVE)", Duration::ZERO).await;
    if left.is_some_and(|pages| pages > MUCH)
        && let Some(writer) = writer.upgrade()
    {
        let _nobody_writes = writer.lock_owned().await;
        // From here on the next one to write begins the log anew.
        copied(&opener, "PRAGMA wal_checkpoint(RESTART)", READERS_END).await;
    }
}

/// Pages the log had.
async fn copied(opener: &Opener, text: &'static str, patience: Duration) -> Option<i64> {
    let opener = opener.clone();
    let work = move || {
        let conn = opener.open(false)?;
        conn.busy_timeout(patience).map_err(Error::internal)?;
        conn.query_row(text, [], |row| row.get(1)).map_err(|e| fault::sqlite(&e, text).error)
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(Error::internal).and_then(|done| done);
    done.inspect_err(|e| {
        tracing::warn!(error = %e, context = e.context(), "the database's log could not be copied into the database; it grows");
    })
    .ok()
}
