//! Reading. Handlers and engines read through this trait, so that a function works inside a transaction and outside.

use crate::db::Db;
use crate::query::{Cond, Name, Order, Pick, Select};
use crate::sql::{self, Dialect, Sql, Wish};
use crate::tx::Tx;
use base::{Facts, Kind, Resource, Result, Row, Value};
use std::future::Future;

/// Rows of a select, each cell in the order picked.
type Rows = Vec<Vec<Value>>;

/// Something that can be asked: [`Db`] and `&Db` (a pooled connection per question; two questions may see two states) or [`Tx`] (sees its own
/// writes).
///
/// `db.read().get::<Server>(id).await?`, or `fn f(read: &mut impl Read)` called as `f(tx)` and `f(&mut db.read())`.
pub trait Read: Send {
    #[doc(hidden)]
    fn dialect(&self) -> Dialect;

    #[doc(hidden)]
    fn fetch(&mut self, sql: Sql) -> impl Future<Output = Result<Rows>> + Send;

    /// Whether rows read by their identifier are locked until the transaction ends.
    #[doc(hidden)]
    fn locks(&self) -> bool {
        false
    }

    /// Runs a select as it stands.
    fn rows(&mut self, q: &Select) -> impl Future<Output = Result<Rows>> + Send {
        let sql = sql::select(self.dialect(), q, Wish::default());
        async move { self.fetch(sql?).await }
    }

    /// Runs several selects and answers the rows of each. On PostgreSQL they are one statement, and so one look at the database.
    fn together(&mut self, all: &[Select]) -> impl Future<Output = Result<Vec<Rows>>> + Send {
        let asked = match (self.dialect(), all) {
            (Dialect::Postgres, [_, _, ..]) => sql::together(Dialect::Postgres, all).map(Asked::AsOne),
            (dialect, _) => all.iter().map(|q| sql::select(dialect, q, Wish::default())).collect::<Result<_>>().map(Asked::InTurn),
        };
        async move {
            match asked? {
                Asked::AsOne((sql, places)) => Ok(apart(self.fetch(sql).await?, &places)),
                Asked::InTurn(all) => {
                    let mut out = Vec::with_capacity(all.len());
                    for sql in all {
                        out.push(self.fetch(sql).await?);
                    }
                    Ok(out)
                }
            }
        }
    }

    /// All rows of a resource that meet a condition, in no order.
    fn find(&mut self, facts: &'static Facts, cond: Cond) -> impl Future<Output = Result<Vec<Row>>> + Send {
        let sql = match cond.never() {
            true => Ok(None),
            false => sql::select(self.dialect(), &Select::whole(facts).filter(cond), Wish { facts: Some(facts), lock: false }).map(Some),
        };
        async move {
            match sql? {
                Some(sql) => Ok(of(facts, self.fetch(sql).await?)),
                None => Ok(Vec::new()),
            }
        }
    }

    /// One page of the rows of a resource that meet a condition.
    fn page(
        &mut self,
        facts: &'static Facts,
        cond: Cond,
        order: Vec<Order>,
        limit: u64,
        offset: u64,
    ) -> impl Future<Output = Result<Vec<Row>>> + Send {
        let mut q = Select::whole(facts).filter(cond).page(limit, offset);
        q.order = order;
        let sql = sql::select(self.dialect(), &q, Wish { facts: Some(facts), lock: false });
        async move { Ok(of(facts, self.fetch(sql?).await?)) }
    }

    /// The row with an identifier, whether or not it is marked deleted.
    fn one(&mut self, facts: &'static Facts, id: &str) -> impl Future<Output = Result<Option<Row>>> + Send {
        let wish = Wish { facts: Some(facts), lock: self.locks() };
        let sql = sql::select(self.dialect(), &Select::whole(facts).filter(Cond::eq("id", id)), wish);
        async move { Ok(of(facts, self.fetch(sql?).await?).pop()) }
    }

    /// [`Read::one`] as its type.
    fn get<R: Resource>(&mut self, id: &str) -> impl Future<Output = Result<Option<R>>> + Send {
        let row = self.one(R::facts(), id);
        async move { Ok(row.await?.map(typed)) }
    }

    /// [`Read::find`] as its type.
    fn list<R: Resource>(&mut self, cond: Cond) -> impl Future<Output = Result<Vec<R>>> + Send {
        let rows = self.find(R::facts(), cond);
        async move { Ok(rows.await?.into_iter().map(typed).collect()) }
    }

    /// How many rows meet a condition.
    fn count(&mut self, table: impl Into<Name>, cond: Cond) -> impl Future<Output = Result<i64>> + Send {
        let sql = sql::select(self.dialect(), &Select::from(table).pick(Pick::Count).filter(cond), Wish::default());
        async move { Ok(first(self.fetch(sql?).await?).as_int().unwrap_or(0)) }
    }

