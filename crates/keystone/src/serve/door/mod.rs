//! The login door of the command line: pages on which somebody logs in with a password or at a provider, and then lets a command line in.
//!
//! ```text
//! browser on the same machine (RFC 8252):  GET door/browser ─▶ log in ─▶ allow ─▶ code to 127.0.0.1 ─▶ POST door/token (PKCE)
//! another device (RFC 8628):  POST door/device ─▶ code ─▶ GET door/device ─▶ log in ─▶ allow        POST door/token, until it is there
//! ```
//!
//! Everything between two requests lies in the database for minutes, sealed (`provider::pending`); a browser holds a random number only. Forms
//! carry a number of their session; every page forbids scripts and frames.

mod page;
mod session;
mod tokens;

use super::{Desk, Visit, on};
use crate::provider::{pending, sso, web};
use crate::{login, state::State, trail};
use api_identity::{
    Auth, AuthContext, CasMethod, CodeMethod, Identity, IdentityProvider, PasswordMethod, PasswordUser, Secret, TotpMethod, TotpUser, Which,
};
use base::{Json, Resource, Result, err};
use http::{Reply, Response, Router, StatusCode};
use page::Form;
use serde_json::json;
use session::Session;
use std::sync::Arc;
use store::{Cond, Read};

/// How long a command line waits to be let in, seconds.
const WAIT: i64 = 600;

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    router
        .get("/v3/auth/door", on(desk, |desk, visit| async move { door(&desk, visit).await }))
        .get("/v3/auth/door/browser", on(desk, |desk, visit| async move { browser(&desk, visit).await }))
        .get("/v3/auth/door/device", on(desk, |desk, visit| async move { device(&desk, visit).await }))
        .post("/v3/auth/door/device", on(desk, |desk, visit| async move { tokens::device(&desk, visit).await }))
        .post("/v3/auth/door/token", on(desk, |desk, visit| async move { tokens::token(&desk, visit).await }))
        .post("/v3/auth/door/login", on(desk, |desk, visit| async move { password(&desk, visit).await }))
        .post("/v3/auth/door/decide", on(desk, |desk, visit| async move { decide(&desk, visit).await }))
        .get("/v3/auth/door/sso/{provider}", on(desk, |desk, visit| async move { away(&desk, visit).await }))
        .get("/v3/auth/door/callback", on(desk, |desk, visit| async move { back(&desk, visit).await }))
}

/// Address of the door as browsers reach it: below the public address of the identity service.
pub fn address(state: &State) -> Result<String> {
    let catalogue = state.catalogue.load();
    let all = catalogue.iter().filter(|s| s.r#type == api_identity::SERVICE).flat_map(|s| &s.endpoints);
    let url = all.into_iter().find(|e| e.interface == "public").map(|e| e.url.trim_end_matches('/').to_string());
    let url =
        url.ok_or_else(|| err!(NotAcceptable, "the identity service has no public endpoint in the catalogue; logins by browser need one"))?;
    Ok(format!("{url}/auth/door"))
}

/// Its path.
fn path(state: &State) -> Result<String> {
    let address = address(state)?;
    let rest = address.split_once("://").map_or(address.as_str(), |(_, rest)| rest);
    Ok(rest.find('/').map_or(String::new(), |at| rest[at..].to_string()))
}

fn field<'a>(visit: &'a Visit, name: &str) -> &'a str {
    visit.request.query.text(name).unwrap_or_default()
}

fn see(url: &str) -> Response {
    page::guarded(Response::new(StatusCode::SEE_OTHER)).with_header("Location", url)
}

/// A loopback address as command lines listen on it: by number, so that no name leads elsewhere (RFC 8252 §7.3). Gives the origin.
fn loopback(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("http://127.0.0.1:")?;
    let (port, path) = rest.split_once('/')?;
    let port: u16 = port.parse().ok().filter(|p| *p > 0)?;
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.'));
    plain.then(|| format!("http://127.0.0.1:{port}"))
}

/// A command line on the browser's own machine.
async fn browser(desk: &Desk, visit: Visit) -> Reply {
    let (redirect_uri, challenge) = (field(&visit, "redirect_uri"), field(&visit, "code_challenge"));
    if loopback(redirect_uri).is_none() {
        return Err(err!(InputParameter, "redirect_uri must be of the form http://127.0.0.1:<port>/<path>"));
    }
    if field(&visit, "code_challenge_method") != "S256" || challenge.len() != 43 {
        return Err(err!(InputParameter, "code_challenge of the method S256 is missing"));
    }
    let door = json!({"kind": "browser", "redirect_uri": redirect_uri, "state": field(&visit, "state"), "challenge": challenge});
    enter(desk, &door).await
}

/// Somebody who was told a code.
async fn device(desk: &Desk, visit: Visit) -> Reply {
    let code = tokens::plain(field(&visit, "user_code"));
    if code.is_empty() {
        return Ok(page::code(visit.request.lang, &format!("{}/device", path(&desk.state)?), ""));
    }
    // Whether there is such a code is told only to somebody who has logged in.
    enter(desk, &json!({"kind": "device", "user_code": code})).await
}

