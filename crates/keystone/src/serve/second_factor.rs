//! The second factor of a user: `/v3/users/{user}/second_factor`. An addition of ours. Everybody keeps his own; an administrator may remove
//! somebody's whose generator and recovery codes are lost.

use super::{Desk, Visit, object, on};
use crate::login::{self, second};
use api_identity::Secret;
use base::{Json, Result, Row, err};
use http::{Reply, Response, Router};
use serde_json::json;
use std::sync::Arc;

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    let path = "/v3/users/{user}/second_factor";
    router
        .get(path, on(desk, |desk, visit| async move { show(&desk, visit).await }))
        .post(path, on(desk, |desk, visit| async move { begin(&desk, visit).await }))
        .delete(path, on(desk, |desk, visit| async move { remove_of_other(&desk, visit).await }))
        .post(&format!("{path}/confirm"), on(desk, |desk, visit| async move { confirm(&desk, visit).await }))
        .post(&format!("{path}/recovery-codes"), on(desk, |desk, visit| async move { renew(&desk, visit).await }))
        .post(&format!("{path}/remove"), on(desk, |desk, visit| async move { remove(&desk, visit).await }))
}

/// The caller's own row; nobody does this for somebody else.
async fn own(desk: &Desk, visit: &Visit) -> Result<Row> {
    visit.who.required()?;
    let (which, caller) = (visit.request.param("user"), &visit.ctx.caller);
    if which != caller.user_id && which != caller.user {
        return Err(err!(Forbidden, "everybody keeps his own second factor; an administrator can only remove it"));
    }
    second::user(&desk.state, &caller.user_id).await
}

/// A text of the body, inside `second_factor` or at the top.
async fn text(visit: &mut Visit, key: &str) -> Result<Secret> {
    let body = object(&mut visit.request).await?;
    let inner = body.get("second_factor").and_then(Json::as_object).unwrap_or(&body);
    let found = inner.get(key).and_then(Json::as_str).filter(|t| !t.is_empty());
    found.map(Secret::new).ok_or_else(|| err!(MissingParameter, "{} is missing", key))
}

fn answer(body: Json) -> Reply {
    Ok(Response::json(&json!({ "second_factor": body })).with_header("Cache-Control", "no-store"))
}

async fn show(desk: &Desk, visit: Visit) -> Reply {
    let user = own(desk, &visit).await?;
    let enabled = second::of(&desk.state, user.id()).await?.is_some();
    answer(json!({"enabled": enabled, "recovery_codes": second::codes_left(&desk.state, user.id()).await?}))
}

/// Needs the password: a stolen token must not be able to lock its owner out.
async fn begin(desk: &Desk, mut visit: Visit) -> Reply {
    let user = own(desk, &visit).await?;
    let password = text(&mut visit, "password").await?;
    login::demand_password(&desk.state, &user, &password, visit.request.peer).await?;
    let begun = second::begin(&desk.state, &visit.ctx, &user).await?;
    answer(json!({"secret": begun.secret, "uri": begun.uri}))
}

async fn confirm(desk: &Desk, mut visit: Visit) -> Reply {
    let user = own(desk, &visit).await?;
    let passcode = text(&mut visit, "passcode").await?;
    let codes = second::confirm(&desk.state, &visit.ctx, &user, &passcode).await?;
    answer(json!({"enabled": true, "recovery_codes": codes}))
}

/// Shows a code of the factor in use.
async fn demand_code(desk: &Desk, visit: &mut Visit, user: &Row) -> Result<()> {
    let passcode = text(visit, "passcode").await?;
    let factor = second::of(&desk.state, user.id()).await?.ok_or_else(|| err!(InvalidStatus, "no second factor is in use"))?;
    second::check(&desk.state, user, &factor, &passcode).await
}

async fn renew(desk: &Desk, mut visit: Visit) -> Reply {
    let user = own(desk, &visit).await?;
    demand_code(desk, &mut visit, &user).await?;
    let codes = second::renew_codes(&desk.state, &visit.ctx, &user).await?;
    answer(json!({"enabled": true, "recovery_codes": codes}))
}

async fn remove(desk: &Desk, mut visit: Visit) -> Reply {
    let user = own(desk, &visit).await?;
    demand_code(desk, &mut visit, &user).await?;
    second::remove(&desk.state, &visit.ctx, &user).await?;
    answer(json!({"enabled": false, "recovery_codes": 0}))
}

/// By an administrator, who may delete the user's credentials of any type as well.
async fn remove_of_other(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let user = desk.engine.resolve(&visit.ctx, "user", visit.request.param("user")).await?;
    if user.id() == visit.ctx.caller.user_id {
        return Err(err!(Forbidden, "remove your own second factor with a code of it"));
    }
    let kind = desk.engine.kind_named("user").ok_or_else(|| base::Error::internal("no such kind"))?;
    desk.engine.demand(&visit.ctx, kind, &user, "perform", &["reset-credentials"]).await?;
    second::remove(&desk.state, &visit.ctx, &user).await?;
    answer(json!({"enabled": false, "recovery_codes": 0}))
}
