//! One transaction: what may be done inside [`Db::tx`](crate::Db::tx). It is the only way to write.
//!
//! Invariants: a failed statement spoils the transaction on both databases (PostgreSQL works that way; a body that swallowed the error would otherwise
//! commit half of its work on SQLite). A dropped transaction is rolled back and its connection serves the next one.

use crate::db::{CONTENDED, Core, Engine};
use crate::fault::Fault;
use crate::feed::{self, Change};
use crate::lease::Lease;
use crate::query::{Cond, Name, Put, Sets};
use crate::sql::{self, Clash, Dialect, Sql, Wish};
use crate::totals::Wrote;
use crate::{pg, sqlite};
use base::{Class, Error, Kind, Result, Row, Timestamp, Value, err};
use std::sync::Arc;

pub(crate) enum Conn {
    Sqlite(sqlite::Held),
    Postgres(pg::Held),
}

/// A transaction, lent to the body given to [`Db::tx`](crate::Db::tx).
pub struct Tx {
    core: Arc<Core>,
    /// Gone once the transaction has ended.
    conn: Option<Conn>,
    now: Timestamp,
    attempt: usize,
    changes: Vec<Change>,
    /// Tables and columns written so far.
    wrote: Vec<Wrote>,
    spoilt: bool,
    /// Whether the whole transaction is worth another attempt.
    pub(crate) again: bool,
    /// The compare-and-swap that lost: table, identifier, version it expected.
    pub(crate) lost: Option<(&'static str, String, i64)>,
}

impl Tx {
    pub(crate) async fn begin(core: Arc<Core>, attempt: usize) -> Result<Tx, Fault> {
        let conn = match &core.engine {
            Engine::Sqlite(engine) => Conn::Sqlite(engine.hold().await),
            Engine::Postgres(engine) => Conn::Postgres(engine.begin().await?),
        };
        let now = core.clock.now();
        let mut tx =
            Tx { core, conn: Some(conn), now, attempt, changes: Vec::new(), wrote: Vec::new(), spoilt: false, again: false, lost: None };
        // Only now, so that a future dropped while SQLite begins is cleaned up after like any other.
        if let Some(Conn::Sqlite(held)) = &mut tx.conn {
            held.begin().await?;
        }
        Ok(tx)
    }

    /// When the transaction began, by the clock of the database handle. All rows it writes bear the same time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.core.dialect()
    }

    pub(crate) fn contended(&self) -> bool {
        self.attempt >= CONTENDED
    }

    fn open(&mut self) -> Result<&mut Conn> {
        if self.spoilt {
            return Err(Error::internal("a statement of this transaction failed before, and the body went on"));
        }
        self.core.counted();
        self.conn.as_mut().ok_or_else(|| Error::internal("the transaction has ended"))
    }

    fn note<T>(&mut self, done: Result<T, Fault>) -> Result<T> {
        done.map_err(|fault| {
            self.spoilt = true;
            self.again |= fault.again || fault.lost;
            if let (true, Engine::Postgres(engine)) = (fault.lost, &self.core.engine) {
                engine.cut();
            }
            fault.error
        })
    }

    pub(crate) async fn ask(&mut self, sql: Sql) -> Result<Vec<Vec<Value>>> {
        let done = match self.open()? {
            Conn::Sqlite(held) => held.query(sql).await,
            Conn::Postgres(held) => match held.conn() {
                Ok(conn) => pg::query(conn, sql).await,
                Err(fault) => Err(fault),
            },
        };
        self.note(done)
    }

    pub(crate) async fn run(&mut self, sql: Sql) -> Result<sqlite::Outcome> {
        let done = match self.open()? {
            Conn::Sqlite(held) => held.execute(sql).await,
            Conn::Postgres(held) => match held.conn() {
                Ok(conn) => pg::execute(conn, sql).await,
                Err(fault) => Err(fault),
            },
        };
        self.note(done)
    }

    pub(crate) async fn script(&mut self, text: &'static str) -> Result<()> {
        let done = match self.open()? {
            Conn::Sqlite(held) => held.script(text),
            Conn::Postgres(held) => match held.conn() {
                Ok(conn) => pg::script(conn, text).await,
                Err(fault) => Err(fault),
            },
        };
        self.note(done)
    }

    /// Notes that rows of a table came or went, or that a column was changed.
    fn wrote(&mut self, table: &str, column: Option<&Name>) {
        if !self.wrote.iter().any(|(t, c)| t == table && c.as_ref() == column) {
            self.wrote.push((table.to_string(), column.cloned()));
        }
    }

