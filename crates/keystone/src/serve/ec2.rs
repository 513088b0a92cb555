//! Access keys in the forms of OpenStack's EC2 and S3 extensions (spec 02 §12). A key is a credential of type `aksk`.

use super::{Desk, Visit, object, on};
use crate::{
    login::{self, SignedRequest},
    trail,
};
use api_identity::{Auth, SUBJECT_TOKEN, TokenAnswer};
use base::{Error, Json, Result, err};
use http::{Method, Reply, Response, Router, StatusCode};
use resource::Params;
use serde_json::json;
use std::sync::Arc;

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    let keys = "/v3/users/{user}/credentials/OS-EC2";
    router
        .post("/v3/ec2tokens", on(desk, |desk, visit| async move { token(&desk, visit).await }))
        .post("/v3/s3tokens", on(desk, |desk, visit| async move { token(&desk, visit).await }))
        .post(keys, on(desk, |desk, visit| async move { create(&desk, visit).await }))
        .get(keys, on(desk, |desk, visit| async move { list(&desk, visit).await }))
        .any(
            &[Method::GET, Method::HEAD, Method::DELETE],
            &format!("{keys}/{{access}}"),
            on(desk, |desk, visit| async move { one(&desk, visit).await }),
        )
}

/// A token for whoever signed a request. Only services may ask: a signed URL that somebody passed on would otherwise be a login of its maker.
async fn token(desk: &Desk, mut visit: Visit) -> Reply {
    desk.demand_service(&visit)?;
    let mut body = object(&mut visit.request).await?;
    let asked = body.remove("credentials").or_else(|| body.remove("ec2Credentials"));
    let asked = asked.ok_or_else(|| err!(InputParameter, "the body must be an object with the key {}", "credentials"))?;
    let asked: SignedRequest = serde_json::from_value(asked)
        .map_err(|_| err!(InputParameter, "credentials: expected access, signature and the signed request"))?;
    let issued = login::issue_for_request(&desk.state, &asked).await;
    let mut told = Auth::default();
    told.identity.methods.push("aksk".into());
    trail::login(&desk.state, &visit.ctx, &told, visit.request.peer, &issued).await?;
    let issued = issued?;
    let answer = TokenAnswer { id: issued.token.clone(), token: issued.subject };
    let body = serde_json::to_vec(&answer).map_err(Error::internal)?;
    Ok(Response::json_bytes(body).with_header(SUBJECT_TOKEN, &issued.token).with_header("Cache-Control", "no-store"))
}

/// A credential in OpenStack's words.
fn told(credential: &Json) -> Json {
    let blob: Json = credential["blob"].as_str().and_then(|b| serde_json::from_str(b).ok()).unwrap_or_default();
    json!({"access": credential["id"], "secret": blob["secret"], "user_id": credential["user_id"], "tenant_id": credential["project_id"],
        "trust_id": null, "links": {"self": null}})
}

/// Sends something about credentials to the engine.
async fn ask(desk: &Desk, visit: &Visit, method: resource::Method, path: &[&str], params: Json, body: Option<Json>) -> Result<Json> {
    let path: Vec<String> = std::iter::once("credentials").chain(path.iter().copied()).map(str::to_string).collect();
    let answer = desk.engine.handle(&visit.ctx, method, &path, &Params(params), body).await?;
    serde_json::from_slice(&answer.body).map_err(Error::internal)
}

async fn create(desk: &Desk, mut visit: Visit) -> Reply {
    visit.who.required()?;
    let body = object(&mut visit.request).await?;
    let blob = json!({"secret": crate::provider::web::random(24)?, "expire": 0}).to_string();
    let mut wish = json!({"type": "aksk", "blob": blob, "user_id": visit.request.param("user")});
    if let Some(project) = resource::text(&body, &["tenant_id", "project_id"]) {
        wish["project_id"] = project.into();
    }
    let made = ask(desk, &visit, resource::Method::Post, &[], json!({}), Some(json!({ "credential": wish }))).await?;
    desk.state.catch_up().await?;
    Ok(Response::json(&json!({"credential": told(&made["credential"])}))
        .with_status(StatusCode::CREATED)
        .with_header("Cache-Control", "no-store"))
}

async fn list(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let user = desk.engine.resolve(&visit.ctx, "user", visit.request.param("user")).await?;
    let scope = if user.id() == visit.ctx.caller.user_id { "user" } else { "max" };
    let params = json!({"type": "aksk", "user_id": user.id(), "scope": scope, "limit": "2048"});
    let all = ask(desk, &visit, resource::Method::Get, &[], params, None).await?;
    let rows: Vec<Json> = all["credentials"].as_array().map(|rows| rows.iter().map(told).collect()).unwrap_or_default();
    Ok(Response::json(&json!({"credentials": rows, "links": {"self": null, "next": null, "previous": null}})))
}

async fn one(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let (user, access) = (visit.request.param("user").to_string(), visit.request.param("access").to_string());
    let user = desk.engine.resolve(&visit.ctx, "user", &user).await?;
    let found = ask(desk, &visit, resource::Method::Get, &[&access], json!({}), None).await?;
    let found = &found["credential"];
    if found["type"] != "aksk" || found["user_id"] != user.id() {
        return Err(err!(ResourceNotFound, "{} {} not found", "credential", access));
    }
    if visit.request.method == Method::DELETE {
        ask(desk, &visit, resource::Method::Delete, &[&access], json!({}), None).await?;
        desk.state.catch_up().await?;
        return Ok(Response::new(StatusCode::NO_CONTENT));
    }
    Ok(Response::json(&json!({"credential": told(found)})))
}
