//! Application credentials and their access rules under their user, as OpenStack has them (spec 02 §12).

use super::{Desk, Visit, contexts::breadth, object, on};
use crate::login::application;
use api_identity::ApplicationCredential;
use base::{Error, Json, Resource, Result, Row, err};
use http::{Method, Reply, Response, Router};
use resource::Params;
use serde_json::json;
use std::sync::Arc;
use store::{Cond, Read};

const PLURAL: &str = "application_credentials";
const NAME: &str = "application_credential";

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    let under = "/v3/users/{user}/application_credentials";
    let rules = "/v3/users/{user}/access_rules";
    router
        .post("/v3/application_credentials", on(desk, |desk, visit| async move { create(&desk, visit, None).await }))
        .post(
            under,
            on(desk, |desk, visit| async move {
                let user = Some(visit.request.param("user").to_string());
                create(&desk, visit, user).await
            }),
        )
        .get(under, on(desk, |desk, visit| async move { list(&desk, visit).await }))
        .any(
            &[Method::GET, Method::HEAD, Method::DELETE],
            &format!("{under}/{{id}}"),
            on(desk, |desk, visit| async move { one(&desk, visit).await }),
        )
        .get(rules, on(desk, |desk, visit| async move { rules_of(&desk, visit).await }))
        .any(
            &[Method::GET, Method::HEAD, Method::DELETE],
            &format!("{rules}/{{id}}"),
            on(desk, |desk, visit| async move { rule(&desk, visit).await }),
        )
}

/// Makes one for the caller itself, and tells its secret this once.
async fn create(desk: &Desk, mut visit: Visit, user: Option<String>) -> Reply {
    visit.who.required()?;
    let caller = visit.ctx.caller.clone();
    if user.is_some_and(|u| u != caller.user_id && u != caller.user) {
        return Err(err!(Forbidden, "application credentials are made by their user only"));
    }
    let mut body = object(&mut visit.request).await?;
    let wish = body
        .get_mut(NAME)
        .and_then(Json::as_object_mut)
        .ok_or_else(|| err!(InputParameter, "the body must be an object with the key {}", NAME))?;
    // Clients send what they leave to us as null.
    wish.retain(|_, v| !v.is_null());
    if resource::text(wish, &["secret"]).is_none() {
        wish.insert("secret".into(), crate::provider::web::random(48)?.into());
    }
    let secret = wish["secret"].clone();
    let path = [PLURAL.to_string()];
    let answer = desk.engine.handle(&visit.ctx, resource::Method::Post, &path, &Params(json!({})), Some(Json::Object(body))).await?;
    desk.state.catch_up().await?;
    let mut answer: Json = serde_json::from_slice(&answer.body).map_err(Error::internal)?;
    if let Some(made) = answer.get_mut(NAME).and_then(Json::as_object_mut) {
        made.insert("secret".into(), secret);
    }
    Ok(Response::json(&answer).with_status(http::StatusCode::CREATED).with_header("Cache-Control", "no-store"))
}

async fn list(desk: &Desk, visit: Visit) -> Reply {
    let user = desk.engine.resolve(&visit.ctx, "user", visit.request.param("user")).await?;
    let params = breadth(&visit, &user)?;
    let within = Cond::eq("owner_id", user.id());
    Ok(Response::json_bytes(desk.engine.list_within(&visit.ctx, PLURAL, &params, within).await?.body))
}

async fn one(desk: &Desk, visit: Visit) -> Reply {
    let user = desk.engine.resolve(&visit.ctx, "user", visit.request.param("user")).await?;
    let row = desk.engine.resolve(&visit.ctx, NAME, visit.request.param("id")).await?;
    if row.text("owner_id") != user.id() {
        return Err(err!(ResourceNotFound, "{} {} not found", NAME, visit.request.param("id")));
    }
    let method = if visit.request.method == Method::DELETE { resource::Method::Delete } else { resource::Method::Get };
    let path = [PLURAL.to_string(), row.id().to_string()];
    let answer = desk.engine.handle(&visit.ctx, method, &path, &Params(json!({})), None).await?;
    if method == resource::Method::Delete {
        desk.state.catch_up().await?;
        return Ok(Response::new(http::StatusCode::NO_CONTENT));
    }
    Ok(Response::json_bytes(answer.body))
}

/// The application credentials of the user in the path, whom the caller may see.
async fn of_user(desk: &Desk, visit: &Visit) -> Result<Vec<Row>> {
    let user = desk.engine.resolve(&visit.ctx, "user", visit.request.param("user")).await?;
    let own = user.id() == visit.ctx.caller.user_id;
    if !own {
        desk.demand(visit, base::Scope::System, PLURAL, "list", &[])?;
    }
    let living = Cond::eq("owner_id", user.id()).and(Cond::eq("deleted", false));
    desk.state.db.read().find(ApplicationCredential::facts(), living).await
}

async fn rules_of(desk: &Desk, visit: Visit) -> Reply {
    let all: Vec<_> = of_user(desk, &visit).await?.iter().flat_map(application::rules).collect();
    Ok(Response::json(&json!({"access_rules": all, "links": {"self": null, "next": null, "previous": null}})))
}

async fn rule(desk: &Desk, visit: Visit) -> Reply {
    let wanted = visit.request.param("id");
    let found = of_user(desk, &visit).await?.iter().flat_map(application::rules).find(|r| r.id == wanted);
    let found = found.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "access_rule", wanted))?;
    if visit.request.method == Method::DELETE {
        return Err(err!(Forbidden, "the access rule is in use: it goes with its application credential"));
    }
    Ok(Response::json(&json!({"access_rule": found})))
}