    /// Puts a new row in. A unique key that is taken is `DuplicateId`, `DuplicateName` (the key has a column `name`) or `DuplicateResource`.
    pub async fn insert(&mut self, row: &Row) -> Result<()> {
        let sql = sql::insert_row(self.dialect(), row, Clash::Refuse)?;
        self.wrote(row.facts.table, None);
        self.run(sql).await.map(drop).map_err(|e| name_the_clash(e, row))
    }

    /// Puts a new row in unless one of its unique keys is taken; says whether it did. The transaction goes on either way.
    pub async fn try_insert(&mut self, row: &Row) -> Result<bool> {
        let sql = sql::insert_row(self.dialect(), row, Clash::Keep)?;
        self.wrote(row.facts.table, None);
        Ok(self.run(sql).await?.affected > 0)
    }

    /// Puts a new row of some columns in; the others take the defaults of the table.
    pub async fn insert_into(&mut self, table: impl AsRef<str>, cols: Vec<(Name, Value)>) -> Result<()> {
        let sql = sql::insert(self.dialect(), table.as_ref(), &cols, Clash::Refuse)?;
        self.wrote(table.as_ref(), None);
        self.run(sql).await.map(drop)
    }

    /// Puts a row in, or overwrites these columns of the row that has the same key. `key` must be the columns of a unique index.
    pub async fn upsert(&mut self, table: impl AsRef<str>, key: &[&str], cols: Vec<(Name, Value)>) -> Result<()> {
        let sql = sql::insert(self.dialect(), table.as_ref(), &cols, Clash::Overwrite(key))?;
        self.wrote(table.as_ref(), None);
        self.run(sql).await.map(drop)
    }

    /// Changes all rows that meet the condition; answers how many. With a limit in the condition this is how counters are kept: no row means no room.
    pub async fn update(&mut self, table: impl AsRef<str>, cond: Cond, sets: Sets) -> Result<u64> {
        let sql = sql::update(self.dialect(), table.as_ref(), &cond, &sets)?;
        let affected = self.run(sql).await?.affected;
        if affected > 0 {
            for (column, _) in &sets {
                self.wrote(table.as_ref(), Some(column));
            }
        }
        Ok(affected)
    }

    /// Takes all rows that meet the condition out; answers how many.
    pub async fn delete(&mut self, table: impl AsRef<str>, cond: Cond) -> Result<u64> {
        let sql = sql::delete(self.dialect(), table.as_ref(), &cond)?;
        let affected = self.run(sql).await?.affected;
        if affected > 0 {
            self.wrote(table.as_ref(), None);
        }
        Ok(affected)
    }

    /// Writes the columns in which `new` differs from `old`, if the row is still as `old` saw it: by `update_version`, or in a table without one by the
    /// old values of those columns. `update_version` and `updated_at` rise, in `new` as well. Nothing differs, nothing is written.
    ///
    /// When somebody was faster the error is `ResourceBusy`, and [`Db::tx`](crate::Db::tx) runs the body again; so read `old` inside the body.
    pub async fn save(&mut self, old: &Row, new: &mut Row) -> Result<()> {
        let facts = old.facts;
        if !std::ptr::eq(facts, new.facts) || old.id() != new.id() || old.id().is_empty() {
            return Err(Error::internal(format!("{} {}: saved over another row", facts.name, old.id())));
        }
        let changed: Vec<usize> = (0..facts.fields.len()).filter(|&i| old.values[i] != new.values[i]).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let mut cond = Cond::eq("id", old.id());
        let mut stamped = Vec::new();
        let version = facts.position("update_version");
        if let Some(v) = version {
            let seen = old.values[v].as_int().unwrap_or(0);
            cond = cond.and(Cond::eq("update_version", seen));
            stamped.push((v, Value::Int(seen + 1)));
        } else {
            for &i in &changed {
                let name = facts.fields[i].name;
                cond = cond.and(if old.values[i].is_null() { Cond::IsNull(name.into()) } else { Cond::eq(name, old.values[i].clone()) });
            }
        }
        if let Some(t) = facts.position("updated_at") {
            stamped.push((t, Value::Time(self.now)));
        }
        let kept = changed.iter().filter(|i| !stamped.iter().any(|(s, _)| s == *i)).map(|&i| (i, new.values[i].clone()));
        let sets: Vec<(usize, Value)> = kept.chain(stamped.iter().cloned()).collect();
        let sets = sets.into_iter().map(|(i, value)| (Name::Borrowed(facts.fields[i].name), Put::To(value))).collect();
        let hit = self.update(facts.table, cond, sets).await.map_err(|e| name_the_clash(e, new))?;
        if hit == 0 {
            self.again = true;
            self.lost = Some((facts.table, old.id().to_string(), version.map_or(0, |v| old.values[v].as_int().unwrap_or(0))));
            return Err(err!(
                ResourceBusy,
                "{} {} was changed or removed by another request; look at it again and retry",
                facts.name,
                label(old)
            ));
        }
        for (i, value) in stamped {
            new.values[i] = value;
        }
        Ok(())
    }

