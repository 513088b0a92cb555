//! How much an installation may have, whoever asks and whichever way: looked up before a creation, counted in its transaction. What is in force and
//! why is decided above; here rows are counted. What is there already is never touched.
//!
//! ```text
//! room by the kept count? ──yes──▶ kept count + more (one statement)
//!          └──no, or it is old──▶ lock its row ─▶ count the table ─▶ keep that, or refuse
//! ```
//!
//! The kept count is never lower than what there is: creations raise it, and what goes away is noticed when it is counted anew, which happens before
//! anything is refused. What is given up and may yet be wanted back must not have gone away by then: the column that is added up keeps the larger
//! number until it is certain (a server's `vcpu_held`), for taking something back is never refused. The kept count's row is locked until the creating transaction ends, so that of many who come at once each sees those before it. Without a
//! bound nothing of this happens.

use crate::BoxFuture;
use base::{Result, err};
use std::sync::Arc;
use store::{Cond, Op, Read, Tx, add, set};

/// How long a kept count is believed, seconds: another process may still go by what was in force before, or a row may come without a creation.
const KEEP: i64 = 60;
const TABLE: &str = "allowances";

/// Knows what is in force.
pub trait Allowance: Send + Sync + std::fmt::Debug {
    /// Bounds that new rows must keep; an error when nothing new may be made at all.
    fn in_force(&self) -> BoxFuture<'_, Result<Vec<Bound>>>;
}

/// A bound on the living rows of a table, those in the recycle bin included: they can come back.
#[derive(Clone, Debug)]
pub struct Bound {
    /// What is counted, for messages; the key of the kept count.
    pub what: &'static str,
    pub table: &'static str,
    /// A column that is added up, in which nothing shrinks that may grow again by itself; rows are counted without.
    pub sum: Option<&'static str>,
    pub most: i64,
    /// Changes whenever something else comes in force: nobody counted what was made meanwhile.
    pub mark: Arc<str>,
}

/// Refuses when a table has grown beyond its bounds; called when the new rows are in it, as late in the transaction as may be. `more` tells by how
/// much each bound's count grew.
pub async fn within(tx: &mut Tx, table: &str, bounds: &[Bound], more: impl Fn(&Bound) -> i64) -> Result<()> {
    for bound in bounds.iter().filter(|b| b.table == table) {
        let more = more(bound);
        if more > 0 {
            grow(tx, bound, more).await?;
        }
    }
    Ok(())
}

async fn grow(tx: &mut Tx, bound: &Bound, more: i64) -> Result<()> {
    let now = tx.now();
    let room = Cond::eq("id", bound.what)
        .and(Cond::eq("mark", &*bound.mark))
        .and(Cond::cmp("counted_at", Op::Gt, now.plus_secs(-KEEP).micros()))
        .and(Cond::cmp("counted_at", Op::Le, now.micros()))
        .and(Cond::cmp("held", Op::Le, bound.most.saturating_sub(more)));
    if tx.update(TABLE, room, vec![add("held", more)]).await? == 1 {
        return Ok(());
    }
    // Locks the row: whoever is before us in it has committed when we count.
    let columns = vec![
        ("id".into(), bound.what.into()),
        ("mark".into(), (&*bound.mark).into()),
        ("held".into(), bound.most.into()),
        ("counted_at".into(), now.micros().into()),
    ];
    tx.upsert(TABLE, &["id"], columns).await?;
    let living = Cond::eq("deleted", false);
    let have = match bound.sum {
        Some(column) => tx.sum(bound.table, column, living).await?,
        None => tx.count(bound.table, living).await?,
    };
    if have > bound.most {
        return Err(err!(
            RequireLicense,
            "the licence is for {} {}; with what was asked for there would be {}",
            bound.most,
            bound.what,
            have
        ));
    }
    tx.update(TABLE, Cond::eq("id", bound.what), vec![set("held", have)]).await?;
    Ok(())
}
