//! One statement on one connection: binding, running, reading cells. Synchronous; [`super`] decides on which thread.

use crate::fault::{self, Fault};
use crate::sql::{Arg, Sql};
use base::{BadValue, Error, Kind, Result, Timestamp, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement, ToSql};

/// What a write did.
pub(crate) struct Outcome {
    pub affected: u64,
    /// The number of the last row put in, on SQLite.
    pub last: i64,
}

/// Runs a query and reads all its rows.
pub(super) fn query(conn: &Connection, sql: &Sql) -> Result<Vec<Vec<Value>>, Fault> {
    with(conn, sql, |statement| {
        let failed = |e| fault::sqlite(&e, &sql.text);
        let mut out = Vec::new();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(failed)? {
            let mut cells = Vec::with_capacity(sql.kinds.len());
            for (i, kind) in sql.kinds.iter().enumerate() {
                let raw = row.get_ref(i).map_err(failed)?;
                cells.push(
                    cell(raw, *kind).map_err(|e| Error::internal(e).with_context(format!("column {}", i + 1)).with_context(&sql.text))?,
                );
            }
            out.push(cells);
        }
        Ok(out)
    })
}

/// Runs a statement that answers no rows.
pub(super) fn execute(conn: &Connection, sql: &Sql) -> Result<Outcome, Fault> {
    let affected = with(conn, sql, |statement| statement.raw_execute().map_err(|e| fault::sqlite(&e, &sql.text)))?;
    Ok(Outcome { affected: affected as u64, last: conn.last_insert_rowid() })
}

/// Several statements at once, without values.
pub(super) fn script(conn: &Connection, text: &str) -> Result<(), Fault> {
    conn.execute_batch(text).map_err(|e| fault::sqlite(&e, text))
}

fn with<T>(conn: &Connection, sql: &Sql, f: impl FnOnce(&mut Statement<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
    let failed = |e| fault::sqlite(&e, &sql.text);
    let bound = |statement: &mut Statement<'_>| {
        for (i, arg) in sql.args.iter().enumerate() {
            statement.raw_bind_parameter(i + 1, arg).map_err(failed)?;
        }
        Ok::<(), Fault>(())
    };
    if sql.cached {
        let mut statement = conn.prepare_cached(&sql.text).map_err(failed)?;
        bound(&mut statement)?;
        f(&mut statement)
    } else {
        let mut statement = conn.prepare(&sql.text).map_err(failed)?;
        bound(&mut statement)?;
        f(&mut statement)
    }
}

impl ToSql for Arg {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Arg::Null(_) => ValueRef::Null,
            Arg::Text(s) => ValueRef::Text(s.as_bytes()),
            Arg::Int(n) => ValueRef::Integer(*n),
            Arg::Float(f) => ValueRef::Real(*f),
            Arg::Bool(b) => ValueRef::Integer(i64::from(*b)),
            Arg::Texts(_) | Arg::Ints(_) | Arg::Floats(_) | Arg::Bools(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("SQLite has no arrays".into()));
            }
        }))
    }
}

/// Reads a cell as its column's kind and as nothing else: SQLite would turn any type into any other.
fn cell(raw: ValueRef<'_>, kind: Kind) -> std::result::Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    Ok(match (kind, raw) {
        (_, ValueRef::Null) => Value::Null,
        (Kind::Text, ValueRef::Text(text)) => Value::Text(std::str::from_utf8(text)?.to_string()),
        (Kind::Json, ValueRef::Text(text)) => Value::Json(serde_json::from_slice(text)?),
        (Kind::Int, ValueRef::Integer(n)) => Value::Int(n),
        (Kind::Time, ValueRef::Integer(n)) => Value::Time(Timestamp(n)),
        (Kind::Bool, ValueRef::Integer(n)) => Value::Bool(n != 0),
        (Kind::Float, ValueRef::Real(f)) => Value::Float(f),
        (Kind::Float, ValueRef::Integer(n)) => Value::Float(n as f64),
        (_, other) => return Err(BadValue { want: kind.name(), got: other.data_type().to_string().to_uppercase() }.into()),
    })
}