    /// Locks the rows that meet the condition until the transaction ends; answers how many there are. For a decision that rests on a row it does not
    /// write: without this, another transaction may change that row before this one commits.
    pub async fn lock(&mut self, table: impl Into<Name>, cond: Cond) -> Result<u64> {
        let q = crate::Select::from(table).column("id", Kind::Text).filter(cond).order(crate::Order::asc("id"));
        let sql = sql::select(self.dialect(), &q, Wish { facts: None, lock: true })?;
        Ok(self.ask(sql).await?.len() as u64)
    }

    /// Tells the followers of the change feed. The change is written with the transaction's last breath: it is there if and only if the rest is.
    pub async fn emit(&mut self, event: Change) -> Result<()> {
        self.changes.push(event);
        Ok(())
    }

    /// Fails the transaction when the lease has a new holder, and keeps a new one from taking it until the transaction ends: the write of a worker that
    /// was thought dead affects no row.
    pub async fn fence(&mut self, lease: &Lease) -> Result<()> {
        let q = crate::Select::from("leases").column("epoch", Kind::Int).filter(Cond::eq("name", lease.name.as_str()));
        let sql = sql::select(self.dialect(), &q, Wish { facts: None, lock: true })?;
        let rows = self.ask(sql).await?;
        let epoch = rows.first().and_then(|row| row.first()).and_then(Value::as_int);
        if epoch != Some(lease.epoch) {
            self.spoilt = true;
            return Err(lease.taken());
        }
        Ok(())
    }

    /// Writes the changes and commits. On SQLite answers the ticket of the flush still to wait for.
    pub(crate) async fn commit(&mut self) -> Result<Option<u64>, Fault> {
        if self.spoilt {
            return Err(Error::internal("a statement of this transaction failed, and the body returned success").into());
        }
        let changes = std::mem::take(&mut self.changes);
        let last = match feed::write(self, &changes).await {
            Ok(last) => last,
            Err(error) => return Err(Fault { again: self.again, ..error.into() }),
        };
        let core = self.core.clone();
        // Noted when this ends, even when the future is dropped while the database commits.
        let _noted = Noted { core: core.clone(), wrote: std::mem::take(&mut self.wrote) };
        match (&core.engine, self.conn.as_mut()) {
            (Engine::Sqlite(engine), Some(Conn::Sqlite(held))) => {
                held.commit()?;
                let ticket = engine.durable.as_ref().map(|d| d.committed(last));
                self.conn = None;
                core.heard(last);
                Ok(ticket)
            }
            (Engine::Postgres(_), Some(Conn::Postgres(_))) => {
                // Told even when this future is dropped while the server commits.
                let _told = (!changes.is_empty()).then(|| Told(core.clone()));
                if let Some(Conn::Postgres(held)) = self.conn.take() {
                    held.commit().await?;
                }
                Ok(None)
            }
            _ => Err(Error::internal("the transaction has ended").into()),
        }
    }

    pub(crate) async fn rollback(&mut self) {
        match self.conn.take() {
            Some(Conn::Sqlite(mut held)) => held.clean(),
            Some(Conn::Postgres(held)) => {
                if let Err(e) = held.rollback().await {
                    tracing::debug!(error = ?e.error, "rollback failed; the server ends the transaction with its connection");
                }
            }
            None => {}
        }
    }
}

/// Notes what was written when dropped.
struct Noted {
    core: Arc<Core>,
    wrote: Vec<Wrote>,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.core.totals.wrote(&self.wrote);
    }
}

/// Wakes the numbering of the feed when dropped.
struct Told(Arc<Core>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.pending.notify_one();
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        // PostgreSQL's driver rolls back by itself. SQLite's writer is put right at once, so that nothing stays locked for other processes.
        if let Some(Conn::Sqlite(mut held)) = self.conn.take() {
            held.clean();
        }
    }
}

fn label(row: &Row) -> &str {
    if row.name().is_empty() { row.id() } else { row.name() }
}

/// Says in the user's words which object was in the way.
fn name_the_clash(e: Error, row: &Row) -> Error {
    let named = match e.class() {
        Class::DuplicateName => err!(DuplicateName, "a {} named {} exists already; choose another name", row.facts.name, row.name()),
        Class::DuplicateId => err!(DuplicateId, "a {} with the identifier {} exists already", row.facts.name, row.id()),
        Class::DuplicateResource => err!(DuplicateResource, "such a {} exists already", row.facts.name),
        _ => return e,
    };
    match e.context() {
        Some(context) => named.with_context(context),
        None => named,
    }
}
