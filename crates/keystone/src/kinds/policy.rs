//! Policies.

use super::{alive, count_of, counts, enabled_unless_said, ids};
use crate::{access, binding, binding::Wish, state::State};
use api_identity::{Policy, Role};
use base::{Error, Json, Kind as Cell, Resource, Result, Row, Scope, err};
use resource::{ActionFact, BoxFuture, Hooks, Input, Kind, Map, Op, Page, Params, Reply, required};
use std::sync::Arc;
use store::{Cond, Tx, work};

struct PolicyHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<Policy, _>(&Arc::new(PolicyHooks { state: state.clone() }))
        .extras(&[super::DOMAIN])
        .action(BIND, |h, op, row, body| Box::pin(h.bind_role(op, row, body)))
        .done()
}

const BIND: ActionFact = ActionFact {
    name: "bind-role",
    doc: "Bind the policy to a role.",
    inputs: &[
        Input { name: "role_id", kind: Cell::Text, required: true, doc: "The role, by id or name." },
        Input { name: "project_id", kind: Cell::Text, required: false, doc: "The one project it holds in." },
        Input { name: "ips", kind: Cell::Json, required: false, doc: "Networks callers must come from, CIDR." },
    ],
};

impl PolicyHooks {
    async fn bind_role(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let role = op.engine.resolve(op.ctx, Role::facts().name, &required(&body, "role_id")?).await?;
        let kind = op.engine.kind("roles").ok_or_else(|| Error::internal("no roles"))?;
        op.engine.demand(op.ctx, kind, &role, "perform", &["add-policy"]).await?;
        let wishes = [Wish::about(op, &body, row).await?];
        binding::may_bind(&self.state, op, &role, &wishes)?;
        let (role, wishes) = (&role, &wishes);
        self.state.db.tx(|tx| work(async move { binding::bind(tx, op.ctx, role, &wishes[0]).await })).await?;
        Ok(Reply::Object)
    }

    /// The document must compile, its scope be a scope, and grant nothing its writer does not hold.
    fn check(&self, op: &Op<'_>, row: &Row) -> Result<()> {
        let scope = Scope::parse(row.text("scope")).filter(|s| *s != Scope::None);
        let scope = scope
            .ok_or_else(|| err!(InputParameter, "{}: {} is none of {}", "scope", row.text("scope"), "system, domain, project, user"))?;
        let policy = access::compile(row)?;
        access::demand_within(&self.state, op.ctx, scope, &policy)
    }
}

/// Texts become documents: some clients send the blob as a string.
fn unfold(row: &mut Row) -> Result<()> {
    if let base::Value::Json(Json::String(text)) = row.get("blob") {
        let document: Json = serde_json::from_str(text).map_err(|e| err!(InvalidFormat, "the policy is not valid JSON: {}", e))?;
        row.set("blob", document);
    }
    if let base::Value::Json(Json::Object(map)) = row.get("blob")
        && !map.contains_key("policy")
    {
        let wrapped = serde_json::json!({ "policy": map });
        row.set("blob", wrapped);
    }
    Ok(())
}

impl Hooks for PolicyHooks {
    fn created<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, _body: &'a Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { crate::quota::demand(&self.state, tx, row).await })
    }

    fn create<'a>(&'a self, op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            enabled_unless_said(body, row);
            if row.get("blob").omitted() {
                return Err(err!(MissingParameter, "{} is missing", "blob"));
            }
            unfold(row)?;
            self.check(op, row)
        })
    }

    fn update<'a>(&'a self, op: &'a Op<'a>, old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            unfold(row)?;
            let same = |name: &str| old.get(name) == row.get(name);
            let meaning = ["blob", "scope", "project_tags", "domain_tags", "object_tags"].into_iter().all(same);
            if old.flag("builtin") && !(meaning && same("name")) {
                return Err(err!(
                    ProtectedResource,
                    "the policy {} came with the platform and cannot be changed; make one of your own",
                    old.name()
                ));
            }
            if !meaning {
                self.check(op, row)?;
                // Whoever changes it must hold what it was, too: otherwise a deny could be cut into somebody else's powers.
                access::demand_policy(&self.state, op.ctx, old.id())?;
            }
            Ok(())
        })
    }

    fn updated<'a>(&'a self, op: &'a Op<'a>, _tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if old.flag("builtin") && (old.flag("enabled") != row.flag("enabled") || old.text("domain_id") != row.text("domain_id")) {
                return Err(err!(
                    ProtectedResource,
                    "the policy {} came with the platform and cannot be changed; make one of your own",
                    old.name()
                ));
            }
            access::demand_reach(op, old)?;
            if old.flag("enabled") != row.flag("enabled") {
                access::demand_policy(&self.state, op.ctx, old.id())?;
            }
            Ok(())
        })
    }

    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let bound = counts(&self.state.db, "rolepolicies", "policy_id", &ids(rows), alive()).await?;
            let refusal = |row: &Row| {
                if row.flag("builtin") {
                    return Some(err!(ProtectedResource, "the policy {} came with the platform and cannot be deleted", row.name()));
                }
                if let Err(e) = access::demand_reach(op, row) {
                    return Some(e);
                }
                if row.flag("enabled") {
                    return Some(err!(InvalidStatus, "the policy {} is enabled; disable it first", row.name()));
                }
                (count_of(&bound, row.id()) > 0)
                    .then(|| err!(NotEmpty, "the policy {} is bound to {} roles; unbind it first", row.name(), count_of(&bound, row.id())))
            };
            Ok(rows.iter().map(refusal).collect())
        })
    }

    fn filter<'a>(&'a self, _op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if let Some(builtin) = params.flag("is_system") {
                *cond = std::mem::replace(cond, Cond::True).and(Cond::eq("builtin", builtin));
            }
            Ok(())
        })
    }

    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            access::describe(op, page);
            for i in 0..page.rows.len() {
                let (builtin, name) = (page.rows[i].flag("builtin"), page.rows[i].name().to_string());
                page.add(i, "is_system", builtin);
                page.add(i, "type", name);
            }
            Ok(())
        })
    }
}