async fn enter(desk: &Desk, door: &Json) -> Reply {
    let id = web::random(18)?;
    pending::put(&desk.state, "door", &id, door, WAIT).await?;
    Ok(see(&format!("{}?d={id}", path(&desk.state)?)))
}

/// The page of a door: log in, or let in.
async fn door(desk: &Desk, visit: Visit) -> Reply {
    let (state, lang) = (&desk.state, visit.request.lang);
    let id = field(&visit, "d").to_string();
    let Some(door) = pending::look(state, "door", &id).await? else { return Ok(page::too_late(lang)) };
    let session = Session::of(state, &visit.request).await?;
    if session.user.is_empty() {
        return login_page(desk, &visit, &session, &id, "").await;
    }
    let base = path(state)?;
    let form = Form { base: &base, door: &id, csrf: &session.csrf(state) };
    if door["kind"] == "browser" {
        let beyond = loopback(door["redirect_uri"].as_str().unwrap_or_default()).unwrap_or_default();
        return Ok(session.keep(state, page::approve(lang, &form, &session.user, "", "", &beyond)));
    }
    let code = door["user_code"].as_str().unwrap_or_default();
    match pending::look(state, "door-user", code).await? {
        None => Ok(session.keep(state, page::code(lang, &format!("{base}/device"), page::unknown_code(lang)))),
        Some(asked) => {
            let from = asked["from"].as_str().unwrap_or_default();
            Ok(session.keep(state, page::approve(lang, &form, &session.user, &tokens::shown(code), from, "")))
        }
    }
}

async fn login_page(desk: &Desk, visit: &Visit, session: &Session, door: &str, error: &str) -> Reply {
    let state = &desk.state;
    let usable = Cond::eq("is_sso", true).and(Cond::eq("enabled", true)).and(Cond::eq("deleted", false)).and(Cond::ne("driver", "saml"));
    let rows = state.db.read().find(IdentityProvider::facts(), usable).await?;
    let mut providers: Vec<(String, String)> = rows.iter().map(|r| (r.id().to_string(), r.name().to_string())).collect();
    providers.sort_by(|a, b| a.1.cmp(&b.1));
    let base = path(state)?;
    let form = Form { base: &base, door, csrf: &session.csrf(state) };
    Ok(session.keep(state, page::login(visit.request.lang, &form, &providers, error)))
}

/// The session of a form, when the form came from one of its pages.
async fn of_form(desk: &Desk, visit: &Visit) -> Result<Session> {
    let session = Session::of(&desk.state, &visit.request).await?;
    let elsewhere = visit.request.header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    if elsewhere || !session.known || field(visit, "csrf") != session.csrf(&desk.state) {
        return Err(err!(Forbidden, "this form is not of a page that was opened here, or the page is too old; open it again"));
    }
    Ok(session)
}

/// A token request of the door, written down as any other.
async fn issue(desk: &Desk, visit: &Visit, identity: Identity) -> Result<login::Issued> {
    let auth = Auth { identity, scope: None, context: AuthContext { source: "web".into(), ..AuthContext::default() } };
    let issued = login::issue(&desk.state, &auth, visit.request.peer).await;
    if !matches!(&issued, Err(e) if e.class() == base::Class::TooManyRequests) {
        trail::login(&desk.state, &visit.ctx, &auth, visit.request.peer, &issued).await?;
    }
    issued
}

async fn password(desk: &Desk, visit: Visit) -> Reply {
    let session = of_form(desk, &visit).await?;
    let (door, passcode) = (field(&visit, "d").to_string(), field(&visit, "passcode").trim());
    let user = PasswordUser {
        name: field(&visit, "user").to_string(),
        password: Secret::new(field(&visit, "password")),
        domain: Which::named(field(&visit, "domain").trim()),
        ..PasswordUser::default()
    };
    let mut identity = Identity { methods: vec!["password".into()], password: Some(PasswordMethod { user }), ..Identity::default() };
    if !passcode.is_empty() {
        identity.methods.push("totp".into());
        identity.totp = Some(TotpMethod { user: TotpUser { passcode: Secret::new(passcode), ..TotpUser::default() } });
    }
    match issue(desk, &visit, identity).await {
        Ok(issued) => logged_in(desk, session, issued, &door).await,
        Err(e) if e.class().http() < 500 => {
            let told = http::i18n::message(&e, visit.request.lang);
            Ok(login_page(desk, &visit, &session, &door, &told).await?.with_status(StatusCode::UNAUTHORIZED))
        }
        Err(e) => Err(e),
    }
}

/// The browser is somebody's from now on, under a new number: whoever knew the old one knows nothing.
async fn logged_in(desk: &Desk, old: Session, issued: login::Issued, door: &str) -> Reply {
    let state = &desk.state;
    let user = format!("{} ({})", issued.subject.user.name, issued.subject.user.domain.name);
    let session = old.renew(state, &user, &issued.token).await?;
    Ok(session.keep(state, see(&format!("{}?d={}", path(state)?, http::path::encode(door)))))
}

