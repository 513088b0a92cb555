//! Roles by path: `/v3/projects/{p}/users/{u}/roles/{r}` and its kin, `/v3/groups/{g}/users/{u}` (spec 02 §1).

use super::{Desk, Visit, on};
use crate::{access, grants};
use api_identity::{Assignment, Membership};
use base::{Resource, Result, Row, err};
use http::{Method, Reply, Response, Router};
use resource::Params;
use serde_json::json;
use std::sync::Arc;
use store::{Cond, Read, work};

pub(super) fn routes(mut router: Router, desk: &Arc<Desk>) -> Router {
    let methods = [Method::PUT, Method::DELETE, Method::GET, Method::HEAD];
    for (targets, target) in [("projects", "project"), ("domains", "domain")] {
        for (actors, actor) in [("users", "user"), ("groups", "group")] {
            let path = format!("/v3/{targets}/{{target}}/{actors}/{{actor}}/roles");
            router = router
                .any(
                    &methods,
                    &format!("{path}/{{role}}"),
                    on(desk, move |desk, visit| async move { one(&desk, visit, target, actor).await }),
                )
                .get(&path, on(desk, move |desk, visit| async move { held(&desk, visit, target, actor).await }));
        }
    }
    router.any(&methods, "/v3/groups/{group}/users/{user}", on(desk, |desk, visit| async move { member(&desk, visit).await }))
}

async fn resolve(desk: &Desk, visit: &Visit, kind: &str, param: &str) -> Result<Row> {
    desk.engine.resolve(&visit.ctx, kind, visit.request.param(param)).await
}

/// Asks the policies about an action on a row.
async fn demand(desk: &Desk, visit: &Visit, row: &Row, action: &str, extra: &[&str]) -> Result<()> {
    let kind = desk.engine.kind_named(row.facts.name).ok_or_else(|| base::Error::internal("no such kind"))?;
    desk.engine.demand(&visit.ctx, kind, row, action, extra).await.map(drop)
}

/// One role of one user or group in one project or domain: given, taken, looked for.
async fn one(desk: &Desk, visit: Visit, target: &'static str, actor: &'static str) -> Reply {
    let target = resolve(desk, &visit, target, "target").await?;
    let actor = resolve(desk, &visit, actor, "actor").await?;
    let role = resolve(desk, &visit, "role", "role").await?;
    let (state, ctx) = (&desk.state, &visit.ctx);
    let (t, a, r) = (&target, &actor, &role);
    match visit.request.method {
        Method::PUT => {
            demand(desk, &visit, t, "perform", &["join"]).await?;
            access::demand_role(state, ctx, r, t)?;
            let limits = state.config.limits();
            state.db.tx(|tx| work(async move { grants::give(tx, ctx, limits, a, t, r).await })).await?;
        }
        Method::DELETE => {
            demand(desk, &visit, t, "perform", &["leave"]).await?;
            access::may_take(state, ctx, a, t, r)?;
            if !state.db.tx(|tx| work(async move { grants::take(tx, ctx, a, t, r).await })).await? {
                return Err(err!(ResourceNotFound, "{} does not have the role {} in {}", a.name(), r.name(), t.name()));
            }
        }
        _ => {
            let id = Assignment::id_of(a.id(), t.id(), r.id());
            if state.db.read().one(Assignment::facts(), &id).await?.is_none() {
                return Err(err!(ResourceNotFound, "{} does not have the role {} in {}", a.name(), r.name(), t.name()));
            }
        }
    }
    // OpenStack's clients look for exactly this status.
    if visit.request.method == Method::HEAD {
        return Ok(Response::new(http::StatusCode::NO_CONTENT));
    }
    state.catch_up().await?;
    Ok(Response::json(&json!({"role": {"id": r.id(), "name": r.name(), "domain_id": r.text("domain_id")}})))
}

/// The roles of one user or group in one project or domain.
async fn held(desk: &Desk, visit: Visit, target: &'static str, actor: &'static str) -> Reply {
    let target = resolve(desk, &visit, target, "target").await?;
    let actor = resolve(desk, &visit, actor, "actor").await?;
    let held = Cond::eq("target_id", target.id()).and(Cond::eq("actor_id", actor.id()));
    let ids = desk.state.db.read().texts("assignments", "role_id", held).await?;
    // Who may see both may see this; roles of another domain than the caller's are among them.
    let roles = desk
        .state
        .db
        .read()
        .find(api_identity::Role::facts(), Cond::is_in("id", ids.iter().map(String::as_str)).and(Cond::eq("deleted", false)))
        .await?;
    let rows: Vec<_> = roles
        .iter()
        .map(|r| json!({"id": r.id(), "name": r.name(), "domain_id": r.text("domain_id"), "description": r.text("description")}))
        .collect();
    let total = rows.len();
    Ok(Response::json(&if total == 0 { json!({"roles": []}) } else { json!({"roles": rows, "total": total}) }))
}

/// One user in one group.
async fn member(desk: &Desk, visit: Visit) -> Reply {
    let group = resolve(desk, &visit, "group", "group").await?;
    let user = resolve(desk, &visit, "user", "user").await?;
    let (state, ctx) = (&desk.state, &visit.ctx);
    let (g, u) = (&group, &user);
    let outside = || err!(ResourceNotFound, "{} is not in the group {}", u.name(), g.name());
    match visit.request.method {
        Method::PUT => {
            demand(desk, &visit, g, "perform", &["add-users"]).await?;
            access::may_enter(state, ctx, g).await?;
            let limits = state.config.limits();
            state.db.tx(|tx| work(async move { grants::enter(tx, ctx, limits, g, u).await })).await?;
        }
        Method::DELETE => {
            demand(desk, &visit, g, "perform", &["remove-users"]).await?;
            access::may_enter(state, ctx, g).await?;
            if !state.db.tx(|tx| work(async move { grants::leave(tx, ctx, g, u).await })).await? {
                return Err(outside());
            }
        }
        _ => {
            if state.db.read().one(Membership::facts(), &Membership::id_of(g.id(), u.id())).await?.is_none() {
                return Err(outside());
            }
        }
    }
    if visit.request.method == Method::HEAD {
        return Ok(Response::new(http::StatusCode::NO_CONTENT));
    }
    state.catch_up().await?;
    let params = Params(json!({"id": u.id(), "system": "true"}));
    let path = ["users".to_string(), u.id().to_string()];
    Ok(Response::json_bytes(desk.engine.handle(ctx, resource::Method::Get, &path, &params, None).await?.body))
}
