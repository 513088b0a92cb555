//! What a resource may add to the engine's own behaviour. Every method has a default; most resources override two or three.

use crate::{BoxFuture, Map, Page, Params, engine::Op};
use base::{Caller, Error, Result, Row, Scope, err};
use store::{Cond, Select, Tx};

/// How a row is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Into the recycle bin.
    Recycle,
    /// For good.
    Final,
    /// For good, and without touching what it stands for (the backend is gone).
    Purge,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The engine marks the row, deleted or recycled.
    Now,
    /// A task was started that will; the row stays, in a transitional state.
    Later,
}

fn nothing<'a>() -> BoxFuture<'a, Result<()>> {
    Box::pin(async { Ok(()) })
}

pub trait Hooks: Send + Sync + 'static {
    /// Rewrites a create or update body before the facts read it: units, old names.
    fn read(&self, _body: &mut Map) -> Result<()> {
        Ok(())
    }

    /// Whether what is deleted lies in the recycle bin first (spec 01 §6.2: servers, disks and images).
    fn recycles(&self) -> bool {
        false
    }

    /// The rows a caller may see at a scope below the system's, where that is another set than the columns say. Pure; becomes part of the SQL.
    fn visible(&self, _caller: &Caller, _scope: Scope) -> Option<Cond> {
        None
    }

    /// The narrowest scope that covers a row, seen from the caller, where it is another than the columns say.
    fn reach(&self, _caller: &Caller, _row: &Row) -> Option<Scope> {
        None
    }

    /// The columns that hold the project and the domain a row belongs to.
    fn owner_columns(&self, facts: &base::Facts) -> (Option<&'static str>, Option<&'static str>) {
        (facts.has("tenant_id").then_some("tenant_id"), facts.has("domain_id").then_some("domain_id"))
    }

    /// Completes and checks a new row before the transaction. `body` is what the client sent; what is taken from it beyond the facts is the
    /// hook's business. Nothing may be written here.
    fn create<'a>(&'a self, _op: &'a Op<'a>, _body: &'a mut Map, _row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        nothing()
    }

    /// In the transaction, after the row was inserted; may change the row once more.
    fn created<'a>(&'a self, _op: &'a Op<'a>, _tx: &'a mut Tx, _body: &'a Map, _row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        nothing()
    }

    /// Checks and completes a changed row before the transaction.
    fn update<'a>(&'a self, _op: &'a Op<'a>, _old: &'a Row, _body: &'a mut Map, _row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        nothing()
    }

    /// In the transaction, after the row was saved.
    fn updated<'a>(&'a self, _op: &'a Op<'a>, _tx: &'a mut Tx, _old: &'a Row, _row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        nothing()
    }

    /// Why each row of a page cannot be deleted; `None` where it can. Also asked before every deletion.
    fn deletable<'a>(&'a self, _op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move { Ok(rows.iter().map(locked).collect()) })
    }

    /// In the transaction, before the engine marks the row; frees what the row holds, or starts a task that does.
    fn delete<'a>(&'a self, _op: &'a Op<'a>, _tx: &'a mut Tx, _row: &'a mut Row, _how: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async { Ok(Deleted::Now) })
    }

    /// In the transaction, when a row comes back from the recycle bin.
    fn restored<'a>(&'a self, _op: &'a Op<'a>, _tx: &'a mut Tx, _row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        nothing()
    }

    /// Narrows a list by parameters the facts do not know.
    fn filter<'a>(&'a self, _op: &'a Op<'a>, _params: &'a Params, _cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        nothing()
    }

    /// The identifiers of all rows of a list in an order that no column tells; `None` when the parameters ask for no such one.
    fn ordered<'a>(&'a self, _op: &'a Op<'a>, _cond: &'a Cond) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        Box::pin(async { Ok(None) })
    }

    /// What [`Hooks::view`] wants to know of rows with these identifiers: asked together with what the engine wants to know, and of a single row with the
    /// row itself, so that a database far away is asked once. The rows of each select come back in [`Page::answers`]. Not called for a page without details.
    fn asks(&self, _ids: &[&str]) -> Vec<Select> {
        Vec::new()
    }

    /// Adds what is computed or joined, to a whole page at once: a constant number of queries, however many rows.
    fn view<'a>(&'a self, _op: &'a Op<'a>, _page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        nothing()
    }
}

/// The lock every guarded resource has.
pub(crate) fn locked(row: &Row) -> Option<Error> {
    row.flag("disable_delete")
        .then(|| err!(ProtectedResource, "{} {} is locked against deletion; clear disable_delete first", row.facts.name, row.name()))
}

/// Nothing to add.
pub struct NoHooks;
impl Hooks for NoHooks {}
