//! `/v3/auth/tokens` and `/v3/auth/policies` (spec 02 §2, §7.3).

use super::{Desk, Visit, object, on};
use crate::{grants, login, revoke, state::State, trail};
use api_identity::{AUTH_TOKEN, AuthRequest, SUBJECT_TOKEN, TokenAnswer, User};
use auth::Claims;
use base::{Caller, Error, Json, Resource, Result, Scope, err};
use http::{Reply, Response, Router};
use serde_json::json;
use std::{net::IpAddr, sync::Arc};
use store::{Read, work};

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    router
        .post("/v3/auth/tokens", on(desk, |desk, visit| async move { issue(&desk, visit).await }))
        .get("/v3/auth/tokens", on(desk, |desk, visit| async move { verify(&desk, visit).await }))
        .delete("/v3/auth/tokens", on(desk, |desk, visit| async move { revoke(&desk, visit).await }))
        .get("/v3/auth/tokens/invalid", on(desk, |desk, visit| async move { invalid(&desk, visit).await }))
        .get("/v3/auth/policies", on(desk, |desk, visit| async move { own_policies(&desk, visit).await }))
        .post("/v3/auth/policies", on(desk, |desk, visit| async move { policies_for(&desk, visit).await }))
        .get("/v3/auth/catalog", on(desk, |desk, visit| async move { catalog(&desk, visit).await }))
        .get("/v3/auth/projects", on(desk, |desk, visit| async move { projects(&desk, visit).await }))
}

fn answer(token: &str, body: &TokenAnswer) -> Reply {
    let body = serde_json::to_vec(body).map_err(Error::internal)?;
    // The token is a secret: no proxy on the way may keep it.
    Ok(Response::json_bytes(body)
        .with_header(SUBJECT_TOKEN, token)
        .with_header("Cache-Control", "no-store")
        .with_header("Vary", AUTH_TOKEN))
}

async fn issue(desk: &Desk, mut visit: Visit) -> Reply {
    let body = visit.request.json().await?.ok_or_else(|| err!(InputParameter, "the body must be an object with the key {}", "auth"))?;
    // What serde says may quote the body, and the body holds a password: it goes nowhere.
    let request: AuthRequest = serde_json::from_value(body)
        .map_err(|_| err!(InputParameter, "the token request cannot be read; see the documentation of POST /v3/auth/tokens"))?;
    let issued = login::issue(&desk.state, &request.auth, visit.request.peer).await;
    // A flood is one line of the log and not a million records.
    if !matches!(&issued, Err(e) if e.class() == base::Class::TooManyRequests) {
        trail::login(&desk.state, &visit.ctx, &request.auth, visit.request.peer, &issued).await?;
    }
    let issued = issued?;
    answer(&issued.token, &TokenAnswer { id: issued.token.clone(), token: issued.subject })
}

/// The token a request speaks of.
fn subject(visit: &Visit) -> Result<String> {
    let token = visit.request.header(SUBJECT_TOKEN).map(str::trim).filter(|t| !t.is_empty());
    token.map(str::to_string).ok_or_else(|| err!(InputParameter, "the header {} is missing", SUBJECT_TOKEN))
}

fn claims_of(state: &State, token: &str) -> Result<Arc<Claims>> {
    state.verifier.verify(token).map_err(|why| err!(InvalidCredential, "the token in {} is not valid", SUBJECT_TOKEN).with_context(why))
}

async fn verify(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let token = subject(&visit)?;
    // Anybody may ask about the token he came with.
    if visit.request.header(AUTH_TOKEN) != Some(token.as_str()) {
        desk.demand_service(&visit)?;
    }
    let claims = claims_of(&desk.state, &token)?;
    let subject = login::subject(&desk.state, &claims).await?;
    answer(&token, &TokenAnswer { id: String::new(), token: subject })
}

async fn revoke(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let token = subject(&visit)?;
    let claims = claims_of(&desk.state, &token)?;
    let own = claims.caller.user_id == visit.ctx.caller.user_id;
    if !own && !desk.allows(&visit, Scope::System, "tokens", "delete", &[]) {
        return Err(err!(Forbidden, "only the user of a token and the platform's administrators may revoke it"));
    }
    let number = claims.audit_ids.last().cloned().unwrap_or_default();
    let (number, token) = (&number, &token);
    let (ctx, whose) = (&visit.ctx, &*claims.caller);
    desk.state
        .db
        .tx(|tx| {
            work(async move {
                revoke::chain(tx, number, token).await?;
                trail::logout(tx, ctx, whose).await
            })
        })
        .await?;
    desk.state.catch_up().await?;
    Ok(Response::json(&json!({})))
}

async fn invalid(desk: &Desk, visit: Visit) -> Reply {
    desk.demand_service(&visit)?;
    let tokens = revoke::tokens(&desk.state.db, desk.state.clock.now()).await?;
    Ok(Response::json(&json!({ "tokens": tokens })))
}

/// What the caller itself may do; a guest holds what is bound for everybody.
async fn own_policies(desk: &Desk, visit: Visit) -> Reply {
    let trees = desk.state.rules.trees(&visit.ctx.caller, visit.ctx.peer);
    Ok(Response::json(&serde_json::to_value(trees).map_err(Error::internal)?))
}

/// What a user may do in a project, from an address.
async fn policies_for(desk: &Desk, mut visit: Visit) -> Reply {
    visit.who.required()?;
    if !desk.allows(&visit, Scope::System, "tokens", "perform", &["check_policies"]) {
        return Err(err!(Forbidden, "only the services of the platform and its administrators may ask this"));
    }
    let body = object(&mut visit.request).await?;
    let text = |key: &str| resource::text(&body, &[key]).unwrap_or_default();
    let (user, project) = (text("user_id"), text("project_id"));
    let ip: Option<IpAddr> = text("login_ip").parse().ok();
    let caller = if user.is_empty() { Caller::default() } else { as_member(&desk.state, &user, &project).await? };
    let trees = desk.state.rules.trees(&caller, ip);
    Ok(Response::json(&serde_json::to_value(trees).map_err(Error::internal)?))
}

/// The caller a user would be in a project.
async fn as_member(state: &State, user: &str, project: &str) -> Result<Caller> {
    let row = state.db.read().one(User::facts(), user).await?.filter(|u| !u.flag("deleted"));
    let row = row.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "user", user))?;
    crate::explain::as_member(state, &row, project).await
}

/// `GET /v3/auth/catalog` (OpenStack).
async fn catalog(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let catalog = serde_json::to_value(login::catalogue(&desk.state)).map_err(Error::internal)?;
    Ok(Response::json(&json!({"catalog": catalog, "links": {"self": "", "next": Json::Null, "previous": Json::Null}})))
}

/// `GET /v3/auth/projects` (OpenStack): those the caller can enter.
async fn projects(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let params = resource::Params(json!({"scope": "user", "details": "false"}));
    let within = store::Cond::in_select("id", grants::projects_of(&visit.ctx.caller.user_id));
    Ok(Response::json_bytes(desk.engine.list_within(&visit.ctx, "projects", &params, within).await?.body))
}
