//! Logging in at an identity provider (spec 03 §2.1). The identity service knows providers and judges what they say; here a browser is sent there
//! and received again.
//!
//! ```text
//! GET sso/redirect/{idp} ─▶ the provider ─▶ GET or POST ssologin ─▶ token ─▶ session ─▶ /auth?result=success
//! ```
//!
//! A SAML provider that takes requests by form only is sent to by a page that posts itself.
//!
//! What was begun travels sealed in a cookie of five minutes, so that a login ends in the browser it began in. A user who is logged in can have the
//! subject at a provider linked to himself (`linkuser=true`): he showed both.

use super::{enter, form::Form, object, text};
use crate::{Gateway, cookie, session::Opening};
use api_identity::{Auth, AuthContext, AuthRequest, CasMethod, CodeMethod, Identity, Issued, SamlMethod, Secret};
use base::{Class, Error, Json, Result, err};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Method, Query, Reply, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A login at a provider takes at most so long, seconds.
const PATIENCE: i64 = 300;
/// Longest text of an error in an address, characters.
const LONGEST: usize = 300;

/// What a browser carries while its user is at a provider.
#[derive(Serialize, Deserialize)]
struct Away {
    /// So that nothing else that was sealed is taken for this.
    sso: bool,
    idp: String,
    driver: String,
    state: String,
    /// The address the provider sends to, word for word.
    redirect_uri: String,
    /// Who is to be linked; empty for a login.
    link: String,
    /// A page of the console that the user wanted to see.
    onward: String,
    until: i64,
}

/// `GET sso/redirect/{idp}?linkuser=true`: to the provider.
pub async fn away(gateway: &Gateway, request: Request) -> Reply {
    match begin(gateway, &request).await {
        Ok((away, way)) => {
            let sealed = gateway.sessions.seal().close(&serde_json::to_string(&away).map_err(Error::internal)?)?;
            let there = match &way {
                Way::To(uri) => see(uri),
                Way::Post(form) => form.page(),
            };
            Ok(cookie::carry(gateway, &request, there, &sealed, away.driver == "saml", PATIENCE))
        }
        Err(e) => failed(gateway, &request, e, false),
    }
}

/// How a browser gets to a provider.
enum Way {
    To(String),
    Post(Form),
}

async fn begin(gateway: &Gateway, request: &Request) -> Result<(Away, Way)> {
    gateway.throttle.take(request.peer)?;
    let linking = ["linkuser", "link_user"].iter().any(|key| request.query.flag(key).unwrap_or(false));
    let idp = row(gateway, request.param("idp")).await?;
    let driver = idp["driver"].as_str().unwrap_or_default().to_string();
    let link = match linking {
        true => {
            // Another site's page could have brought its own user to the provider before.
            gateway.same_origin(request)?;
            let session = gateway.session(request).await?;
            if !session.factor.open() {
                return Err(err!(InvalidCredential, "No token in header: TOTP authentication failed; show a one-time password first"));
            }
            if idp["auto_create_user"] == Json::Bool(true) {
                return Err(err!(
                    NotAcceptable,
                    "the identity provider {} makes users by itself; an administrator can link you to it (link-idp)",
                    idp["name"].as_str().unwrap_or_default()
                ));
            }
            session.user_id
        }
        false => String::new(),
    };
    let back = match gateway.options.sso_redirect_url.as_str() {
        "" => format!("{}/api/v1/auth/ssologin", gateway.url),
        set => set.to_string(),
    };
    let mut query = format!("redirect_uri={}", http::path::encode(&back));
    // The identity service makes its own state where it can, and looks for it when the browser is back.
    if matches!(driver.as_str(), "cas" | "saml") {
        let mut bytes = [0u8; 24];
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        query += &format!("&state={}", URL_SAFE_NO_PAD.encode(bytes));
    }
    let ask = |what: &str| format!("/identity_providers/{}/{what}?{query}", segment(&idp["id"]));
    let told = gateway.services.own(Method::GET, &ask("sso-redirect-uri"), None).await;
    let (way, redirect_uri, state) = match told {
        // By form only.
        Err(e) if driver == "saml" && e.class() == Class::InvalidIdpStatus => {
            // Where it has no form either, the first refusal tells more.
            let told = gateway.services.own(Method::GET, &ask("saml-request"), None).await.map_err(|_| e)?;
            let form = Form::of(&told["identity_provider"])?;
            let state = form.relay_state.clone();
            (Way::Post(form), back, Some(state))
        }
        told => {
            let uri = told?["identity_provider"]["uri"].as_str().unwrap_or_default().to_string();
            let (redirect_uri, state) = carried_by(&driver, &uri, back);
            let state = state.filter(|_| uri.len() <= 8192);
            (Way::To(uri), redirect_uri, state)
        }
    };
    let state = state.filter(|s| !s.is_empty());
    let state = state.ok_or_else(|| Error::internal(format!("no state on the way to the identity provider {}", idp["name"])))?;
    let until = gateway.clock.now().plus_secs(PATIENCE).micros();
    let idp = idp["id"].as_str().unwrap_or_default().to_string();
    Ok((Away { sso: true, idp, driver, state, redirect_uri, link, onward: onward(gateway, request), until }, way))
}

