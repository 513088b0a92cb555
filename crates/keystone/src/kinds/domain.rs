//! Domains.

use super::{alive, count_of, counts, enabled_unless_said, ids};
use crate::{counters, revoke, state::State};
use api_identity::{Domain, domain::DEFAULT};
use base::{Caller, Error, Json, Result, Row, Scope, err};
use resource::{BoxFuture, Deleted, Hooks, Kind, Map, Naming, Op, Page, Removal};
use std::sync::Arc;
use store::{Cond, Tx};

struct DomainHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<Domain, _>(&Arc::new(DomainHooks { state: state.clone() })).naming(Naming::Global).done()
}

/// What lives in a domain: the table, what a refusal calls it, and the key of its count.
const INHABITANTS: [(&str, &str, &str); 5] = [
    ("users", "users", "user_count"),
    ("groups", "groups", "group_count"),
    ("projects", "projects", "project_count"),
    ("roles", "roles", "role_count"),
    ("policies", "policies", "policy_count"),
];

impl Hooks for DomainHooks {
    fn visible(&self, caller: &Caller, _scope: Scope) -> Option<Cond> {
        let own = [&caller.project_domain_id, &caller.user_domain_id].into_iter().filter(|id| !id.is_empty());
        Some(Cond::is_in("id", own))
    }

    fn owner_columns(&self, _facts: &base::Facts) -> (Option<&'static str>, Option<&'static str>) {
        (None, Some("id"))
    }

    fn create<'a>(&'a self, _op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            enabled_unless_said(body, row);
            Ok(())
        })
    }

    fn updated<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let off = old.flag("enabled") && !row.flag("enabled");
            if row.id() == DEFAULT && (off || row.name() != old.name()) {
                return Err(err!(ProtectedResource, "the domain {} came with the platform and cannot be renamed or disabled", old.name()));
            }
            if off {
                revoke::domain(tx, row.id()).await?;
            }
            Ok(())
        })
    }

    fn deletable<'a>(&'a self, _op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let ids = ids(rows);
            let mut inside = Vec::new();
            for (table, what, _) in INHABITANTS {
                inside.push((what, counts(&self.state.db, table, "domain_id", &ids, alive()).await?));
            }
            let refusal = |row: &Row| {
                if row.id() == DEFAULT {
                    return Some(err!(ProtectedResource, "the domain {} came with the platform and cannot be deleted", row.name()));
                }
                if row.flag("enabled") {
                    return Some(err!(InvalidStatus, "the domain {} is enabled; disable it first", row.name()));
                }
                let mut holds = self.state.counters.of_domain(row.id());
                holds.extend(inside.iter().map(|(what, n)| ((*what).to_string(), count_of(n, row.id()))));
                let what = counters::list(&holds);
                (!what.is_empty()).then(|| err!(NotEmpty, "the domain {} still has {}; delete them first", row.name(), what))
            };
            Ok(rows.iter().map(refusal).collect())
        })
    }

    fn delete<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row, _how: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async move {
            revoke::domain(tx, row.id()).await?;
            tx.delete("assignments", Cond::eq("target_id", row.id())).await?;
            Ok(Deleted::Now)
        })
    }

    fn view<'a>(&'a self, _op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for i in 0..page.rows.len() {
                page.add(i, "pending_deleted", false);
                page.add(i, "is_sso", false);
                if page.details && page.rows[i].id() == DEFAULT {
                    page.add(i, "can_update", false);
                }
            }
            if page.details {
                let ids = ids(&page.rows);
                for (table, _, key) in INHABITANTS {
                    let n = counts(&self.state.db, table, "domain_id", &ids, alive()).await?;
                    for i in 0..page.rows.len() {
                        page.add(i, key, Json::from(count_of(&n, page.rows[i].id())));
                    }
                }
                let n = counts(&self.state.db, "identity_providers", "target_domain_id", &ids, alive()).await?;
                for i in 0..page.rows.len() {
                    page.add(i, "idp_count", Json::from(count_of(&n, page.rows[i].id())));
                    let holds = self.state.counters.of_domain(page.rows[i].id());
                    super::ext_resources(&self.state, page, i, holds);
                }
            }
            Ok(())
        })
    }
}
