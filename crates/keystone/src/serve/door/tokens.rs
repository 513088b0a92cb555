//! What command lines ask the door: codes to show (RFC 8628 §3.1), and tokens for codes (RFC 6749 §4.1.3, RFC 8628 §3.4).

use super::{Desk, Visit, WAIT, address, field};
use crate::provider::{pending, web};
use crate::{login, state::State, trail};
use api_identity::{Auth, AuthContext, Identity, SUBJECT_TOKEN, Secret, TokenMethod};
use base::{Error, Json, Result};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Reply, Response, StatusCode};
use ring::digest::{SHA256, digest};
use serde_json::json;

/// How often a device asks, seconds.
const INTERVAL: i64 = 5;
/// How long the code in a browser's address counts, seconds.
const CODE: i64 = 60;
/// Letters of user codes: no vowels, so that no words come out (RFC 8628 §6.1). 20 to the power of 8.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A code as it is kept, from what somebody typed.
pub fn plain(typed: &str) -> String {
    typed.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase()).take(16).collect()
}

/// A code as it is shown.
pub fn shown(code: &str) -> String {
    code.split_at_checked(4).map_or_else(|| code.to_string(), |(a, b)| format!("{a}-{b}"))
}

fn user_code() -> Result<String> {
    let mut out = String::new();
    while out.len() < 8 {
        let mut byte = [0u8; 1];
        getrandom::fill(&mut byte).map_err(Error::internal)?;
        // Those beyond a whole number of alphabets would make some letters likelier.
        if byte[0] < 240 {
            out.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    Ok(out)
}

/// A device asks to be let in.
pub async fn device(desk: &Desk, visit: Visit) -> Reply {
    let state = &desk.state;
    let address = address(state)?;
    let (device_code, user_code) = (web::random(32)?, user_code()?);
    let from = visit.request.peer.map(|ip| ip.to_string()).unwrap_or_default();
    let asked = json!({"device_code": device_code, "from": from});
    pending::put(state, "door-device", &device_code, &Json::Bool(true), WAIT).await?;
    pending::put(state, "door-user", &user_code, &asked, WAIT).await?;
    let (uri, code) = (format!("{address}/device"), shown(&user_code));
    let answer = json!({"device_code": device_code, "user_code": code, "verification_uri": uri,
        "verification_uri_complete": web::with_query(&uri, &[("user_code", &code)]), "expires_in": WAIT, "interval": INTERVAL});
    Ok(super::page::guarded(Response::json(&answer)))
}

/// Somebody has decided about a device.
pub async fn for_device(state: &State, asked: &Json, token: Option<&str>) -> Result<()> {
    let device = asked["device_code"].as_str().unwrap_or_default();
    pending::put(state, "door-done", device, &json!({ "token": token }), WAIT).await
}

/// Somebody has decided about a command line beside the browser: where the browser goes.
pub async fn for_browser(state: &State, door: &Json, token: Option<&str>) -> Result<String> {
    let text = |key: &str| door[key].as_str().unwrap_or_default();
    let Some(token) = token else {
        return Ok(web::with_query(text("redirect_uri"), &[("error", "access_denied"), ("state", text("state"))]));
    };
    let code = web::random(32)?;
    let data = json!({"token": token, "challenge": text("challenge"), "redirect_uri": text("redirect_uri")});
    pending::put(state, "door-code", &code, &data, CODE).await?;
    Ok(web::with_query(text("redirect_uri"), &[("code", &code), ("state", text("state"))]))
}

fn refuse(word: &str) -> Reply {
    Ok(super::page::guarded(Response::json(&json!({ "error": word })).with_status(StatusCode::BAD_REQUEST)))
}

/// A token for a code.
pub async fn token(desk: &Desk, visit: Visit) -> Reply {
    match field(&visit, "grant_type") {
        DEVICE_GRANT => of_device(desk, &visit).await,
        "authorization_code" => of_browser(desk, &visit).await,
        _ => refuse("unsupported_grant_type"),
    }
}

async fn of_device(desk: &Desk, visit: &Visit) -> Reply {
    let (state, code) = (&desk.state, field(visit, "device_code"));
    if pending::look(state, "door-device", code).await?.is_none() {
        return refuse("expired_token");
    }
    if !pending::first(state, "door-poll", code, INTERVAL - 1).await? {
        return refuse("slow_down");
    }
    let Some(done) = pending::take(state, "door-done", code).await? else { return refuse("authorization_pending") };
    pending::take(state, "door-device", code).await?;
    match done["token"].as_str() {
        Some(token) => hand_over(desk, visit, token).await,
        None => refuse("access_denied"),
    }
}

async fn of_browser(desk: &Desk, visit: &Visit) -> Reply {
    // Taken before anything is compared: a code that was shown with a wrong verifier is worth nothing any more.
    let Some(done) = pending::take(&desk.state, "door-code", field(visit, "code")).await? else { return refuse("invalid_grant") };
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, field(visit, "code_verifier").as_bytes()));
    if done["challenge"] != challenge.as_str() || done["redirect_uri"] != field(visit, "redirect_uri") {
        return refuse("invalid_grant");
    }
    hand_over(desk, visit, done["token"].as_str().unwrap_or_default()).await
}

/// A token of the command line's own, made from the browser's: ended with it, by whoever ends it.
async fn hand_over(desk: &Desk, visit: &Visit, token: &str) -> Reply {
    let identity = Identity { methods: vec!["token".into()], token: Some(TokenMethod { id: Secret::new(token) }), ..Identity::default() };
    let auth = Auth { identity, scope: None, context: AuthContext { source: "cli".into(), ..AuthContext::default() } };
    let issued = login::issue(&desk.state, &auth, visit.request.peer).await;
    trail::login(&desk.state, &visit.ctx, &auth, visit.request.peer, &issued).await?;
    let Ok(issued) = issued else { return refuse("access_denied") };
    let left = base::Timestamp::parse(&issued.subject.expires_at).map_or(0, |at| at.since(desk.state.clock.now()) / 1_000_000);
    let answer = json!({"access_token": issued.token, "token_type": "Bearer", "expires_in": left,
        "user": issued.subject.user.name, "domain": issued.subject.user.domain.name});
    Ok(super::page::guarded(Response::json(&answer)).with_header(SUBJECT_TOKEN, &issued.token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let code = user_code().expect("random");
        assert!(code.len() == 8 && code.bytes().all(|b| LETTERS.contains(&b)), "{code}");
        assert_eq!(plain(&format!(" {} ", shown(&code).to_lowercase())), code);
        assert_eq!((plain("ab-cd 12é"), shown("AB")), ("ABCD".to_string(), "AB".to_string()));
    }
}
