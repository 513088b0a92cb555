//! `/v3/access/…`: the access explainer.

use super::{Desk, Visit, on, role_assignments};
use crate::explain::{self, Object, Permission};
use api_identity::{AccessHolders, AccessQuestion};
use base::{Caller, Error, Resource, Result, Scope, err};
use http::{Reply, Response, Router};
use std::{net::IpAddr, sync::Arc};

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    router
        .post("/v3/access/can", on(desk, |desk, visit| async move { can(&desk, visit).await }))
        .post("/v3/access/who-can", on(desk, |desk, visit| async move { who_can(&desk, visit).await }))
}

async fn question(visit: &mut Visit) -> Result<(AccessQuestion, Permission)> {
    let body =
        visit.request.json().await?.ok_or_else(|| err!(InputParameter, "the body must be an object with the key {}", "permission"))?;
    let question: AccessQuestion = serde_json::from_value(body).map_err(|e| err!(InputParameter, "the question cannot be read: {}", e))?;
    let permission = Permission::parse(&question.permission)?;
    Ok((question, permission))
}

/// What the question is about, as far as the asker may see it.
async fn object(desk: &Desk, visit: &Visit, question: &AccessQuestion) -> Result<Object> {
    let ctx = &visit.ctx;
    if !question.on.is_empty() {
        let plural = question.permission.trim_matches('/').split('/').nth(1).unwrap_or_default();
        let ours = question.permission.trim_matches('/').starts_with("identity/");
        let kind = desk.engine.kind(plural).filter(|_| ours);
        let kind = kind.ok_or_else(|| {
            err!(
                InputParameter,
                "{} are not kept by the identity service; say whose the object is with owner_project or owner_domain",
                plural
            )
        })?;
        return Ok(Object::Row(Box::new(desk.engine.resolve(ctx, kind.facts.name, &question.on).await?)));
    }
    let tags = question.tags.clone();
    if !question.owner_project.is_empty() {
        let row = desk.engine.resolve(ctx, "project", &question.owner_project).await?;
        return Ok(Object::Owned { project_id: row.id().to_string(), domain_id: row.text("domain_id").to_string(), tags });
    }
    if !question.owner_domain.is_empty() {
        let row = desk.engine.resolve(ctx, "domain", &question.owner_domain).await?;
        return Ok(Object::Owned { project_id: String::new(), domain_id: row.id().to_string(), tags });
    }
    Ok(Object::Any)
}

/// Refuses unless the caller may look at who holds what beyond his own project.
fn demand_overview(desk: &Desk, visit: &Visit) -> Result<()> {
    desk.demand(visit, Scope::Domain, "role_assignments", "list", &[])
}

async fn can(desk: &Desk, mut visit: Visit) -> Reply {
    visit.who.required()?;
    let (question, permission) = question(&mut visit).await?;
    let ctx = &visit.ctx;
    let engine = &desk.engine;
    let mut ip = ctx.peer;
    let own = question.user.is_empty() || question.user == ctx.caller.user_id;
    let caller: Arc<Caller> = if own && question.project.is_empty() {
        ctx.caller.clone()
    } else {
        let user = if own { ctx.caller.user_id.as_str() } else { question.user.as_str() };
        let user = engine.resolve(ctx, "user", user).await?;
        let own = user.id() == ctx.caller.user_id;
        if !own {
            demand_overview(desk, &visit)?;
            ip = None;
        }
        let project = if question.project.is_empty() {
            String::new()
        } else if own {
            own_project(desk, &visit, &question.project).await?
        } else {
            engine.resolve(ctx, "project", &question.project).await?.id().to_string()
        };
        Arc::new(explain::as_member(&desk.state, &user, &project).await?)
    };
    if !question.ip.is_empty() {
        let told: IpAddr = question.ip.parse().map_err(|_| err!(InputParameter, "ip: {} is not an address", question.ip))?;
        ip = Some(told);
    }
    let object = object(desk, &visit, &question).await?;
    let answer = explain::can(&desk.state, engine, &caller, ip, &permission, &object, ctx.lang).await?;
    Ok(Response::json(&serde_json::json!({ "access": serde_json::to_value(answer).map_err(Error::internal)? })))
}

/// A project the caller can enter, whatever project the token is for.
async fn own_project(desk: &Desk, visit: &Visit, which: &str) -> Result<String> {
    use store::{Cond, Read};
    let mine = Cond::in_select("id", crate::grants::projects_of(&visit.ctx.caller.user_id)).and(Cond::eq("deleted", false));
    let named = Cond::eq("id", which).or(Cond::eq("name", which));
    let found = desk.state.db.read().find(api_identity::Project::facts(), mine.and(named)).await?;
    match found.as_slice() {
        [one] => Ok(one.id().to_string()),
        [] => Ok(desk.engine.resolve(&visit.ctx, "project", which).await?.id().to_string()),
        _ => Err(err!(DuplicateResource, "several {} are named {}; give the id", "projects", which)),
    }
}

async fn who_can(desk: &Desk, mut visit: Visit) -> Reply {
    visit.who.required()?;
    let (question, permission) = question(&mut visit).await?;
    demand_overview(desk, &visit)?;
    let object = object(desk, &visit, &question).await?;
    let visible = role_assignments::visible(desk, &visit)?;
    let (holders, more) = explain::who_can(&desk.state, &desk.engine, &permission, &object, visible, visit.ctx.lang).await?;
    let everybody = explain::everybody(&desk.state, &permission, visit.ctx.lang);
    let answer = AccessHolders { permission: question.permission, holders, more, everybody };
    Ok(Response::json(&serde_json::json!({ "access": serde_json::to_value(answer).map_err(Error::internal)? })))
}
