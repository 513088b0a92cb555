//! Quotas of projects and of domains: who may set them, what is used, and the check in the transaction that takes something.
//!
//! Usage is not counted along but summed up when it matters: a sum cannot drift. Two requests of one project cannot pass together on what is
//! left, because each check first writes the project's row and so waits for the other's end.

use api_compute::Quota;
use base::{Error, Kind as Cell, Result, Row, Scope, err};
use resource::{BoxFuture, Deleted, Extra, Hooks, Kind, Map, Naming, Op, Page, Removal};
use std::collections::HashMap;
use std::sync::Arc;
use store::{Cond, Pick, Read, Select, Tx, add};

/// Amounts of what is limited, in the order of [`KEYS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub count: i64,
    pub cpu: i64,
    /// MiB
    pub memory: i64,
    /// MiB
    pub storage: i64,
}

const KEYS: [&str; 4] = ["count", "cpu", "memory", "storage"];

impl Amounts {
    /// MiB of disks alone.
    pub fn storage(mb: i64) -> Amounts {
        Amounts { storage: mb, ..Amounts::default() }
    }

    /// A server with its disks to be.
    pub fn server(row: &Row) -> Amounts {
        Amounts { count: 1, cpu: row.int("vcpu_count"), memory: row.int("vmem_size"), storage: row.int("planned_mb") }
    }

    pub fn and(self, other: Amounts) -> Amounts {
        Amounts {
            count: self.count + other.count,
            cpu: self.cpu + other.cpu,
            memory: self.memory + other.memory,
            storage: self.storage + other.storage,
        }
    }

    fn list(self) -> [i64; 4] {
        [self.count, self.cpu, self.memory, self.storage]
    }
}

/// Whose a quota is. A domain's has no project, and its identifier is the domain's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Project,
    Domain,
}

impl Whose {
    /// Always in this order, so that two that wait for each other's rows never wait in a circle.
    const ALL: [Whose; 2] = [Whose::Project, Whose::Domain];

    /// The column of servers and disks that names it.
    fn column(self) -> &'static str {
        match self {
            Whose::Project => "tenant_id",
            Whose::Domain => "domain_id",
        }
    }
}

/// Refuses when the project or the domain of a row has more than it may of something of which `more` was just written in this transaction.
pub(crate) async fn check(tx: &mut Tx, owned: &Row, more: Amounts) -> Result<()> {
    check_with(tx, owned, more, Amounts::default()).await
}

/// [`check`] where a part of `more` is still to be written.
pub(crate) async fn check_with(tx: &mut Tx, owned: &Row, more: Amounts, unwritten: Amounts) -> Result<()> {
    for whose in Whose::ALL {
        check_one(tx, whose, owned, more, unwritten).await?;
    }
    Ok(())
}

/// [`check_with`] of what a row takes with it to another owner: those it had already are not asked.
pub(crate) async fn check_moved(tx: &mut Tx, old: &Row, new: &Row, more: Amounts, unwritten: Amounts) -> Result<()> {
    for whose in Whose::ALL.into_iter().filter(|w| old.text(w.column()) != new.text(w.column())) {
        check_one(tx, whose, new, more, unwritten).await?;
    }
    Ok(())
}

async fn check_one(tx: &mut Tx, whose: Whose, owned: &Row, more: Amounts, unwritten: Amounts) -> Result<()> {
    let id = owned.text(whose.column());
    if tx.update("quotas", Cond::eq("id", id).and(Cond::eq("deleted", false)), vec![add("checks", 1)]).await? == 0 {
        return Ok(());
    }
    let Some(quota) = tx.get::<Quota>(id).await? else { return Ok(()) };
    let used = usage(tx, whose, &[id]).await?.remove(id).unwrap_or_default();
    within(whose, &quota, used.and(unwritten), more)
}

/// Refuses what would be too much as things stand; for requests whose task writes later and checks again.
pub(crate) async fn foresee(op: &Op<'_>, owned: &Row, more: Amounts) -> Result<()> {
    let mut db = &op.engine.db;
    for whose in Whose::ALL {
        let id = owned.text(whose.column());
        let Some(quota) = db.get::<Quota>(id).await?.filter(|q| !q.deleted) else { continue };
        let used = usage(&mut db, whose, &[id]).await?.remove(id).unwrap_or_default();
        within(whose, &quota, used.and(more), more)?;
    }
    Ok(())
}

fn within(whose: Whose, quota: &Quota, used: Amounts, more: Amounts) -> Result<()> {
    let limits = [quota.count, quota.cpu, quota.memory, quota.storage];
    for (i, key) in KEYS.iter().enumerate() {
        let (limit, used, more) = (limits[i], used.list()[i], more.list()[i]);
        if more > 0 && limit >= 0 && used > limit {
            return Err(match whose {
                Whose::Project => err!(
                    OutOfQuota,
                    "quota {} of the project is exceeded: {} of {} are in use, {} more are wanted; delete something or ask for a larger quota",
                    key,
                    used - more,
                    limit,
                    more
                ),
                Whose::Domain => err!(
                    OutOfQuota,
                    "quota {} of the domain is exceeded: {} of {} are in use, {} more are wanted; delete something or ask for a larger quota",
                    key,
                    used - more,
                    limit,
                    more
                ),
            });
        }
    }
    Ok(())
}

