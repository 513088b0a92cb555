//! Roles, and the policies bound to them.

use super::{alive, count_of, counts, distinct, ids};
use crate::{access, binding, binding::Wish, state::State};
use api_identity::{Role, RolePolicy, role::ADMIN};
use base::{Error, Json, Kind as Cell, Resource, Result, Row, err};
use resource::{ActionFact, BoxFuture, Hooks, Input, Kind, Map, Op, Page, Reply};
use std::{collections::BTreeMap, sync::Arc};
use store::{Cond, Read, Tx, work};

struct RoleHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<Role, _>(&Arc::new(RoleHooks { state: state.clone() }))
        .extras(&[super::DOMAIN])
        .action(SET, |h, op, row, body| Box::pin(h.set_policies(op, row, body)))
        .action(ADD, |h, op, row, body| Box::pin(h.add_policy(op, row, body)))
        .action(REMOVE, |h, op, row, body| Box::pin(h.remove_policy(op, row, body)))
        .done()
}

const SET: ActionFact = ActionFact {
    name: "set-policies",
    doc: "Bind policies to the role.",
    inputs: &[
        Input { name: "action", kind: Cell::Text, required: false, doc: "replace (all others go) or update." },
        Input {
            name: "policies",
            kind: Cell::Json,
            required: true,
            doc: "Each with policy_id, and optionally project_id, ips, valid_since, valid_until.",
        },
    ],
};
const ADD: ActionFact = ActionFact {
    name: "add-policy",
    doc: "Bind a policy to the role.",
    inputs: &[
        Input { name: "policy_id", kind: Cell::Text, required: true, doc: "The policy, by id or name." },
        Input { name: "project_id", kind: Cell::Text, required: false, doc: "The one project it holds in." },
        Input { name: "ips", kind: Cell::Json, required: false, doc: "Networks callers must come from, CIDR." },
    ],
};
const REMOVE: ActionFact = ActionFact {
    name: "remove-policy",
    doc: "Unbind a policy from the role.",
    inputs: &[
        Input { name: "policy_id", kind: Cell::Text, required: true, doc: "The policy, by id or name." },
        Input { name: "project_id", kind: Cell::Text, required: false, doc: "The project of the tie; only that one goes." },
    ],
};

