//! The handle of a database: opening, transactions, and what all handles share.

use crate::feed::{self, Feed, Recent};
use crate::known::Known;
use crate::lease::Leases;
use crate::migrate::{self, Migrations};
use crate::sql::{Dialect, Sql};
use crate::totals::Totals;
use crate::tx::Tx;
use crate::work::Work;
use crate::{fault::Fault, pg, sqlite};
use base::{Clock, Error, Result, Value, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify, watch};

/// How often a transaction is tried before its caller is told that the objects are busy.
const ATTEMPTS: usize = 20;

/// How long a transaction is tried at most, whatever the number of attempts.
const PATIENCE: Duration = Duration::from_secs(30);

/// After so many lost attempts a transaction is treated as one of too many that want the same rows: such go one at a time, and lock the rows they read by
/// identifier, so that each is won at last.
pub(crate) const CONTENDED: usize = 3;

#[expect(clippy::large_enum_variant, reason = "there is one of a database")]
pub(crate) enum Engine {
    Sqlite(sqlite::Engine),
    Postgres(pg::Engine),
}

pub(crate) struct Core {
    pub(crate) engine: Engine,
    pub(crate) clock: Clock,
    queries: AtomicU64,
    /// The highest number of the change feed this process knows of.
    pub(crate) head: watch::Sender<i64>,
    /// Held by the one waiter that asks the database for news of other processes.
    pub(crate) poll: Mutex<()>,
    /// Held by the one transaction that has lost too often: such go one at a time.
    turn: Mutex<()>,
    /// PostgreSQL: changes were committed and want numbers.
    pub(crate) pending: Arc<Notify>,
    pub(crate) totals: Totals,
    pub(crate) known: Known,
    pub(crate) recent: Recent,
}

impl Core {
    pub(crate) fn dialect(&self) -> Dialect {
        match self.engine {
            Engine::Sqlite(_) => Dialect::Sqlite,
            Engine::Postgres(_) => Dialect::Postgres,
        }
    }

    pub(crate) fn counted(&self) {
        self.queries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) async fn fetch(&self, sql: Sql) -> Result<Vec<Vec<Value>>> {
        self.counted();
        Ok(match &self.engine {
            Engine::Sqlite(engine) => engine.read(sql).await?,
            Engine::Postgres(engine) => engine.read(sql).await?,
        })
    }

    /// Notes a new end of the feed and wakes who waits for it.
    pub(crate) fn heard(&self, head: i64) {
        self.head.send_if_modified(|known| {
            let news = head > *known;
            *known = (*known).max(head);
            news
        });
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // The numbering task holds no handle; woken, it finds none and ends.
        self.pending.notify_one();
    }
}

/// A database. Cheap to clone; all clones share connections.
#[derive(Clone)]
pub struct Db {
    pub(crate) core: Arc<Core>,
    pub(crate) feed: Feed,
}

tokio::task_local! {
    /// The databases in whose transactions this task is.
    static INSIDE: Vec<usize>;
}

impl Db {
    /// Opens a database and brings the store's own tables up to date.
    ///
    /// - `sqlite:///path/file.db`, made if missing; `?synchronous=normal` gives up the flush at commit (a power cut may then cost the last moments),
    ///   `full` is the default; `?readers=8` sets how many reading connections there may be.
    /// - `sqlite::memory:`, a temporary database of its own, gone with the last handle.
    /// - `postgres://user@host/db`; `?pool=32` sets how many connections there may be (16).
    pub async fn open(url: &str) -> Result<Db> {
        Db::open_with(url, Clock::real()).await
    }

    /// [`Db::open`] with a clock, from which all times come that the store writes or compares: rows, feed, leases.
    pub async fn open_with(url: &str, clock: Clock) -> Result<Db> {
        let target = Target::parse(url)?;
        let engine = match &target {
            Target::Sqlite { path, sync, readers } => Engine::Sqlite(sqlite::Engine::open(path.as_deref(), *sync, *readers).await?),
            Target::Postgres { url, pool } => Engine::Postgres(pg::Engine::open(url, *pool).await?),
        };
        let core = Arc::new(Core {
            engine,
            clock,
            queries: AtomicU64::new(0),
            head: watch::Sender::new(0),
            poll: Mutex::new(()),
            turn: Mutex::new(()),
            pending: Arc::new(Notify::new()),
            totals: Totals::default(),
            known: Known::default(),
            recent: Recent::default(),
        });
        let db = Db { feed: Feed { core: core.clone() }, core };
        migrate::prepare(&db).await?;
        migrate::run(&db, &migrate::OWN).await?;
        feed::start(&db.core).await?;
        Ok(db)
    }

