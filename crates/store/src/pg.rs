//! The PostgreSQL engine: a pool of connections. It asks for nothing beyond the protocol and plain SQL (no LISTEN/NOTIFY, no advisory locks), so that
//! distributed databases that speak the same protocol work as well.

mod pool;

use crate::fault::{self, Fault};
use crate::sql::{Arg, Sql};
use crate::sqlite::Outcome;
use base::{BadValue, Error, Kind, Result, Timestamp, Value, err};
use pool::{Lent, Pool};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow, PgValueFormat, PgValueRef};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Row as _, ValueRef as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// READ COMMITTED, always said, whatever the server's default. A conditional update that meets a concurrent one waits for it and looks at its condition
/// again, so hot counters and compare-and-swap need no retries; REPEATABLE READ would abort all but one. What a decision rests upon must therefore stand
/// in the condition of a write, or be locked ([`crate::Tx::lock`]). The feed's numbering relies on each statement seeing what was committed before it.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// A connection that lay idle for longer is asked for a sign of life before it is used.
const STALE: Duration = Duration::from_secs(5);

/// How often a read is repeated when its connection turns out to be gone.
const REREADS: usize = 3;

pub(crate) struct Engine {
    pool: Arc<Pool>,
    cut: Cut,
}

/// When a connection was last found gone. Those that were used last before that moment have likely gone with it (the server restarted), and are asked for
/// a sign of life.
#[derive(Clone)]
struct Cut {
    start: Instant,
    /// Microseconds since `start`; 0 is never.
    at: Arc<AtomicU64>,
}

impl Cut {
    fn note(&self) {
        self.at.fetch_max(self.micros(), Ordering::Relaxed);
    }

    fn suspects(&self, idle_for: Duration) -> bool {
        idle_for > STALE || self.micros().saturating_sub(idle_for.as_micros() as u64) <= self.at.load(Ordering::Relaxed)
    }

    fn micros(&self) -> u64 {
        self.start.elapsed().as_micros() as u64 + 1
    }
}

impl Engine {
    pub(crate) async fn open(url: &str, connections: u32) -> Result<Engine> {
        let options: PgConnectOptions =
            url.parse().map_err(|e: sqlx::Error| err!(InputParameter, "the database URL is not valid: {}", e))?;
        let options = options.statement_cache_capacity(500).disable_statement_logging();
        let cut = Cut { start: Instant::now(), at: Arc::default() };
        let pool = Pool::new(options, connections, cut.clone());
        pool.take().await.map_err(|f| f.error)?.give();
        Ok(Engine { pool, cut })
    }

    pub(crate) async fn read(&self, sql: Sql) -> Result<Vec<Vec<Value>>, Fault> {
        for _ in 1..REREADS {
            match self.read_once(sql.clone()).await {
                Err(f) if f.lost => self.cut(),
                other => return other,
            }
        }
        self.read_once(sql).await
    }

    async fn read_once(&self, sql: Sql) -> Result<Vec<Vec<Value>>, Fault> {
        let mut lent = self.pool.take().await?;
        let done = query(lent.conn()?, sql).await;
        match &done {
            Ok(_) => lent.give(),
            Err(f) if f.lost => lent.discard(),
            // Put right when dropped.
            Err(_) => {}
        }
        done
    }

    pub(crate) async fn begin(&self) -> Result<Held, Fault> {
        let mut held = Held(self.pool.take().await?);
        held.0.inside = true;
        match plain(held.0.conn()?, BEGIN).await {
            Ok(()) => Ok(held),
            Err(f) => {
                if f.lost {
                    held.0.discard();
                    self.cut();
                }
                Err(f)
            }
        }
    }

    /// Notes that a connection was found gone.
    pub(crate) fn cut(&self) {
        self.cut.note();
    }
}

/// A connection inside a transaction; rolled back when dropped.
pub(crate) struct Held(Lent);

impl Held {
    pub(crate) fn conn(&mut self) -> Result<&mut PgConnection, Fault> {
        self.0.conn()
    }

    pub(crate) async fn commit(self) -> Result<(), Fault> {
        self.end("COMMIT").await
    }

