//! How much an installation may have, whoever asks and whichever way: looked up before a creation, counted in its transaction. What is in force and
//! why is decided above; here tables are counted. What is there already is never touched.

use crate::BoxFuture;
use base::{Result, err};
use store::{Cond, Read, Tx};

/// Knows what is in force.
pub trait Allowance: Send + Sync + std::fmt::Debug {
    /// Bounds that new rows must keep; an error when nothing new may be made at all.
    fn in_force(&self) -> BoxFuture<'_, Result<Vec<Bound>>>;
}

/// A bound on the living rows of a table, those in the recycle bin included: they can come back.
#[derive(Clone, Debug)]
pub struct Bound {
    /// What is counted, for messages.
    pub what: &'static str,
    pub table: &'static str,
    /// A column that is added up; rows are counted without.
    pub sum: Option<&'static str>,
    pub most: i64,
}

/// Refuses when a table has grown beyond its bounds; called when the new rows are in it.
pub async fn within(tx: &mut Tx, table: &str, bounds: &[Bound]) -> Result<()> {
    for bound in bounds.iter().filter(|b| b.table == table) {
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
    }
    Ok(())
}