/// The address that a provider sends back to, and the state it brings along, by the address the browser is sent to.
fn carried_by(driver: &str, uri: &str, back: String) -> (String, Option<String>) {
    let within = |url: &str, key: &str| {
        let query = Query::parse(url.split_once('?').map_or("", |(_, query)| query)).ok()?;
        query.text(key).map(str::to_string)
    };
    match driver {
        "saml" => (back, within(uri, "RelayState")),
        // What it brings back stands in the address it was given.
        "cas" => {
            let service = within(uri, "service").unwrap_or_default();
            let state = within(&service, "state");
            (service, state)
        }
        _ => (back, within(uri, "state")),
    }
}

fn segment(value: &Json) -> String {
    http::path::encode(value.as_str().unwrap_or_default())
}

async fn row(gateway: &Gateway, which: &str) -> Result<Json> {
    let mut answer = gateway.services.own(Method::GET, &format!("/identity_providers/{}", http::path::encode(which)), None).await?;
    Ok(answer["identity_provider"].take())
}

/// Where the user wanted to go: a path of the console's, nothing of anybody else's.
fn onward(gateway: &Gateway, request: &Request) -> String {
    let key = gateway.options.login_callback_param.as_str();
    let asked = request.query.text("to").or_else(|| request.query.text(key)).unwrap_or_default();
    let own = asked.strip_prefix(&gateway.url).filter(|rest| rest.starts_with('/')).unwrap_or(asked);
    let plain =
        own.starts_with('/') && !own.starts_with("//") && own.len() <= 512 && own.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if plain { own.to_string() } else { String::new() }
}

fn see(url: &str) -> Response {
    Response::new(StatusCode::FOUND).with_header("location", url)
}

/// A page of the console with more parameters.
fn page(gateway: &Gateway, set: &str, default: &str, pairs: &[(&str, &str)]) -> String {
    let base = if set.is_empty() { format!("{}{default}", gateway.url) } else { set.to_string() };
    let query: Vec<String> = pairs.iter().map(|(k, v)| format!("{}={}", http::path::encode(k), http::path::encode(v))).collect();
    let mark = if base.contains('?') { '&' } else { '?' };
    format!("{base}{mark}{}", query.join("&"))
}

/// A person is looking: refusals are told on the page that he came from.
fn failed(gateway: &Gateway, request: &Request, error: Error, link: bool) -> Reply {
    let options = &gateway.options;
    match error.class() {
        Class::Internal => tracing::error!(cause = error.context(), "login at an identity provider: {error}"),
        class => {
            tracing::info!(class = class.name(), cause = error.context(), peer = ?request.peer, "login at an identity provider: {error}")
        }
    }
    let details: String = http::i18n::message(&error, request.lang).chars().take(LONGEST).collect();
    let pairs = [("result", "error"), ("error_class", error.class().name()), ("error_details", &details)];
    let to = match (link, error.class()) {
        (true, _) => page(gateway, &options.sso_link_callback_url, "/profile", &pairs),
        (false, Class::UserNotFound) if !options.sso_user_not_found_callback_url.is_empty() => {
            page(gateway, &options.sso_user_not_found_callback_url, "", &pairs)
        }
        (false, _) => page(gateway, &options.sso_auth_callback_url, "/auth", &pairs),
    };
    Ok(cookie::carry(gateway, request, see(&to), "", false, 0))
}

