//! How many users, groups, projects, roles and policies a domain may have (spec 02 §11, 01 §14). A limit is a row of `identity_quotas`; without one the
//! configuration's counts. Creating checks inside its own transaction, one domain's creations after each other, so that two cannot both take the
//! last place.

use crate::state::State;
use base::{Error, Kind, Result, Row, err};
use resource::{Map, int, text};
use std::collections::BTreeMap;
use store::{Cond, Db, Pick, Read, Select, Tx, set, work};

pub const RESOURCE: &str = "identity_quotas";
/// Each counter with the table it counts.
pub const COUNTERS: [(&str, &str); 5] =
    [("user", "users"), ("group", "groups"), ("project", "projects"), ("role", "roles"), ("policy", "policies")];
const UNLIMITED: i64 = -1;

fn this(domain: &str, counter: &str) -> Cond {
    Cond::eq("domain_id", domain).and(Cond::eq("counter", counter))
}

/// Refuses the row that was just inserted when its domain now has too many of its kind.
pub async fn demand(state: &State, tx: &mut Tx, row: &Row) -> Result<()> {
    let domain = row.text("domain_id");
    let (counter, table) = COUNTERS
        .into_iter()
        .find(|(counter, _)| *counter == row.facts.name)
        .ok_or_else(|| Error::internal(format!("no quota counts {}", row.facts.name)))?;
    // Whoever makes something else in the domain waits here until this is done or undone.
    tx.update("domains", Cond::eq("id", domain), vec![set("id", domain)]).await?;
    let limit = limit(tx, domain, counter, state.config.default_quota).await?;
    let have = tx.count(table, Cond::eq("domain_id", domain).and(Cond::eq("deleted", false))).await?;
    if limit != UNLIMITED && have > limit {
        return Err(err!(OutOfQuota, "the domain may have {} {} and has them; delete some or ask for a larger quota", limit, table));
    }
    Ok(())
}

/// The limit in force.
async fn limit(read: &mut impl Read, domain: &str, counter: &str, default: i64) -> Result<i64> {
    let select = Select::from(RESOURCE).column("value", Kind::Int).filter(this(domain, counter));
    Ok(read.rows(&select).await?.first().and_then(|r| r[0].as_int()).unwrap_or(default))
}

/// Limits and usage of a domain, by counter.
pub async fn of(mut db: &Db, domain: &str, default: i64) -> Result<BTreeMap<&'static str, (i64, i64)>> {
    let mut out = BTreeMap::new();
    for (counter, table) in COUNTERS {
        let used = db.count(table, Cond::eq("domain_id", domain).and(Cond::eq("deleted", false))).await?;
        out.insert(counter, (limit(&mut db, domain, counter, default).await?, used));
    }
    Ok(out)
}

/// Domains with a limit of their own.
pub async fn domains(mut db: &Db) -> Result<Vec<String>> {
    let mut select = Select::from(RESOURCE).pick(Pick::Column("domain_id".into(), Kind::Text));
    select.distinct = true;
    Ok(db.rows(&select).await?.iter().map(|r| r[0].as_str().to_string()).collect())
}

/// Carries out a change as clients send it: `{action, user, group, …}`.
pub async fn apply(db: &Db, domain: &str, body: &Map, default: i64) -> Result<()> {
    let action = text(body, &["action"]).unwrap_or_else(|| "update".into());
    let mut wanted = Vec::new();
    for (counter, _) in COUNTERS {
        wanted.push((counter, int(body, counter)?));
    }
    let (action, wanted) = (&action, &wanted);
    db.tx(|tx| {
        work(async move {
            for (counter, number) in wanted {
                let now = limit(tx, domain, counter, default).await?;
                match changed(action, now, *number, default)? {
                    None => drop(tx.delete(RESOURCE, this(domain, counter)).await?),
                    Some(value) if value == now => {}
                    Some(value) => {
                        let columns = vec![
                            ("domain_id".into(), domain.into()),
                            ("counter".into(), (*counter).into()),
                            ("value".into(), value.into()),
                        ];
                        tx.upsert(RESOURCE, &["domain_id", "counter"], columns).await?;
                    }
                }
            }
            Ok(())
        })
    })
    .await
}

/// The limit after an action; `None` when the default is to count again.
fn changed(action: &str, now: i64, number: Option<i64>, default: i64) -> Result<Option<i64>> {
    let given = number.unwrap_or(0).max(0);
    Ok(match action {
        "update" => Some(number.unwrap_or(now).max(UNLIMITED)),
        "replace" => Some(number.unwrap_or(default).max(UNLIMITED)),
        // Without bounds there is nothing to add to or to take from.
        "add" | "sub" if now == UNLIMITED => Some(UNLIMITED),
        "add" => Some(now.saturating_add(given)),
        "sub" => Some((now - given).max(0)),
        "reset" => None,
        // What counts for the whole domain has nothing above it to fall back to.
        "delete" => return Err(err!(Forbidden, "the quota of a domain cannot be deleted; reset it")),
        other => return Err(err!(InputParameter, "action {} is unknown; use update, replace, add, sub or reset", other)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes() {
        let check = |action, now, number, want| assert_eq!(changed(action, now, number, 500).unwrap(), want, "{action} {now} {number:?}");
        check("update", 10, Some(3), Some(3));
        check("update", 10, None, Some(10));
        check("update", 10, Some(-9), Some(-1));
        check("replace", 10, None, Some(500));
        check("add", 10, Some(5), Some(15));
        check("add", i64::MAX, Some(5), Some(i64::MAX));
        check("add", -1, Some(5), Some(-1));
        check("sub", 10, Some(15), Some(0));
        check("reset", 10, None, None);
        assert_eq!(changed("delete", 1, None, 1).unwrap_err().class().http(), 403);
        assert_eq!(changed("steal", 1, None, 1).unwrap_err().class().http(), 400);
    }
}
