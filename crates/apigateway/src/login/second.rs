//! The second factor at the console (spec 03 §2.1). The identity service keeps it, checks it and asks for it at every password login; here the
//! password waits, sealed, for the minutes in which a user looks for his generator.

use super::{
    enter::{self, Wish},
    object, secret, text,
};
use crate::{
    Gateway,
    door::Visit,
    session::{Factor, Held, Opening, Session},
};
use base::{Class, Json, Result, err};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, Reply, Request, Response};
use serde_json::json;

/// A password whose time is not over.
fn waiting(gateway: &Gateway, session: &Session) -> Result<Held> {
    let held = session.held.clone().filter(|h| gateway.clock.now().micros() < h.until);
    held.ok_or_else(|| err!(InvalidCredential, "No token in header: {}; log in", "the one-time password came too late"))
}

pub(super) fn resting(gateway: &Gateway, session: &Session) -> Result<()> {
    if session.locked_until > gateway.clock.now() {
        return Err(err!(InputParameter, "too many wrong one-time passwords; wait half a minute"));
    }
    Ok(())
}

/// `{"passcode": "123456"}`: shows a one-time password or a recovery code, for a login or for what was just set up.
pub async fn passcode(gateway: &Gateway, mut request: Request) -> Reply {
    let session = gateway.session(&request).await?;
    let passcode = text(&object(&mut request).await?, "passcode");
    if passcode.is_empty() {
        return Err(err!(MissingParameter, "{} is missing", "passcode"));
    }
    resting(gateway, &session)?;
    let done = match session.factor {
        Factor::Asked => enter(gateway, &request, &session, passcode).await,
        Factor::Wanted | Factor::Off if session.held.is_some() => confirm(gateway, &request, &session, &passcode).await,
        // Shown already: a second tab, or a user who was impatient.
        _ => return Ok(Response::json(&json!({}))),
    };
    match done {
        // 401 would log the console out; what was wrong are six digits.
        Err(e) if matches!(e.class(), Class::InvalidCredential | Class::WrongPassword) && !e.template().starts_with("No token") => {
            gateway.sessions.failed(&session).await?;
            Err(err!(InputParameter, "the one-time password or recovery code is wrong").with_context(&e))
        }
        done => done,
    }
}

async fn enter(gateway: &Gateway, request: &Request, session: &Session, passcode: String) -> Reply {
    let held = waiting(gateway, session)?;
    let wish = Wish { user: session.user.clone(), password: held.password, domain: held.domain, project: held.project, passcode };
    let opening = enter::open(gateway, &wish, session.address.parse().ok()).await?;
    enter::replace(gateway, request, session, opening, &json!({})).await
}

/// Confirms what [`begin`] began. The identity service then voids all tokens of the user; one of the recovery codes it gives opens the new
/// session, the others are shown.
async fn confirm(gateway: &Gateway, request: &Request, session: &Session, passcode: &str) -> Reply {
    let held = waiting(gateway, session)?;
    // Before its token is void.
    let project = gateway.verifier.verify(&session.token).map(|c| c.caller.project_id.clone()).unwrap_or_default();
    let path = format!("/users/{}/second_factor/confirm", http::path::encode(&session.user_id));
    let call = gateway.services.identity(Method::POST, &path).token(&session.token).json(&json!({"passcode": passcode}));
    let answer = call.send().await?.json().await?;
    let mut codes: Vec<String> = serde_json::from_value(answer["second_factor"]["recovery_codes"].clone()).unwrap_or_default();
    let spare = codes.pop().unwrap_or_default();
    let wish = Wish { user: session.user.clone(), password: held.password, domain: held.domain, project, passcode: spare };
    let opening: Opening = enter::open(gateway, &wish, session.address.parse().ok()).await?;
    enter::replace(gateway, request, session, opening, &json!({ "recovery_codes": codes })).await
}

