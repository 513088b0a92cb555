//! Leases: the right to act alone on something for a while, and the number that tells a holder from one that was thought dead.
//!
//! A lease guards nothing by itself: a holder may sleep past its end. Writes under a lease go through [`crate::Tx::fence`], which fails once the epoch
//! has moved. Times are those of the handle's clock; let the term be much longer than the clocks of the replicas differ.

use crate::db::Db;
use crate::query::{Cond, Op, set};
use crate::sql::{Arg, Writer};
use crate::work::work;
use base::{Error, Kind, Result, Timestamp, err};
use std::time::Duration;

/// A lease held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub holder: String,
    /// Rises with every acquisition and never falls.
    pub epoch: i64,
    pub expires_at: Timestamp,
}

impl Lease {
    pub(crate) fn taken(&self) -> Error {
        err!(Conflict, "the lease {} has been taken over by another worker", self.name)
            .with_context(format!("{} held epoch {}", self.holder, self.epoch))
    }
}

/// The leases of a database.
#[derive(Clone)]
pub struct Leases {
    db: Db,
}

impl Leases {
    pub fn new(db: &Db) -> Leases {
        Leases { db: db.clone() }
    }

    /// Takes the lease if nobody holds it, its term is over, or `holder` holds it already (its answer may have been lost); each time under a new epoch.
    /// `holder` must be unique to this run of the process.
    pub async fn acquire(&self, name: &str, holder: &str, term: Duration) -> Result<Option<Lease>> {
        self.db
            .tx(|tx| {
                work(async move {
                    let now = tx.now();
                    let expires_at = after(now, term);
                    let mut w = Writer::new(tx.dialect());
                    w.raw("INSERT INTO leases (name, holder, epoch, expires_at) VALUES (");
                    w.value(&name.into())?.raw(", ").value(&holder.into())?.raw(", 1, ").arg(Arg::Int(expires_at.micros()));
                    w.raw(") ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = leases.epoch + 1, expires_at = excluded.expires_at");
                    w.raw(" WHERE leases.expires_at <= ").arg(Arg::Int(now.micros()));
                    w.raw(" OR leases.holder = excluded.holder RETURNING epoch");
                    let rows = tx.ask(w.done(vec![Kind::Int])).await?;
                    let epoch = rows.first().and_then(|row| row[0].as_int());
                    Ok(epoch.map(|epoch| Lease { name: name.into(), holder: holder.into(), epoch, expires_at }))
                })
            })
            .await
    }

    /// Lengthens the term, from now. `Conflict` when somebody else took the lease; a lease that ran out untaken is still ours.
    pub async fn renew(&self, lease: &Lease, term: Duration) -> Result<Lease> {
        self.db
            .tx(|tx| {
                work(async move {
                    let expires_at = after(tx.now(), term);
                    let ours = Cond::eq("name", lease.name.as_str()).and(Cond::eq("epoch", lease.epoch));
                    let hit =
                        tx.update("leases", ours.and(Cond::cmp("expires_at", Op::Gt, 0)), vec![set("expires_at", expires_at)]).await?;
                    if hit == 0 { Err(lease.taken()) } else { Ok(Lease { expires_at, ..lease.clone() }) }
                })
            })
            .await
    }

    /// Gives the lease back; nothing happens when it is lost already.
    pub async fn release(&self, lease: Lease) -> Result<()> {
        let lease = &lease;
        self.db
            .tx(|tx| {
                work(async move {
                    let ours = Cond::eq("name", lease.name.as_str()).and(Cond::eq("epoch", lease.epoch));
                    tx.update("leases", ours, vec![set("expires_at", Timestamp::ZERO)]).await.map(drop)
                })
            })
            .await
    }
}

fn after(now: Timestamp, term: Duration) -> Timestamp {
    Timestamp(now.micros().saturating_add(i64::try_from(term.as_micros()).unwrap_or(i64::MAX)))
}
