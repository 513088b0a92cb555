//! Changing the own password: `{password_old, password_new, password_confirm, passcode}`, passwords wrapped as at login; the one-time password is
//! needed by whoever has a second factor.

use super::{enter, object, second, secret, text};
use crate::{Gateway, cookie};
use base::{Class, err};
use http::{Method, Reply, Request, Response};
use serde_json::json;

pub async fn change(gateway: &Gateway, request: Request) -> Reply {
    let mut visit = gateway.enter(request).await?;
    if !visit.session.provider.is_empty() {
        return Err(err!(Forbidden, "you logged in at an identity provider; change your password there"));
    }
    gateway.throttle.take(visit.request.peer)?;
    second::resting(gateway, &visit.session)?;
    let body = object(&mut visit.request).await?;
    let (old, new) = (secret(&body, "password_old"), secret(&body, "password_new"));
    if old.is_empty() || new.is_empty() {
        return Err(err!(MissingParameter, "{} is missing", if old.is_empty() { "password_old" } else { "password_new" }));
    }
    if new != secret(&body, "password_confirm") {
        return Err(err!(InputParameter, "the two new passwords differ"));
    }
    // A login of its own: whoever came upon an open page has neither the password nor the generator.
    let wish = enter::Wish {
        user: visit.session.user.clone(),
        password: old.clone(),
        domain: visit.claims.caller.user_domain.clone(),
        project: String::new(),
        passcode: text(&body, "passcode"),
    };
    let (missing, user) = (wish.passcode.is_empty(), http::path::encode(&visit.session.user_id));
    match gateway.services.client().issue(&enter::by_password(&wish, &visit.session.address)).await {
        Ok(shown) => enter::revoke(gateway, &shown.token).await,
        // 401 would log the console out.
        Err(e) if e.class() == Class::WrongPassword => {
            return Err(err!(InputParameter, "the old password is wrong").with_context(e));
        }
        Err(e) if e.class() == Class::SecondFactorRequired && missing => {
            return Err(err!(InputParameter, "a one-time password is needed as well: send passcode").with_context(e));
        }
        Err(e) if e.class() == Class::InvalidCredential => {
            gateway.sessions.failed(&visit.session).await?;
            return Err(err!(InputParameter, "the one-time password or recovery code is wrong").with_context(e));
        }
        Err(e) => return Err(e),
    }
    let change = json!({"user": {"original_password": old, "password": new}});
    let call = gateway.services.identity(Method::POST, &format!("/users/{user}/password")).ctx(&visit.ctx).json(&change);
    call.send().await.map_err(|e| match e.class() {
        Class::WrongPassword => err!(InputParameter, "the old password is wrong"),
        _ => e,
    })?;
    gateway.throttle.give_back(visit.request.peer);
    gateway.sessions.close_all(&visit.session.user_id).await?;
    Ok(cookie::take(gateway, &visit.request, Response::json(&json!({}))))
}
