//! Changing the own password: `{password_old, password_new, password_confirm}`, each wrapped as at login.

use super::{object, secret};
use crate::{Gateway, cookie};
use base::{Class, err};
use http::{Method, Reply, Request, Response};
use serde_json::json;

pub async fn change(gateway: &Gateway, request: Request) -> Reply {
    let mut visit = gateway.enter(request).await?;
    gateway.throttle.take(visit.request.peer)?;
    let body = object(&mut visit.request).await?;
    let (old, new) = (secret(&body, "password_old"), secret(&body, "password_new"));
    if old.is_empty() || new.is_empty() {
        return Err(err!(MissingParameter, "{} is missing", if old.is_empty() { "password_old" } else { "password_new" }));
    }
    if new != secret(&body, "password_confirm") {
        return Err(err!(InputParameter, "the two new passwords differ"));
    }
    let user = http::path::encode(&visit.session.user_id);
    let change = json!({"user": {"original_password": old, "password": new}});
    let call = gateway.services.identity(Method::POST, &format!("/users/{user}/password")).ctx(&visit.ctx).json(&change);
    call.send().await.map_err(|e| match e.class() {
        // 401 would log the console out.
        Class::WrongPassword => err!(InputParameter, "the old password is wrong"),
        _ => e,
    })?;
    gateway.throttle.give_back(visit.request.peer);
    gateway.sessions.close_all(&visit.session.user_id).await?;
    Ok(cookie::take(gateway, &visit.request, Response::json(&json!({}))))
}