impl RoleHooks {
    async fn set_policies(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let replace = match resource::text(&body, &["action"]).as_deref() {
            None | Some("replace") => true,
            Some("update") => false,
            Some(other) => return Err(err!(InputParameter, "{}: {} is none of {}", "action", other, "replace, update")),
        };
        let items = body.get("policies").and_then(Json::as_array).cloned().unwrap_or_default();
        let mut wishes = Vec::new();
        for item in &items {
            let item =
                item.as_object().ok_or_else(|| err!(InputParameter, "{}: expected {}, got {}", "policies", "a list of objects", item))?;
            wishes.push(Wish::read(op, item).await?);
        }
        let old = self.state.db.read().find(RolePolicy::facts(), Cond::eq("role_id", row.id()).and(alive())).await?;
        let keep: Vec<String> = wishes.iter().map(|w| w.id(row.id())).collect();
        let gone: Vec<Row> = if replace { old.into_iter().filter(|r| !keep.iter().any(|k| k == r.id())).collect() } else { Vec::new() };
        binding::may_bind(&self.state, op, &row, &wishes)?;
        binding::may_unbind(op, &row, &gone)?;
        let (row, wishes, gone) = (&row, &wishes, &gone);
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    for tie in gone {
                        binding::unbind(tx, op.ctx, row, tie).await?;
                    }
                    for wish in wishes {
                        binding::bind(tx, op.ctx, row, wish).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(Reply::Object)
    }

    async fn add_policy(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let wishes = [Wish::read(op, &body).await?];
        binding::may_bind(&self.state, op, &row, &wishes)?;
        let (row, wishes) = (&row, &wishes);
        self.state.db.tx(|tx| work(async move { binding::bind(tx, op.ctx, row, &wishes[0]).await })).await?;
        Ok(Reply::Object)
    }

    async fn remove_policy(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let wish = Wish::read(op, &body).await?;
        let tie = self.state.db.read().find(RolePolicy::facts(), Cond::eq("id", wish.id(row.id())).and(alive())).await?;
        binding::may_unbind(op, &row, &tie)?;
        let (row, tie) = (&row, &tie);
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    for tie in tie {
                        binding::unbind(tx, op.ctx, row, tie).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(Reply::Object)
    }
}

impl Hooks for RoleHooks {
    fn created<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, _body: &'a Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { crate::quota::demand(&self.state, tx, row).await })
    }

    fn updated<'a>(&'a self, op: &'a Op<'a>, _tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            access::demand_reach(op, old)?;
            if old.name() != row.name() {
                return Err(err!(InputParameter, "the name of a role cannot be changed; policies and people know it"));
            }
            if is_admin(old) && old.text("domain_id") != row.text("domain_id") {
                return Err(err!(ProtectedResource, "the role {} came with the platform and cannot be moved", old.name()));
            }
            Ok(())
        })
    }

    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let ids = ids(rows);
            let held = counts(&self.state.db, "assignments", "role_id", &ids, Cond::True).await?;
            let bound = counts(&self.state.db, "rolepolicies", "role_id", &ids, alive()).await?;
            let refusal = |row: &Row| {
                if is_admin(row) {
                    return Some(err!(ProtectedResource, "the role {} came with the platform and cannot be deleted", row.name()));
                }
                if let Err(e) = access::demand_reach(op, row) {
                    return Some(e);
                }
                if count_of(&held, row.id()) > 0 {
                    return Some(err!(NotEmpty, "the role {} is held {} times; take it away first", row.name(), count_of(&held, row.id())));
                }
                (count_of(&bound, row.id()) > 0)
                    .then(|| err!(NotEmpty, "the role {} has {} policies bound; unbind them first", row.name(), count_of(&bound, row.id())))
            };
            Ok(rows.iter().map(refusal).collect())
        })
    }

    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            access::describe(op, page);
            if !page.details {
                return Ok(());
            }
            let ids = ids(&page.rows);
            let typed = |kind: &'static str| Cond::eq("type", kind);
            let users = distinct(&self.state.db, "assignments", "role_id", "actor_id", &ids, typed(api_identity::USER_PROJECT)).await?;
            let groups = distinct(&self.state.db, "assignments", "role_id", "actor_id", &ids, typed(api_identity::GROUP_PROJECT)).await?;
            let projects = distinct(
                &self.state.db,
                "assignments",
                "role_id",
                "target_id",
                &ids,
                Cond::is_in("type", [api_identity::USER_PROJECT, api_identity::GROUP_PROJECT]),
            )
            .await?;
            let ties = self.state.db.read().list::<RolePolicy>(Cond::is_in("role_id", ids.iter().map(String::as_str)).and(alive())).await?;
            for i in 0..page.rows.len() {
                let id = page.rows[i].id().to_string();
                let mut by_scope: BTreeMap<String, Vec<String>> = BTreeMap::new();
                for tie in ties.iter().filter(|t| t.role_id == id) {
                    if let Some((scope, name)) = self.state.rules.policy(&tie.policy_id) {
                        by_scope.entry(scope.name().to_string()).or_default().push(name);
                    }
                }
                let names: Vec<String> = by_scope.values().flatten().cloned().collect();
                page.add(i, "user_count", Json::from(count_of(&users, &id)));
                page.add(i, "group_count", Json::from(count_of(&groups, &id)));
                page.add(i, "project_count", Json::from(count_of(&projects, &id)));
                page.add(i, "policies", serde_json::to_value(by_scope).map_err(Error::internal)?);
                page.add(i, "match_policies", names);
            }
            Ok(())
        })
    }
}

pub(super) fn is_admin(row: &Row) -> bool {
    row.name() == ADMIN && row.text("domain_id") == api_identity::domain::DEFAULT
}