    pub(crate) async fn rollback(self) -> Result<(), Fault> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, text: &'static str) -> Result<(), Fault> {
        match plain(self.0.conn()?, text).await {
            Ok(()) => {
                self.0.inside = false;
                self.0.give();
                Ok(())
            }
            Err(f) => {
                if f.lost {
                    self.0.discard();
                }
                Err(f)
            }
        }
    }
}

/// A statement without values and without an answer.
async fn plain(conn: &mut PgConnection, text: &'static str) -> Result<(), Fault> {
    sqlx::raw_sql(text).execute(conn).await.map(drop).map_err(|e| fault::read(e, text))
}

pub(crate) async fn query(conn: &mut PgConnection, sql: Sql) -> Result<Vec<Vec<Value>>, Fault> {
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

pub(crate) async fn execute(conn: &mut PgConnection, sql: Sql) -> Result<Outcome, Fault> {
    let Sql { text, args, cached, .. } = sql;
    let text: Arc<str> = text.into();
    let query = sqlx::query_with(AssertSqlSafe(text.clone()), bind(args)?).persistent(cached);
    let done = query.execute(conn).await.map_err(|e| fault::read(e, &text))?;
    Ok(Outcome { affected: done.rows_affected(), last: 0 })
}

/// Several statements at once, without values: migrations.
pub(crate) async fn script(conn: &mut PgConnection, text: &'static str) -> Result<(), Fault> {
    plain(conn, text).await
}

fn bind(args: Vec<Arg>) -> Result<PgArguments> {
    let mut out = PgArguments::default();
    out.reserve(args.len(), args.len() * 16);
    for arg in args {
        match arg {
            Arg::Null(Kind::Text | Kind::Json) => out.add(None::<String>),
            Arg::Null(Kind::Int | Kind::Time) => out.add(None::<i64>),
            Arg::Null(Kind::Float) => out.add(None::<f64>),
            Arg::Null(Kind::Bool) => out.add(None::<bool>),
            Arg::Text(s) => out.add(s),
            Arg::Int(n) => out.add(n),
            Arg::Float(f) => out.add(f),
            Arg::Bool(b) => out.add(b),
            Arg::Texts(v) => out.add(v),
            Arg::Ints(v) => out.add(v),
            Arg::Floats(v) => out.add(v),
            Arg::Bools(v) => out.add(v),
        }
        .map_err(Error::internal)?;
    }
    Ok(out)
}

fn decode(row: &PgRow, kinds: &[Kind]) -> Result<Vec<Value>> {
    let mut out = Vec::with_capacity(kinds.len());
    for (i, kind) in kinds.iter().enumerate() {
        let context = |e: Error| e.with_context(format!("column {}", i + 1));
        let cell = row.try_get_raw(i).map_err(|e| context(Error::internal(e)))?;
        out.push(if cell.is_null() { Value::Null } else { value(*kind, &cell).map_err(context)? });
    }
    Ok(out)
}

/// What a cell holds. By its bytes: the driver's own way asks each cell whether its type fits, and there are hundreds of cells to a page.
fn value(kind: Kind, cell: &PgValueRef<'_>) -> Result<Value> {
    let bad =
        |bytes: &[u8]| Error::internal(BadValue { want: kind.name(), got: String::from_utf8_lossy(bytes).chars().take(40).collect() });
    let bytes = cell.as_bytes().map_err(|e| Error::internal(e.to_string()))?;
    if cell.format() != PgValueFormat::Binary {
        return Err(bad(bytes));
    }
    let eight = || <[u8; 8]>::try_from(bytes).map_err(|_| bad(bytes));
    let text = || std::str::from_utf8(bytes).map_err(|_| bad(bytes));
    Ok(match kind {
        Kind::Text => Value::Text(text()?.to_string()),
        Kind::Int => Value::Int(i64::from_be_bytes(eight()?)),
        Kind::Float => Value::Float(f64::from_be_bytes(eight()?)),
        Kind::Time => Value::Time(Timestamp(i64::from_be_bytes(eight()?))),
        Kind::Bool => match bytes {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return Err(bad(bytes)),
        },
        Kind::Json => Value::Json(serde_json::from_str(text()?).map_err(|_| bad(bytes))?),
    })
}
