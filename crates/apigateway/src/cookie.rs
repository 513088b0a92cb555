//! The cookies of the console (spec 03 §1.1): the session, which scripts cannot read, and what pages show.

use crate::{
    Gateway,
    session::{Factor, Session},
};
use base::Json;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, Response};
use serde_json::json;

/// The readable one, by its name in existing consoles.
pub const SHOWN: &str = "yunionauth";
/// The session's name over plain HTTP, and over TLS, where browsers hold the prefix to its promise.
const PLAIN: &str = "wolke_session";
const HOST: &str = "__Host-wolke_session";

/// While the user is at an identity provider.
const AWAY: &str = "wolke_away";
const HOST_AWAY: &str = "__Host-wolke_away";

/// Between a picture and its answer.
const ASKED: &str = "wolke_captcha";
const HOST_ASKED: &str = "__Host-wolke_captcha";

/// Whether the browser speaks TLS to us, or to the proxy before us.
fn secure(gateway: &Gateway, request: &Request) -> bool {
    request.secure || gateway.url.starts_with("https://")
}

/// The session's value that a browser sends.
pub fn session(gateway: &Gateway, request: &Request) -> Option<String> {
    let own = [HOST, PLAIN].into_iter().find_map(|name| request.cookie(name)).map(str::to_string);
    own.or_else(|| {
        if !gateway.options.readable_session {
            return None;
        }
        let text = URL_SAFE_NO_PAD.decode(request.cookie(SHOWN)?.trim_end_matches('=')).ok()?;
        let shown: Json = serde_json::from_slice(&text).ok()?;
        shown["session"].as_str().map(str::to_string)
    })
}

/// What pages may know of a session.
pub fn shown(gateway: &Gateway, session: &Session, value: &str) -> Json {
    let on = session.factor != Factor::Off;
    json!({
        "exp": session.expires.to_string(),
        "session": if gateway.options.readable_session { value } else { &session.public_id },
        "totp_verified": session.factor == Factor::Shown,
        "totp_init": matches!(session.factor, Factor::Asked | Factor::Shown),
        "totp_on": on,
        "system_totp_on": on || gateway.options.enable_totp,
        "is_sso": !session.provider.is_empty(),
        "user_id": session.user_id,
        "user": session.user,
    })
}

/// Gives a session to the browser.
pub fn give(gateway: &Gateway, request: &Request, response: Response, session: &Session, value: &str) -> Response {
    let text = URL_SAFE_NO_PAD.encode(shown(gateway, session, value).to_string());
    let life = session.expires.since(gateway.clock.now()).max(0) / 1_000_000;
    let life = (!gateway.options.session_level_auth_cookie).then_some(life);
    let response = response.with_header("set-cookie", &own(gateway, request, value, life));
    put(gateway, request, response, SHOWN, &text, life)
}

/// Takes everything back.
pub fn take(gateway: &Gateway, request: &Request, response: Response) -> Response {
    let response = response.with_header("set-cookie", &own(gateway, request, "", Some(0)));
    [SHOWN, "tenant", "scope", "domain", "isadmin"].into_iter().fold(response, |r, name| put(gateway, request, r, name, "", Some(0)))
}

/// `Domain` is left out on purpose: the session goes to this host only.
fn own(gateway: &Gateway, request: &Request, value: &str, life: Option<i64>) -> String {
    let (name, secure) = if secure(gateway, request) { (HOST, "; Secure") } else { (PLAIN, "") };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{}", age(life))
}

/// Sets a cookie that pages read.
pub fn put(gateway: &Gateway, request: &Request, response: Response, name: &str, value: &str, life: Option<i64>) -> Response {
    let safe = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';' | b'\\');
    let value = if value.bytes().all(safe) { value.to_string() } else { http::path::encode(value) };
    let secure = if secure(gateway, request) { "; Secure" } else { "" };
    let domain = match gateway.options.cookie_domain.as_str() {
        "" => String::new(),
        domain => format!("; Domain={domain}"),
    };
    response.with_header("set-cookie", &format!("{name}={value}; Path=/; SameSite=Lax{secure}{domain}{}", age(life)))
}

/// What a browser carries while its user is at an identity provider. `foreign`: it comes back by a form of the provider's, which `Lax` would keep
/// the cookie from; without TLS a browser knows no other way than to say nothing.
pub fn carry(gateway: &Gateway, request: &Request, response: Response, value: &str, foreign: bool, life: i64) -> Response {
    let secure = secure(gateway, request);
    let name = if secure { HOST_AWAY } else { AWAY };
    let site = match (foreign, secure) {
        (false, _) => "; SameSite=Lax",
        (true, true) => "; SameSite=None",
        (true, false) => "",
    };
    let secure = if secure { "; Secure" } else { "" };
    response.with_header("set-cookie", &format!("{name}={value}; Path=/; HttpOnly{site}{secure}{}", age(Some(life))))
}

/// What it carried.
pub fn carried(request: &Request) -> Option<&str> {
    [HOST_AWAY, AWAY].into_iter().find_map(|name| request.cookie(name))
}

/// What a picture was asked about, for the login that follows.
pub fn ask(gateway: &Gateway, request: &Request, response: Response, value: &str, life: i64) -> Response {
    let (name, secure) = if secure(gateway, request) { (HOST_ASKED, "; Secure") } else { (ASKED, "") };
    response.with_header("set-cookie", &format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{}", age(Some(life))))
}

pub fn asked(request: &Request) -> Option<&str> {
    [HOST_ASKED, ASKED].into_iter().find_map(|name| request.cookie(name))
}

fn age(life: Option<i64>) -> String {
    life.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default()
}