/// `GET|POST ssologin[/{idp}]`: from the provider.
pub async fn back(gateway: &Gateway, request: Request) -> Reply {
    let mut link = false;
    match finish(gateway, &request, &mut link).await {
        Ok(response) => Ok(cookie::carry(gateway, &request, response, "", false, 0)),
        Err(e) => failed(gateway, &request, e, link),
    }
}

fn begun(gateway: &Gateway, request: &Request) -> Result<Away> {
    let over = || err!(InvalidCredential, "this login was not begun in this browser, or took too long; begin it again");
    let sealed = cookie::carried(request).filter(|s| !s.is_empty()).ok_or_else(over)?;
    let opened = gateway.sessions.seal().open(sealed).map_err(|_| over())?;
    let away: Away = serde_json::from_str(&opened).map_err(|_| over())?;
    let fresh = away.sso && gateway.clock.now().micros() < away.until;
    let state = ["state", "RelayState"].iter().find_map(|key| request.query.text(key)).unwrap_or_default();
    if fresh && state == away.state { Ok(away) } else { Err(over()) }
}

async fn finish(gateway: &Gateway, request: &Request, link: &mut bool) -> Reply {
    gateway.throttle.take(request.peer)?;
    let field = |name: &str| request.query.text(name).unwrap_or_default();
    let away = match (request.param("idp"), cookie::carried(request)) {
        // Begun at the provider: only SAML knows that, and the identity service decides whether it is wanted.
        (idp, None) if !idp.is_empty() && !field("SAMLResponse").is_empty() => {
            let idp = idp.to_string();
            let nothing = String::new;
            let driver = "saml".to_string();
            Away { sso: true, idp, driver, state: nothing(), redirect_uri: nothing(), link: nothing(), onward: nothing(), until: 0 }
        }
        _ => begun(gateway, request)?,
    };
    *link = !away.link.is_empty();
    let refused = field("error");
    if !refused.is_empty() {
        let short: String = refused.chars().take(100).collect();
        return Err(err!(InvalidCredential, "the identity provider {} refuses the login: {}; begin it again", away.idp, short));
    }
    let address = request.peer.map(|ip| ip.to_string()).unwrap_or_default();
    let issued = gateway.services.client().issue(&by_provider(&away, &field, &address)).await;
    if *link {
        return linked(gateway, &away, issued).await;
    }
    let issued = issued?;
    gateway.throttle.give_back(request.peer);
    gateway.throttle.give_back(request.peer);
    let (unscoped, _) = enter::admitted(gateway, issued).await?;
    let opening = Opening { provider: away.driver.clone(), ..enter::establish(gateway, unscoped, "", address).await? };
    let old = match cookie::session(gateway, request) {
        Some(value) => gateway.sessions.find(&value).await?,
        None => None,
    };
    let opened = gateway.sessions.open(opening, old.as_ref()).await?;
    let session = &opened.session;
    tracing::info!(user = session.user, address = session.address, provider = away.idp, "console login");
    let mut pairs = vec![("result", "success")];
    if !away.onward.is_empty() {
        pairs.push(("to", away.onward.as_str()));
        pairs.push((gateway.options.login_callback_param.as_str(), away.onward.as_str()));
    }
    let to = page(gateway, &gateway.options.sso_auth_callback_url, "/auth", &pairs);
    let response = enter::welcome(gateway, request, &serde_json::Map::new(), session, &opened.value)?;
    Ok(response.with_status(StatusCode::FOUND).with_header("location", &to))
}