    /// Applies the numbered files of one owner that are not applied yet. Safe to repeat, and safe when several processes start at once. An applied
    /// file whose text has changed since, and a database newer than the program, are errors.
    pub async fn migrate(&self, set: &Migrations) -> Result<()> {
        migrate::run(self, set).await
    }

    /// Runs a body as one transaction and commits if it returns `Ok`.
    ///
    /// `db.tx(|tx| work(async move { .. })).await?`. The body may run several times: on a deadlock, a serialisation failure, a lost connection before
    /// the commit, or a lost [`Tx::save`]; it must have no effect but through `tx`. `Ok` means committed, and on SQLite flushed to disk. Dropping
    /// the returned future rolls back, unless the commit was already on its way. `ServiceAbnormal` from a connection that broke during the commit leaves open
    /// whether it happened.
    pub async fn tx<'c, T, F>(&self, f: F) -> Result<T>
    where
        F: for<'t> FnMut(&'t mut Tx) -> Work<'c, 't, Result<T>> + Send,
        T: Send,
    {
        let here = Arc::as_ptr(&self.core) as usize;
        let mut inside = INSIDE.try_with(Vec::clone).unwrap_or_default();
        if inside.contains(&here) {
            return Err(Error::internal("a transaction inside a transaction of the same database would wait for itself"));
        }
        inside.push(here);
        INSIDE.scope(inside, self.attempts(f)).await
    }

    async fn attempts<'c, T, F>(&self, mut f: F) -> Result<T>
    where
        F: for<'t> FnMut(&'t mut Tx) -> Work<'c, 't, Result<T>> + Send,
        T: Send,
    {
        let (began, mut before) = (Instant::now(), None);
        for attempt in 0.. {
            let turn = if attempt >= CONTENDED { Some(self.core.turn.lock().await) } else { None };
            let error = match Tx::begin(self.core.clone(), attempt).await {
                Ok(mut tx) => match f(&mut tx).await {
                    Ok(value) => match tx.commit().await {
                        Ok(ticket) => {
                            if let (Engine::Sqlite(sqlite::Engine { durable: Some(durable), .. }), Some(ticket)) =
                                (&self.core.engine, ticket)
                            {
                                durable.flush(ticket).await?;
                            }
                            return Ok(value);
                        }
                        Err(fault) => {
                            tx.rollback().await;
                            once_more(fault)?
                        }
                    },
                    Err(error) => {
                        tx.rollback().await;
                        // The same row at the same version again: it was read outside the body, and reading it again is the caller's.
                        let lost = tx.lost.take();
                        if !tx.again || (lost.is_some() && lost == before) {
                            return Err(error);
                        }
                        before = lost;
                        error
                    }
                },
                Err(fault) if fault.lost => fault.error,
                Err(fault) => once_more(fault)?,
            };
            if attempt + 1 == ATTEMPTS || began.elapsed() > PATIENCE {
                return Err(error);
            }
            drop(turn);
            pause(attempt).await;
        }
        unreachable!("the attempts end by returning")
    }

    /// For reading outside a transaction: `db.read().get::<Server>(id).await?`.
    pub fn read(&self) -> &Db {
        self
    }

    /// The change feed.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The leases.
    pub fn leases(&self) -> Leases {
        Leases::new(self)
    }

    pub fn clock(&self) -> &Clock {
        &self.core.clock
    }

    pub fn dialect(&self) -> Dialect {
        self.core.dialect()
    }

    /// Statements executed so far through any handle, without BEGIN and COMMIT: for tests that count.
    pub fn queries(&self) -> u64 {
        self.core.queries.load(Ordering::Relaxed)
    }

    /// SQLite only: writes a copy of the database, as it is now, to a new file. Templates of tests and backups are made with it.
    pub async fn backup_to(&self, path: impl AsRef<Path>) -> Result<()> {
        match &self.core.engine {
            Engine::Sqlite(engine) => engine.backup_to(path.as_ref()).await,
            Engine::Postgres(_) => bail!(UnsupportedOperation, "a PostgreSQL database is backed up with pg_dump"),
        }
    }
}

fn once_more(fault: Fault) -> Result<Error> {
    if fault.again { Ok(fault.error) } else { Err(fault.error) }
}

/// Waits a random moment, longer with each attempt, so that rivals come apart.
async fn pause(attempt: usize) {
    let most = 2_000_u64 << attempt.min(7);
    let random = uuid::Uuid::new_v4().as_u64_pair().1;
    tokio::time::sleep(Duration::from_micros(500 + random % most)).await;
}

/// A parsed URL.
#[derive(Debug, PartialEq)]
enum Target {
    Sqlite { path: Option<PathBuf>, sync: Option<sqlite::Sync>, readers: usize },
    Postgres { url: String, pool: u32 },
}