/// What projects or domains have, in two queries.
async fn usage<R: Read>(reader: &mut R, whose: Whose, ids: &[&str]) -> Result<HashMap<String, Amounts>> {
    let of = |table: &'static str| {
        let live = Cond::eq("deleted", false).and(Cond::eq("pending_deleted", false));
        Select::from(table).column(whose.column(), Cell::Text).filter(Cond::is_in(whose.column(), ids.iter().copied()).and(live))
    };
    let servers = of("servers")
        .pick(Pick::Count)
        .pick(Pick::Sum("vcpu_count".into()))
        .pick(Pick::Sum("vmem_size".into()))
        .pick(Pick::Sum("planned_mb".into()))
        .group_by(whose.column());
    let mut out: HashMap<String, Amounts> = HashMap::new();
    for row in reader.rows(&servers).await? {
        let n = |i: usize| row[i].as_int().unwrap_or(0);
        out.insert(row[0].as_str().to_string(), Amounts { count: n(1), cpu: n(2), memory: n(3), storage: n(4) });
    }
    for row in reader.rows(&of("disks").pick(Pick::Sum("disk_size".into())).group_by(whose.column())).await? {
        out.entry(row[0].as_str().to_string()).or_default().storage += row[1].as_int().unwrap_or(0);
    }
    Ok(out)
}

struct QuotaHooks;

/// Whoever has a limit does not move it.
fn administrator(op: &Op<'_>, verb: &str) -> Result<()> {
    op.engine.demand_of(op.ctx, "quota", verb, &[], Scope::System)
}

fn limits(row: &Row) -> Result<()> {
    for key in KEYS {
        let n = row.int(key);
        if !(-1..=1 << 40).contains(&n) {
            return Err(err!(InputParameter, "{}: {} is out of range {} to {}", key, n, -1, 1i64 << 40));
        }
    }
    Ok(())
}

impl Hooks for QuotaHooks {
    fn create<'a>(&'a self, op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            administrator(op, "create")?;
            limits(row)?;
            if let Some(which) = resource::text(body, &["for_domain"]) {
                let domain = op.engine.owners.domain(&which).ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "domain", which))?;
                row.set("domain_id", domain.domain_id);
                row.set("tenant_id", "");
            }
            let whose = if row.text("tenant_id").is_empty() { Whose::Domain } else { Whose::Project };
            let id = row.text(whose.column()).to_string();
            let mut db = &op.engine.db;
            if db.exists("quotas", Cond::eq("id", id.as_str()).and(Cond::eq("deleted", false))).await? {
                return Err(err!(Conflict, "project or domain {} has quotas; update them", id));
            }
            row.set("id", id);
            Ok(())
        })
    }
    fn update<'a>(&'a self, op: &'a Op<'a>, _: &'a Row, _: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            administrator(op, "update")?;
            limits(row)
        })
    }
    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move { Ok(rows.iter().map(|_| administrator(op, "delete").err()).collect()) })
    }
    fn delete<'a>(&'a self, op: &'a Op<'a>, _: &'a mut Tx, _: &'a mut Row, _: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async move { administrator(op, "delete").map(|()| Deleted::Now) })
    }
    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut db = &op.engine.db;
            let mut used = HashMap::new();
            for whose in Whose::ALL {
                let of = page.rows.iter().filter(|r| r.text("tenant_id").is_empty() == (whose == Whose::Domain));
                let ids: Vec<String> = of.map(|r| r.id().to_string()).collect();
                if !ids.is_empty() {
                    used.extend(usage(&mut db, whose, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await?);
                }
            }
            for i in 0..page.rows.len() {
                let amounts = used.get(page.rows[i].id()).copied().unwrap_or_default();
                for (key, n) in ["usage.count", "usage.cpu", "usage.memory", "usage.storage"].into_iter().zip(amounts.list()) {
                    page.add(i, key, n);
                }
            }
            Ok(())
        })
    }
}

const EXTRAS: &[Extra] = &[Extra::create("for_domain", Cell::Text, "Domain it bounds as a whole, by id; left out: a project.")];

pub(crate) fn kind() -> Kind {
    Kind::new::<Quota, _>(&Arc::new(QuotaHooks)).naming(Naming::Free).extras(EXTRAS).done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_rises_is_refused() {
        let quota = Quota { count: 2, cpu: -1, memory: 1024, storage: 0, ..Quota::default() };
        let amounts = |count, cpu, memory, storage| Amounts { count, cpu, memory, storage };
        assert!(within(Whose::Project, &quota, amounts(2, 99, 1024, 0), amounts(1, 50, 1024, 0)).is_ok());
        // Over a limit that was lowered since, what does not rise is no offence.
        assert!(within(Whose::Project, &quota, amounts(5, 1, 9999, 7), amounts(0, 1, 0, 0)).is_ok());
        for (used, more, key) in [
            (amounts(3, 1, 0, 0), amounts(1, 1, 0, 0), "count"),
            (amounts(1, 1, 1025, 0), amounts(1, 1, 1, 0), "memory"),
            (amounts(0, 0, 0, 1), Amounts::storage(1), "storage"),
        ] {
            let e = within(Whose::Project, &quota, used, more).expect_err(key);
            assert!(e.to_string().contains(key), "{e}");
        }
    }
}
