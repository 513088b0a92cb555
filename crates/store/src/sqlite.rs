//! The SQLite engine: one writing connection behind a fair lock, a few reading ones, and the disk.
//!
//! The file is in WAL mode, so readers never wait for the writer nor the writer for readers. A connection of the driver is a thread of its own;
//! a statement costs one hop to it and one back.

use crate::durable::Durable;
use crate::fault::{self, Fault};
use crate::sql::{Arg, Sql};
use base::{BadValue, Error, Kind, Result, Timestamp, Value, err};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteValueRef};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Decode, Row as _, Type, TypeInfo, ValueRef};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};

/// How long a writer waits for another process that writes the same file.
const BUSY: Duration = Duration::from_secs(10);

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

/// The writing connection. `dirty` stands from before BEGIN until after COMMIT or ROLLBACK: whoever takes the lock and finds it set cleans up first.
pub(crate) struct Writer {
    pub(crate) conn: SqliteConnection,
    dirty: bool,
    options: SqliteConnectOptions,
    path: PathBuf,
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
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .busy_timeout(BUSY)
            .foreign_keys(false)
            .statement_cache_capacity(500)
            .pragma("synchronous", if sync == Sync::Off { "OFF" } else { "NORMAL" })
            .pragma("mmap_size", "268435456")
            .pragma("temp_store", "MEMORY")
            .pragma("journal_size_limit", "67108864")
            .disable_statement_logging();
        let writing = options.clone().create_if_missing(true).journal_mode(SqliteJournalMode::Wal).pragma("cache_size", "-16000");
        let conn = connect(&writing, &path).await?;
        let writer = Arc::new(tokio::sync::Mutex::new(Writer { conn, dirty: false, options: writing, path: path.clone() }));
        let durable = if sync == Sync::Full { Some(Durable::new(&path)) } else { None };
        let reading = options.pragma("query_only", "1").pragma("cache_size", "-8000");
        Ok(Engine { readers: Readers::new(reading, path, readers), writer, durable, _scratch: scratch })
    }

    pub(crate) async fn read(&self, sql: Sql) -> Result<Vec<Vec<Value>>, Fault> {
        let mut reader = self.readers.take().await?;
        let out = query(reader.conn(), sql).await;
        if out.as_ref().is_err_and(|f| f.lost) {
            reader.conn = None;
        }
        out
    }

    /// Takes the writer.
    pub(crate) async fn hold(&self) -> Held {
        self.writer.clone().lock_owned().await
    }

    /// A copy of the whole database as it is now, in one file; the file must not exist.
    pub(crate) async fn backup_to(&self, path: &Path) -> Result<()> {
        let mut held = self.writer.clone().lock_owned().await;
        held.clean().await?;
        let text = path.to_str().ok_or_else(|| err!(InputParameter, "{} is not a path in UTF-8", path.display()))?;
        let sql = Sql { text: "VACUUM INTO ?".into(), args: vec![Arg::Text(text.into())], kinds: Vec::new(), cached: false };
        Ok(execute(&mut held.conn, sql).await.map(drop)?)
    }
}

impl Writer {
    pub(crate) async fn begin(&mut self) -> Result<(), Fault> {
        self.clean().await?;
        self.dirty = true;
        match run(&mut self.conn, "BEGIN IMMEDIATE").await {
            Err(f) if f.lost => {
                // The connection's thread is gone; a new one starts with a clean slate.
                self.conn = connect(&self.options, &self.path).await?;
                run(&mut self.conn, "BEGIN IMMEDIATE").await
            }
            other => other,
        }
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Fault> {
        run(&mut self.conn, "COMMIT").await?;
        self.dirty = false;
        Ok(())
    }

    /// Ends what an earlier holder left open. A statement that was under way when its future was dropped has finished by the time this one runs.
    pub(crate) async fn clean(&mut self) -> Result<(), Fault> {
        if self.dirty {
            match run(&mut self.conn, "ROLLBACK").await {
                Ok(()) => {}
                // "no transaction is active": BEGIN never ran, or COMMIT did; or the connection is gone, which BEGIN will notice.
                Err(f) => tracing::trace!(error = ?f.error, "nothing to roll back"),
            }
            self.dirty = false;
        }
        Ok(())
    }
}

async fn connect(options: &SqliteConnectOptions, path: &Path) -> Result<SqliteConnection> {
    options.connect().await.map_err(|e| Error::internal(e).with_context(format!("database {}", path.display())))
}

/// Reading connections, opened when first needed. The last one given back is taken first: its caches are warm.
struct Readers {
    options: SqliteConnectOptions,
    path: PathBuf,
    slots: Semaphore,
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Readers {
    fn new(options: SqliteConnectOptions, path: PathBuf, count: usize) -> Readers {
        Readers { options, path, slots: Semaphore::new(count), idle: Mutex::new(Vec::with_capacity(count)) }
    }

    async fn take(&self) -> Result<Reader<'_>> {
        let permit = self.slots.acquire().await.map_err(Error::internal)?;
        let idle = self.idle.lock().unwrap_or_else(|e| e.into_inner()).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => connect(&self.options, &self.path).await?,
        };
        Ok(Reader { pool: self, conn: Some(conn), _permit: permit })
    }
}

