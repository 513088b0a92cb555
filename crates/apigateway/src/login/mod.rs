//! `/api/v1/auth/…` (spec 03 §2): the way in and out, the second factor, and what a console asks about its user.

mod enter;
mod form;
mod password;
mod recovery;
mod regions;
mod rights;
mod second;
mod sso;
mod user;

use crate::{Gateway, on};
use base::{Json, Result, err};
use http::{Request, Router};
use std::sync::Arc;

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    let router = router
        .get("/api/{ver}/auth/regions", on(gateway, |g, r| async move { regions::regions(&g, r).await }))
        .post("/api/{ver}/auth/login", on(gateway, |g, r| async move { enter::login(&g, r).await }))
        .get("/api/{ver}/auth/logout", on(gateway, |g, r| async move { enter::logout(&g, r).await }))
        .post("/api/{ver}/auth/logout", on(gateway, |g, r| async move { enter::logout(&g, r).await }))
        .get("/api/{ver}/auth/scopedpolicybindings", on(gateway, |g, r| async move { regions::customisation(&g, r).await }))
        .get("/api/{ver}/auth/stats", on(gateway, |g, r| async move { regions::stats(&g, r).await }))
        .get("/api/{ver}/auth/subscriptions", on(gateway, |g, r| async move { regions::subscriptions(&g, r).await }));
    let router = router
        .get("/api/{ver}/auth/user", on(gateway, |g, r| async move { user::show(&g, r).await }))
        .get("/api/{ver}/auth/permissions", on(gateway, |g, r| async move { rights::permissions(&g, r).await }))
        .post("/api/{ver}/auth/permissions", on(gateway, |g, r| async move { rights::permissions(&g, r).await }))
        .get("/api/{ver}/auth/scoped_resources", on(gateway, |g, r| async move { rights::scoped(&g, r).await }))
        .get("/api/{ver}/auth/admin_resources", on(gateway, |g, r| async move { rights::admin(&g, r).await }));
    let router = router
        .get("/api/{ver}/auth/sso/redirect/{idp}", on(gateway, |g, r| async move { sso::away(&g, r).await }))
        .get("/api/{ver}/auth/ssologin", on(gateway, |g, r| async move { sso::back(&g, r).await }))
        .post("/api/{ver}/auth/ssologin", on(gateway, |g, r| async move { sso::back(&g, r).await }))
        .get("/api/{ver}/auth/ssologin/{idp}", on(gateway, |g, r| async move { sso::back(&g, r).await }))
        .post("/api/{ver}/auth/ssologin/{idp}", on(gateway, |g, r| async move { sso::back(&g, r).await }))
        .get("/api/{ver}/auth/idp/{idp}/info", on(gateway, |g, r| async move { sso::info(&g, r).await }))
        .get("/api/{ver}/auth/idp/{idp}/saml-metadata", on(gateway, |g, r| async move { sso::metadata(&g, r).await }))
        .post("/api/{ver}/auth/unlink-idp", on(gateway, |g, r| async move { sso::unlink(&g, r).await }));
    router
        .post("/api/{ver}/auth/password", on(gateway, |g, r| async move { password::change(&g, r).await }))
        .post("/api/{ver}/auth/passcode", on(gateway, |g, r| async move { second::passcode(&g, r).await }))
        .post("/api/{ver}/auth/initcredential", on(gateway, |g, r| async move { second::begin(&g, r).await }))
        .get("/api/{ver}/auth/second-factor", on(gateway, |g, r| async move { second::show(&g, r).await }))
        .post("/api/{ver}/auth/second-factor/remove", on(gateway, |g, r| async move { second::remove(&g, r).await }))
        .post("/api/{ver}/auth/second-factor/recovery-codes", on(gateway, |g, r| async move { second::renew_codes(&g, r).await }))
        .post("/api/{ver}/auth/credential", on(gateway, |g, r| async move { recovery::renew(&g, r).await }))
        .get("/api/{ver}/auth/recovery", on(gateway, |g, r| async move { recovery::questions(&g, r).await }))
        .post("/api/{ver}/auth/recovery", on(gateway, |g, r| async move { recovery::answer(&g, r).await }))
}

/// The body as an object; none counts as empty.
pub(crate) async fn object(request: &mut Request) -> Result<serde_json::Map<String, Json>> {
    match request.json().await? {
        None | Some(Json::Null) => Ok(serde_json::Map::new()),
        Some(Json::Object(map)) => Ok(map),
        Some(_) => Err(err!(InputParameter, "the body must be an object")),
    }
}

/// A text of the body; `""` when it has none.
pub(crate) fn text(body: &serde_json::Map<String, Json>, key: &str) -> String {
    match body.get(key) {
        Some(Json::String(text)) => text.trim().to_string(),
        Some(Json::Number(number)) => number.to_string(),
        Some(Json::Bool(flag)) => flag.to_string(),
        _ => String::new(),
    }
}

/// A password of the body, unwrapped; never trimmed.
fn secret(body: &serde_json::Map<String, Json>, key: &str) -> String {
    body.get(key).and_then(Json::as_str).map(crate::passwords::open).unwrap_or_default()
}