/// To a provider, with the way back.
async fn away(desk: &Desk, visit: Visit) -> Reply {
    let state = &desk.state;
    let (door, word) = (field(&visit, "d").to_string(), web::random(24)?);
    let session = Session::of(state, &visit.request).await?;
    let which = visit.request.param("provider").to_string();
    let row = state.db.read().one(IdentityProvider::facts(), &which).await?.filter(|r| !r.flag("deleted"));
    let row = row.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "identity_provider", which))?;
    let (driver, provider) = sso::open(state, crate::provider::external::enabled(row)?)?;
    let mut redirect_uri = format!("{}/callback", address(state)?);
    if driver.name() == "cas" {
        // CAS brings nothing back but what is in the address.
        redirect_uri = web::with_query(&redirect_uri, &[("state", &word)]);
    }
    let begin = sso::Begin { redirect_uri: redirect_uri.clone(), state: word.clone(), bound: true };
    let uri = driver.begin(state, &provider, &begin).await?;
    let data = json!({"provider": which, "driver": driver.name(), "door": door, "session": session.number, "redirect_uri": redirect_uri});
    pending::put(state, "door-sso", &word, &data, pending::PATIENCE).await?;
    Ok(session.keep(state, see(&uri)))
}

/// From a provider.
async fn back(desk: &Desk, visit: Visit) -> Reply {
    let (state, lang) = (&desk.state, visit.request.lang);
    let word = field(&visit, "state").to_string();
    let Some(begun) = pending::take(state, "door-sso", &word).await? else { return Ok(page::too_late(lang)) };
    let session = Session::of(state, &visit.request).await?;
    let text = |key: &str| begun[key].as_str().unwrap_or_default().to_string();
    // Begun by another browser: somebody would log others in as himself.
    if !session.known || session.number != text("session") {
        return Ok(page::too_late(lang));
    }
    let refused = field(&visit, "error");
    if !refused.is_empty() {
        let short: String = refused.chars().take(100).collect();
        let told = err!(InvalidCredential, "the identity provider {} refuses the login: {}; begin it again", text("provider"), short);
        return login_page(desk, &visit, &session, &text("door"), &http::i18n::message(&told, lang)).await;
    }
    let driver = text("driver");
    let mut identity = Identity { methods: vec![driver.clone()], id: text("provider"), ..Identity::default() };
    let code = || CodeMethod { code: Secret::new(field(&visit, "code")), redirect_uri: text("redirect_uri"), state: word.clone() };
    match driver.as_str() {
        "oidc" => identity.oidc_auth = Some(code()),
        "oauth2" => identity.oauth2 = Some(code()),
        _ => identity.cas_ticket = Some(CasMethod { id: Secret::new(field(&visit, "ticket")), service: text("redirect_uri") }),
    }
    match issue(desk, &visit, identity).await {
        Ok(issued) => logged_in(desk, session, issued, &text("door")).await,
        Err(e) if e.class().http() < 500 => {
            let told = http::i18n::message(&e, lang);
            Ok(login_page(desk, &visit, &session, &text("door"), &told).await?.with_status(StatusCode::UNAUTHORIZED))
        }
        Err(e) => Err(e),
    }
}

/// Let in, or not.
async fn decide(desk: &Desk, visit: Visit) -> Reply {
    let (state, lang) = (&desk.state, visit.request.lang);
    let session = of_form(desk, &visit).await?;
    if session.token.is_empty() {
        return Ok(page::too_late(lang));
    }
    let Some(door) = pending::take(state, "door", field(&visit, "d")).await? else { return Ok(page::too_late(lang)) };
    let allow = field(&visit, "decision") == "allow";
    let text = |key: &str| door[key].as_str().unwrap_or_default().to_string();
    if door["kind"] == "browser" {
        let answer = tokens::for_browser(state, &door, allow.then_some(session.token.as_str())).await?;
        return Ok(see(&answer));
    }
    let Some(asked) = pending::take(state, "door-user", &text("user_code")).await? else { return Ok(page::too_late(lang)) };
    tokens::for_device(state, &asked, allow.then_some(session.token.as_str())).await?;
    Ok(if allow { page::allowed(lang) } else { page::denied(lang) })
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses_of_command_lines() {
        for (uri, origin) in [
            ("http://127.0.0.1:4000/", Some("http://127.0.0.1:4000")),
            ("http://127.0.0.1:4000/callback", Some("http://127.0.0.1:4000")),
            ("http://127.0.0.1:4000", None),
            ("http://127.0.0.1:0/", None),
            ("http://127.0.0.1:4000@evil.example/", None),
            ("http://127.0.0.1:4000/?x", None),
            ("http://127.0.0.1:4000/a;b", None),
            ("http://localhost:4000/", None),
            ("https://127.0.0.1:4000/", None),
            ("http://127.0.0.1.evil.example:4000/", None),
        ] {
            assert_eq!(super::loopback(uri).as_deref(), origin, "{uri}");
        }
    }
}