impl Target {
    fn parse(url: &str) -> Result<Target> {
        let (place, params) = url.split_once('?').unwrap_or((url, ""));
        let mut others = Vec::new();
        let (mut sync, mut readers, mut pool) = (None, std::thread::available_parallelism().map_or(4, |n| n.get()).clamp(4, 16), 16);
        for param in params.split('&').filter(|p| !p.is_empty()) {
            match param.split_once('=') {
                Some(("synchronous", "full")) => sync = Some(sqlite::Sync::Full),
                Some(("synchronous", "normal")) => sync = Some(sqlite::Sync::Normal),
                Some(("synchronous", "off")) => sync = Some(sqlite::Sync::Off),
                Some(("synchronous", other)) => bail!(InputParameter, "database URL: synchronous is full, normal or off, not {}", other),
                Some(("readers", n)) => readers = number(n)? as usize,
                Some(("pool", n)) => pool = number(n)?,
                _ => others.push(param),
            }
        }
        if place == "sqlite::memory:" {
            return Ok(Target::Sqlite { path: None, sync, readers });
        }
        if let Some(path) = place.strip_prefix("sqlite://") {
            if let Some(other) = others.first() {
                bail!(InputParameter, "database URL: {} is not a known parameter", other);
            }
            if path.is_empty() {
                bail!(InputParameter, "database URL: sqlite:// wants the path of a file");
            }
            return Ok(Target::Sqlite { path: Some(path.into()), sync, readers });
        }
        if place.starts_with("postgres://") || place.starts_with("postgresql://") {
            let url = if others.is_empty() { place.to_string() } else { format!("{place}?{}", others.join("&")) };
            return Ok(Target::Postgres { url, pool });
        }
        // The URL may hold a password, so only its scheme is repeated.
        bail!(InputParameter, "a database URL starts with sqlite:// or postgres://, not {}", place.split(':').next().unwrap_or(""))
    }
}

fn number(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(n) if (1..=1024).contains(&n) => Ok(n),
        _ => bail!(InputParameter, "database URL: {} is not a number from 1 to 1024", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let parse = |url: &str| Target::parse(url).map_err(|e| e.to_string());
        let Ok(Target::Sqlite { path, sync, readers }) = parse("sqlite:///var/lib/x.db?synchronous=normal&readers=3") else { panic!() };
        assert_eq!((path.as_deref(), sync, readers), (Some(Path::new("/var/lib/x.db")), Some(sqlite::Sync::Normal), 3));
        assert!(matches!(parse("sqlite::memory:"), Ok(Target::Sqlite { path: None, sync: None, .. })));
        assert_eq!(
            parse("postgres://u:p@h/db?sslmode=require&pool=7"),
            Ok(Target::Postgres { url: "postgres://u:p@h/db?sslmode=require".into(), pool: 7 })
        );
        for bad in ["mysql://secret@h/x", "sqlite://", "sqlite://x?cache=1", "sqlite://x?readers=0", "postgres://h/x?synchronous=maybe"] {
            let message = parse(bad).expect_err(bad);
            assert!(!message.contains("secret"), "{message}");
        }
    }

    /// Nothing is acknowledged, and nobody told of it, before it is on the disk.
    #[tokio::test]
    async fn success_means_flushed() {
        let dir = tempfile::tempdir().expect("a directory");
        let db = Db::open(&format!("sqlite://{}", dir.path().join("x.db").display())).await.expect("opening");
        let Engine::Sqlite(sqlite::Engine { durable: Some(durable), .. }) = &db.core.engine else { panic!("not durable") };
        let flushing = durable.leader.lock().await;
        let change = crate::Change {
            kind: "x".into(),
            id: "x".into(),
            op: crate::ChangeOp::Create,
            version: 0,
            domain_id: String::new(),
            project_id: String::new(),
            data: base::Json::Null,
        };
        let change = &change;
        let mut write = std::pin::pin!(db.tx(|tx| crate::work(async move { tx.emit(change.clone()).await })));
        let mut follow = db.feed().subscribe(0);
        let mut told = std::pin::pin!(follow.next());
        let patience = Duration::from_millis(200);
        assert!(tokio::time::timeout(patience, &mut write).await.is_err(), "the commit waits for the flush");
        assert_eq!(*db.core.head.borrow(), 1, "though it has happened");
        assert!(tokio::time::timeout(patience, &mut told).await.is_err(), "and so do its followers");
        drop(flushing);
        let (written, told) = tokio::join!(write, told);
        written.expect("writing");
        assert_eq!(told.expect("reading").changes.len(), 1);
    }
}