/// The token request for what a provider gave the browser.
fn by_provider<'a>(away: &Away, field: &dyn Fn(&str) -> &'a str, address: &str) -> AuthRequest {
    let mut identity = Identity { methods: vec![away.driver.clone()], id: away.idp.clone(), ..Identity::default() };
    let code = || CodeMethod { code: Secret::new(field("code")), redirect_uri: away.redirect_uri.clone(), state: away.state.clone() };
    match away.driver.as_str() {
        "oidc" => identity.oidc_auth = Some(code()),
        "oauth2" => identity.oauth2 = Some(code()),
        "saml" => identity.saml_auth = Some(SamlMethod { response: Secret::new(field("SAMLResponse")) }),
        _ => identity.cas_ticket = Some(CasMethod { id: Secret::new(field("ticket")), service: away.redirect_uri.clone() }),
    }
    AuthRequest { auth: Auth { identity, scope: None, context: AuthContext { source: "web".into(), ip: address.into() } } }
}

/// Links who came from the provider to the user who went there: nobody knew him, and the identity service says how he is called there.
async fn linked(gateway: &Gateway, away: &Away, issued: Result<Issued>) -> Reply {
    match issued {
        Ok(issued) => {
            enter::revoke(gateway, &issued.token).await;
            if issued.subject.user.id != away.link {
                return Err(err!(Conflict, "at this identity provider you are the user {} already", issued.subject.user.name));
            }
        }
        Err(e) if e.class() == Class::UserNotFound && e.template().contains("link-idp") => {
            let subject = e.args().get(1).cloned().unwrap_or_default();
            let body = json!({"user": {"idp_id": away.idp, "idp_entity_id": subject}});
            let path = format!("/users/{}/link-idp", http::path::encode(&away.link));
            gateway.services.own(Method::POST, &path, Some(body)).await?;
            tracing::info!(user = away.link, provider = away.idp, subject, "a user linked himself to an identity provider");
        }
        Err(e) => return Err(e),
    }
    Ok(see(&page(gateway, &gateway.options.sso_link_callback_url, "/profile", &[("result", "success")])))
}

/// `POST unlink-idp {"idp_id", "idp_entity_id"?}`: the user's own link. His tokens are void with it.
pub async fn unlink(gateway: &Gateway, request: Request) -> Reply {
    let mut visit = gateway.enter(request).await?;
    let body = object(&mut visit.request).await?;
    let idp = text(&body, "idp_id");
    if idp.is_empty() {
        return Err(err!(MissingParameter, "{} is missing", "idp_id"));
    }
    let path = format!("/users/{}/unlink-idp", http::path::encode(&visit.session.user_id));
    let what = json!({"user": {"idp_id": idp, "idp_entity_id": text(&body, "idp_entity_id")}});
    gateway.services.own(Method::POST, &path, Some(what)).await?;
    gateway.sessions.close_all(&visit.session.user_id).await?;
    Ok(cookie::take(gateway, &visit.request, Response::json(&json!({}))))
}

/// `GET idp/{idp}/info`: what to register there.
pub async fn info(gateway: &Gateway, request: Request) -> Reply {
    about(gateway, request, "sso-callback-uri").await
}

/// `GET idp/{idp}/saml-metadata`
pub async fn metadata(gateway: &Gateway, request: Request) -> Reply {
    about(gateway, request, "saml-metadata").await
}

/// Asked with the user's own rights.
async fn about(gateway: &Gateway, request: Request, what: &str) -> Reply {
    let visit = gateway.enter(request).await?;
    let own = format!("{}/api/v1/auth/ssologin", gateway.url);
    let back = visit.request.query.text("redirect_uri").unwrap_or(if gateway.options.sso_redirect_url.is_empty() {
        &own
    } else {
        &gateway.options.sso_redirect_url
    });
    let path = format!("/identity_providers/{}/{what}", http::path::encode(visit.request.param("idp")));
    let call = gateway.services.identity(Method::GET, &path).ctx(&visit.ctx).query("redirect_uri", back);
    let call = if visit.request.query.flag("pretty").unwrap_or(false) { call.query("pretty", "true") } else { call };
    let mut answer = call.send().await?.json().await?;
    Ok(Response::json(&answer["identity_provider"].take()))
}