struct Reader<'p> {
    pool: &'p Readers,
    conn: Option<SqliteConnection>,
    _permit: SemaphorePermit<'p>,
}

impl Reader<'_> {
    fn conn(&mut self) -> &mut SqliteConnection {
        self.conn.as_mut().unwrap_or_else(|| unreachable!("a reader has its connection until it is given back"))
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.pool.idle.lock().unwrap_or_else(|e| e.into_inner()).push(conn);
        }
    }
}

/// What a write did.
pub(crate) struct Outcome {
    pub affected: u64,
    /// The number of the last row put in, on SQLite.
    pub last: i64,
}

async fn run(conn: &mut SqliteConnection, text: &'static str) -> Result<(), Fault> {
    sqlx::query(text).execute(conn).await.map(drop).map_err(|e| fault::read(e, text))
}

pub(crate) async fn query(conn: &mut SqliteConnection, sql: Sql) -> Result<Vec<Vec<Value>>, Fault> {
    let Sql { text, args, kinds, cached } = sql;
    let text: Arc<str> = text.into();
    let query = sqlx::query_with(AssertSqlSafe(text.clone()), bind(args)?).persistent(cached);
    let rows = query.fetch_all(conn).await.map_err(|e| fault::read(e, &text))?;
    let mut out = Vec::with_capacity(rows.len());
    for row in &rows {
        out.push(decode(row, &kinds).map_err(|e| e.with_context(&text))?);
    }
    Ok(out)
}

pub(crate) async fn execute(conn: &mut SqliteConnection, sql: Sql) -> Result<Outcome, Fault> {
    let Sql { text, args, cached, .. } = sql;
    let text: Arc<str> = text.into();
    let query = sqlx::query_with(AssertSqlSafe(text.clone()), bind(args)?).persistent(cached);
    let done = query.execute(conn).await.map_err(|e| fault::read(e, &text))?;
    Ok(Outcome { affected: done.rows_affected(), last: done.last_insert_rowid() })
}

/// Several statements at once, without values: migrations.
pub(crate) async fn script(conn: &mut SqliteConnection, text: &'static str) -> Result<(), Fault> {
    sqlx::raw_sql(text).execute(conn).await.map(drop).map_err(|e| fault::read(e, text))
}

fn bind(args: Vec<Arg>) -> Result<SqliteArguments> {
    let mut out = SqliteArguments::default();
    out.reserve(args.len(), 0);
    for arg in args {
        match arg {
            Arg::Null(_) => out.add(None::<i64>),
            Arg::Text(s) => out.add(s),
            Arg::Int(n) => out.add(n),
            Arg::Float(f) => out.add(f),
            Arg::Bool(b) => out.add(i64::from(b)),
            Arg::Texts(_) | Arg::Ints(_) | Arg::Floats(_) | Arg::Bools(_) => return Err(Error::internal("SQLite has no arrays")),
        }
        .map_err(Error::internal)?;
    }
    Ok(out)
}

fn decode(row: &SqliteRow, kinds: &[Kind]) -> Result<Vec<Value>> {
    let mut out = Vec::with_capacity(kinds.len());
    for (i, kind) in kinds.iter().enumerate() {
        let raw = row.try_get_raw(i).map_err(Error::internal)?;
        out.push(cell(raw, *kind).map_err(|e| Error::internal(e).with_context(format!("column {}", i + 1)))?);
    }
    Ok(out)
}

/// Reads a cell as its column's kind and as nothing else: SQLite would turn any type into any other.
fn cell(raw: SqliteValueRef<'_>, kind: Kind) -> std::result::Result<Value, Box<dyn std::error::Error + Send + std::marker::Sync>> {
    // Asked first: the type of a NULL is the column's.
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let info = raw.type_info();
    let text = <String as Type<sqlx::Sqlite>>::compatible(&info);
    let real = <f64 as Type<sqlx::Sqlite>>::compatible(&info);
    let whole = !real && <i64 as Type<sqlx::Sqlite>>::compatible(&info);
    Ok(match kind {
        Kind::Text if text => Value::Text(Decode::<sqlx::Sqlite>::decode(raw)?),
        Kind::Json if text => Value::Json(serde_json::from_str(<&str as Decode<sqlx::Sqlite>>::decode(raw)?)?),
        Kind::Int if whole => Value::Int(Decode::<sqlx::Sqlite>::decode(raw)?),
        Kind::Time if whole => Value::Time(Timestamp(Decode::<sqlx::Sqlite>::decode(raw)?)),
        Kind::Bool if whole => Value::Bool(<i64 as Decode<sqlx::Sqlite>>::decode(raw)? != 0),
        Kind::Float if real || whole => Value::Float(Decode::<sqlx::Sqlite>::decode(raw)?),
        _ => return Err(BadValue { want: kind.name(), got: raw.type_info().name().to_string() }.into()),
    })
}