/// Begins to set a factor up and answers what a generator reads: `{"qrcode": "<base64 PNG>", "secret", "uri"}`. A user who is through already
/// names his password.
pub async fn begin(gateway: &Gateway, mut request: Request) -> Reply {
    let session = gateway.session(&request).await?;
    let body = object(&mut request).await?;
    let held = match (session.factor, secret(&body, "password")) {
        (Factor::Wanted, _) => waiting(gateway, &session)?,
        (Factor::Off, password) if !password.is_empty() => {
            let claims =
                gateway.verifier.verify(&session.token).map_err(|why| err!(InvalidCredential, "No token in header: {}; log in", why))?;
            let until = gateway.clock.now().plus_secs(600).micros();
            Held { password, domain: claims.caller.user_domain.clone(), project: String::new(), until }
        }
        (Factor::Off, _) => return Err(err!(MissingParameter, "{} is missing", "password")),
        (Factor::Asked | Factor::Shown, _) => return Err(err!(Conflict, "a second factor is in use already; remove it first")),
    };
    let begun = start(gateway, &session, &held).await?;
    gateway.sessions.hold(&session, Some(&held)).await?;
    Ok(Response::json(&begun))
}

/// Asks the identity service for a secret.
pub(super) async fn start(gateway: &Gateway, session: &Session, held: &Held) -> Result<Json> {
    let path = format!("/users/{}/second_factor", http::path::encode(&session.user_id));
    let call = gateway.services.identity(Method::POST, &path).token(&session.token).json(&json!({"password": held.password}));
    let answer = call.send().await.map_err(|e| match e.class() {
        Class::WrongPassword => err!(InputParameter, "the password is wrong"),
        _ => e,
    })?;
    let factor = answer.json().await?["second_factor"].clone();
    let uri = factor["uri"].as_str().unwrap_or_default();
    Ok(json!({"qrcode": STANDARD.encode(crate::picture::of(uri)?), "uri": uri, "secret": factor["secret"]}))
}

/// `GET second-factor`: `{"enabled", "recovery_codes"}`, the codes that are left.
pub async fn show(gateway: &Gateway, request: Request) -> Reply {
    let visit = gateway.enter(request).await?;
    let path = format!("/users/{}/second_factor", http::path::encode(&visit.session.user_id));
    let answer = gateway.services.identity(Method::GET, &path).ctx(&visit.ctx).send().await?;
    Ok(Response::json(&answer.json().await?["second_factor"]))
}

/// `POST second-factor/remove {"passcode"}`: the password alone opens sessions again. This one goes on.
pub async fn remove(gateway: &Gateway, request: Request) -> Reply {
    let (visit, _) = with_a_code(gateway, request, "remove").await?;
    let old = &visit.session;
    let opening = Opening {
        user_id: old.user_id.clone(),
        user: old.user.clone(),
        token: old.token.clone(),
        factor: Factor::Off,
        held: None,
        address: old.address.clone(),
        expires: old.expires,
        provider: old.provider.clone(),
    };
    enter::replace(gateway, &visit.request, old, opening, &json!({"enabled": false})).await
}

/// `POST second-factor/recovery-codes {"passcode"}`: new codes; the old ones are void.
pub async fn renew_codes(gateway: &Gateway, request: Request) -> Reply {
    let (_, answer) = with_a_code(gateway, request, "recovery-codes").await?;
    Ok(Response::json(&json!({ "recovery_codes": answer["recovery_codes"] })))
}

/// Does something to the factor in use, with a code of it.
async fn with_a_code(gateway: &Gateway, request: Request, what: &str) -> Result<(Visit, Json)> {
    let mut visit = gateway.enter(request).await?;
    let passcode = text(&object(&mut visit.request).await?, "passcode");
    if passcode.is_empty() {
        return Err(err!(MissingParameter, "{} is missing", "passcode"));
    }
    resting(gateway, &visit.session)?;
    let path = format!("/users/{}/second_factor/{what}", http::path::encode(&visit.session.user_id));
    let call = gateway.services.identity(Method::POST, &path).ctx(&visit.ctx).json(&json!({"passcode": passcode}));
    match call.send().await {
        Ok(answer) => Ok((visit, answer.json().await?["second_factor"].take())),
        // 401 would log the console out; what was wrong are six digits.
        Err(e) if e.class() == Class::InvalidCredential && !e.template().starts_with("No token") => {
            gateway.sessions.failed(&visit.session).await?;
            Err(err!(InputParameter, "the one-time password or recovery code is wrong").with_context(&e))
        }
        Err(e) => Err(e),
    }
}
