//! `/v3/identity_quotas` (spec 01 §14), and `/v3/scope-resource/refresh` (spec 02 §11).

use super::{Desk, Visit, object, on};
use crate::{
    counters,
    quota::{self, RESOURCE},
};
use base::{Json, Result, Scope, err};
use http::{Reply, Response, Router};
use resource::Owner;
use serde_json::json;
use std::sync::Arc;

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    router
        .get("/v3/identity_quotas", on(desk, |desk, visit| async move { mine(&desk, visit).await }))
        .post("/v3/identity_quotas", on(desk, |desk, visit| async move { set(&desk, visit, false).await }))
        .get("/v3/identity_quotas/domains", on(desk, |desk, visit| async move { all(&desk, visit).await }))
        .get("/v3/identity_quotas/domains/{domain}", on(desk, |desk, visit| async move { one(&desk, visit).await }))
        .post("/v3/identity_quotas/domains/{domain}", on(desk, |desk, visit| async move { set(&desk, visit, true).await }))
        .post("/v3/scope-resource/refresh", on(desk, |desk, visit| async move { refresh(&desk, visit).await }))
}

fn demand(desk: &Desk, visit: &Visit, action: &str, scope: Scope) -> Result<()> {
    visit.who.required()?;
    if desk.allows(visit, scope, RESOURCE, action, &[]) {
        return Ok(());
    }
    let ask = resource::Ask { service: api_identity::SERVICE, resource: RESOURCE, action, extra: &[] };
    Err(resource::denied(&visit.ctx, &ask, scope))
}

fn own(visit: &Visit) -> Result<Owner> {
    let owner = Owner::of(&visit.ctx.caller);
    if owner.domain_id.is_empty() {
        return Err(err!(InputParameter, "your token belongs to no domain; log in to a project or name the domain"));
    }
    Ok(Owner { domain_id: owner.domain_id, domain: owner.domain, ..Owner::default() })
}

async fn named(desk: &Desk, visit: &Visit) -> Result<Owner> {
    let row = desk.engine.resolve(&visit.ctx, "domain", visit.request.param("domain")).await?;
    Ok(Owner { domain_id: row.id().to_string(), domain: row.name().to_string(), ..Owner::default() })
}

async fn mine(desk: &Desk, visit: Visit) -> Reply {
    demand(desk, &visit, "get", Scope::Domain)?;
    answer(desk, &[own(&visit)?]).await
}

async fn one(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let owner = named(desk, &visit).await?;
    let scope = if owner.domain_id == visit.ctx.caller.project_domain_id { Scope::Domain } else { Scope::System };
    demand(desk, &visit, "get", scope)?;
    answer(desk, &[owner]).await
}

async fn all(desk: &Desk, visit: Visit) -> Reply {
    demand(desk, &visit, "list", Scope::System)?;
    let ids = quota::domains(&desk.state.db).await?;
    let owners: Vec<Owner> = ids.iter().filter_map(|id| desk.state.directory.find_domain(id)).collect();
    answer(desk, &owners).await
}

/// A domain cannot raise its own limit: whoever sets one acts for the platform.
async fn set(desk: &Desk, mut visit: Visit, of_named: bool) -> Reply {
    demand(desk, &visit, "update", Scope::System)?;
    let owner = if of_named { named(desk, &visit).await? } else { own(&visit)? };
    let mut body = object(&mut visit.request).await?;
    if let Some(Json::Object(inner)) = body.remove(RESOURCE) {
        body = inner;
    }
    quota::apply(&desk.state.db, &owner.domain_id, &body, desk.state.config.default_quota).await?;
    answer(desk, &[owner]).await
}

async fn answer(desk: &Desk, owners: &[Owner]) -> Reply {
    let mut rows = Vec::new();
    for owner in owners {
        let mut row = json!({"domain_id": owner.domain_id, "domain": owner.domain, "project_domain": owner.domain});
        for (counter, (limit, used)) in quota::of(&desk.state.db, &owner.domain_id, desk.state.config.default_quota).await? {
            row[counter] = limit.into();
            row[format!("usage.{counter}")] = used.into();
        }
        rows.push(row);
    }
    Ok(Response::json(&json!({ RESOURCE: rows })))
}

/// Asks the other services anew what belongs to whom.
async fn refresh(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    if !desk.allows(&visit, Scope::System, "scope-resource", "perform", &["refresh"]) {
        let ask = resource::Ask { service: api_identity::SERVICE, resource: "scope-resource", action: "perform", extra: &["refresh"] };
        return Err(resource::denied(&visit.ctx, &ask, Scope::System));
    }
    let silent = counters::refresh(&desk.state).await?;
    Ok(Response::json(&json!({"scope-resource": {"silent": silent}})))
}