    /// The sum of an integer column, 0 over no rows.
    fn sum(&mut self, table: impl Into<Name>, column: impl Into<Name>, cond: Cond) -> impl Future<Output = Result<i64>> + Send {
        let sql = sql::select(self.dialect(), &Select::from(table).pick(Pick::Sum(column.into())).filter(cond), Wish::default());
        async move { Ok(first(self.fetch(sql?).await?).as_int().unwrap_or(0)) }
    }

    /// Whether any row meets a condition.
    fn exists(&mut self, table: impl Into<Name>, cond: Cond) -> impl Future<Output = Result<bool>> + Send {
        let sql = sql::select(self.dialect(), &Select::from(table).filter(cond).page(1, 0), Wish::default());
        async move { Ok(!self.fetch(sql?).await?.is_empty()) }
    }

    /// The first cell of the first row; NULL when there is no row.
    fn scalar(&mut self, q: &Select) -> impl Future<Output = Result<Value>> + Send {
        let rows = self.rows(q);
        async move { Ok(first(rows.await?)) }
    }

    /// The text of a column of the first row that meets a condition.
    fn scalar_text(
        &mut self,
        table: impl Into<Name>,
        column: impl Into<Name>,
        cond: Cond,
    ) -> impl Future<Output = Result<Option<String>>> + Send {
        let q = Select::from(table).column(column, Kind::Text).filter(cond).page(1, 0);
        let sql = sql::select(self.dialect(), &q, Wish::default());
        async move {
            Ok(match first(self.fetch(sql?).await?) {
                Value::Text(text) => Some(text),
                _ => None,
            })
        }
    }

    /// A text column of all rows that meet a condition, for example their identifiers.
    fn texts(&mut self, table: impl Into<Name>, column: impl Into<Name>, cond: Cond) -> impl Future<Output = Result<Vec<String>>> + Send {
        let sql = sql::select(self.dialect(), &Select::from(table).column(column, Kind::Text).filter(cond), Wish::default());
        async move {
            let rows = self.fetch(sql?).await?;
            Ok(rows.into_iter().filter_map(|mut row| if let Some(Value::Text(text)) = row.pop() { Some(text) } else { None }).collect())
        }
    }
}

/// Several selects, written down.
enum Asked {
    AsOne((Sql, Vec<Vec<usize>>)),
    InTurn(Vec<Sql>),
}

/// The rows of each select of [`sql::together`].
fn apart(rows: Rows, places: &[Vec<usize>]) -> Vec<Rows> {
    let mut out: Vec<Rows> = places.iter().map(|_| Rows::new()).collect();
    for mut row in rows {
        let of = row.first().and_then(Value::as_int).and_then(|n| usize::try_from(n).ok());
        if let Some((places, rows)) = of.and_then(|n| Some((places.get(n)?, out.get_mut(n)?))) {
            rows.push(places.iter().map(|at| std::mem::take(&mut row[*at])).collect());
        }
    }
    out
}

/// [`Resource::from_row`] without copying the cells.
fn typed<R: Resource>(row: Row) -> R {
    let mut out = R::default();
    for (i, value) in row.values.into_iter().enumerate() {
        // Read by this very table's kinds, so it fits.
        out.set(i, value).unwrap_or_else(|e| unreachable!("column {}: {e}", R::facts().fields[i].name));
    }
    out
}

fn of(facts: &'static Facts, rows: Rows) -> Vec<Row> {
    rows.into_iter().map(|values| Row { facts, values }).collect()
}

fn first(rows: Rows) -> Value {
    rows.into_iter().next().and_then(|row| row.into_iter().next()).unwrap_or(Value::Null)
}

impl Read for &Db {
    fn dialect(&self) -> Dialect {
        Db::dialect(self)
    }
    fn fetch(&mut self, sql: Sql) -> impl Future<Output = Result<Rows>> + Send {
        self.core.fetch(sql)
    }
}

impl Read for Db {
    fn dialect(&self) -> Dialect {
        Db::dialect(self)
    }
    fn fetch(&mut self, sql: Sql) -> impl Future<Output = Result<Rows>> + Send {
        self.core.fetch(sql)
    }
}

impl Read for Tx {
    fn dialect(&self) -> Dialect {
        Tx::dialect(self)
    }
    fn fetch(&mut self, sql: Sql) -> impl Future<Output = Result<Rows>> + Send {
        self.ask(sql)
    }
    fn locks(&self) -> bool {
        self.contended()
    }
}
