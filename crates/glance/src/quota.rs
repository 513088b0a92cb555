//! How many images a project and a domain may have (spec 21 §15, 01 §14). Counted by two types: discs (`iso`) and all others (`image`).
//!
//! A limit is a row of `image_quotas`; without one the default counts, ten times as many for a domain. Creating checks inside its own
//! transaction, so that two requests cannot both take the last place.

use base::{Kind, Result, Row, err};
use resource::{Map, int, text};
use store::{Cond, Db, Pick, Read, Select, Tx, set, work};

pub const TYPES: [&str; 2] = ["image", "iso"];
pub const RESOURCE: &str = "image_quotas";
const DOMAIN_FACTOR: i64 = 10;
const UNLIMITED: i64 = -1;

/// Whose limit: a project's, or with an empty project the domain's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub domain_id: String,
    pub project_id: String,
    /// One of [`TYPES`].
    pub kind: &'static str,
}

impl Key {
    fn cond(&self) -> Cond {
        let owner = Cond::eq("domain_id", self.domain_id.as_str()).and(Cond::eq("project_id", self.project_id.as_str()));
        owner.and(Cond::eq("type", self.kind))
    }

    /// The images that count.
    fn images(&self) -> Cond {
        let iso = Cond::eq("disk_format", "iso");
        let kind = if self.kind == "iso" { iso } else { iso.not() };
        let owner = if self.project_id.is_empty() {
            Cond::eq("domain_id", self.domain_id.as_str())
        } else {
            Cond::eq("tenant_id", self.project_id.as_str())
        };
        owner.and(kind).and(Cond::eq("deleted", false)).and(Cond::eq("pending_deleted", false)).and(Cond::ne("status", "killed"))
    }

    fn default(&self, of_project: i64) -> i64 {
        if of_project < 0 || !self.project_id.is_empty() { of_project } else { of_project.saturating_mul(DOMAIN_FACTOR) }
    }
}

/// Refuses the image that was just inserted when its owner now has too many.
pub async fn demand(tx: &mut Tx, row: &Row, of_project: i64) -> Result<()> {
    let kind = if row.text("disk_format") == "iso" { "iso" } else { "image" };
    let domain_id = row.text("domain_id").to_string();
    for project_id in [row.text("tenant_id").to_string(), String::new()] {
        let whose = if project_id.is_empty() { "domain" } else { "project" };
        let key = Key { domain_id: domain_id.clone(), project_id, kind };
        let limit = limit(tx, &key, of_project).await?;
        let have = tx.count("images", key.images()).await?;
        if limit != UNLIMITED && have > limit {
            return Err(err!(
                OutOfQuota,
                "the {} may have {} images of type {} and has them; delete some or ask for a larger quota",
                whose,
                limit,
                kind
            ));
        }
    }
    Ok(())
}

/// The limit in force.
pub async fn limit(read: &mut impl Read, key: &Key, of_project: i64) -> Result<i64> {
    let select = Select::from(RESOURCE).column("image", Kind::Int).filter(key.cond());
    Ok(read.rows(&select).await?.first().and_then(|r| r[0].as_int()).unwrap_or_else(|| key.default(of_project)))
}

/// How many there are.
pub async fn usage(mut db: &Db, key: &Key) -> Result<i64> {
    db.count("images", key.images()).await
}

/// Owners that have a limit of their own: of projects, or of domains.
pub async fn owners(mut db: &Db, projects: bool) -> Result<Vec<(String, String)>> {
    let none = Cond::eq("project_id", "");
    let mut select = Select::from(RESOURCE)
        .pick(Pick::Column("domain_id".into(), Kind::Text))
        .pick(Pick::Column("project_id".into(), Kind::Text))
        .filter(if projects { none.not() } else { none });
    select.distinct = true;
    Ok(db.rows(&select).await?.iter().map(|r| (r[0].as_str().to_string(), r[1].as_str().to_string())).collect())
}

/// Carries out a change as clients send it: `{action, type, image}`.
pub async fn apply(db: &Db, domain_id: &str, project_id: &str, body: &Map, of_project: i64) -> Result<()> {
    let action = text(body, &["action"]).unwrap_or_else(|| "update".into());
    let wanted = text(body, &["type"]);
    let types: Vec<&'static str> = match &wanted {
        None => TYPES.to_vec(),
        Some(word) => {
            vec![TYPES.into_iter().find(|t| t == word).ok_or_else(|| err!(InputParameter, "type {} is unknown; use image or iso", word))?]
        }
    };
    let number = int(body, "image")?;
    let (action, types) = (&action, &types);
    db.tx(|tx| {
        work(async move {
            for kind in types.iter().copied() {
                let key = Key { domain_id: domain_id.into(), project_id: project_id.into(), kind };
                let now = limit(tx, &key, of_project).await?;
                match changed(action, now, number, key.default(of_project))? {
                    None => drop(tx.delete(RESOURCE, key.cond()).await?),
                    Some(limit) => {
                        let cols = vec![("domain_id", domain_id), ("project_id", project_id), ("type", kind)];
                        let mut cols: Vec<(store::Name, base::Value)> = cols.into_iter().map(|(c, v)| (c.into(), v.into())).collect();
                        cols.push(("image".into(), limit.into()));
                        if tx.update(RESOURCE, key.cond(), vec![set("image", limit)]).await? == 0 {
                            tx.insert_into(RESOURCE, cols).await?;
                        }
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
    let number = |missing: i64| number.unwrap_or(missing).max(UNLIMITED);
    Ok(match action {
        "update" | "replace" => Some(number(now)),
        // Without bounds there is nothing to add to or to take from.
        "add" | "sub" if now == UNLIMITED => Some(UNLIMITED),
        "add" => Some(now.saturating_add(number(0).max(0))),
        "sub" => Some((now - number(0).max(0)).max(0)),
        "reset" => Some(default),
        "delete" => None,
        other => return Err(err!(InputParameter, "action {} is unknown; use update, replace, add, sub, reset or delete", other)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes() {
        let check =
            |action, now, number, want| assert_eq!(changed(action, now, number, 10).expect(action), want, "{action} {now} {number:?}");
        check("update", 10, Some(3), Some(3));
        check("update", 10, None, Some(10));
        check("replace", 10, Some(-7), Some(-1));
        check("add", 10, Some(5), Some(15));
        check("add", -1, Some(5), Some(-1));
        check("add", i64::MAX, Some(5), Some(i64::MAX));
        check("sub", 10, Some(15), Some(0));
        check("sub", 10, Some(-5), Some(10));
        check("reset", 3, None, Some(10));
        check("delete", 3, None, None);
        assert!(changed("steal", 1, None, 1).is_err());
    }
}
