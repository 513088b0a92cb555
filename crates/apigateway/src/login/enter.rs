//! Logging in, changing the project, logging out (spec 03 §2.3).

use super::{object, secret, text};
use crate::{
    Gateway, captcha, cookie,
    door::failure,
    session::{Factor, Held, Opening, Session},
    throttle,
};
use api_identity::{
    Auth, AuthContext, AuthRequest, Identity, Issued, PasswordMethod, PasswordUser, ScopeProject, ScopeWish, Secret, Subject, TokenMethod,
    TotpMethod, TotpUser, Which,
};
use base::{Class, Error, Json, Result, Scope, Timestamp, err};
use http::{Method, Reply, Request, Response, StatusCode};
use std::net::IpAddr;

/// A password waits so long for its one-time password, seconds.
const PATIENCE: i64 = 300;

/// Who wants to come in.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub user: String,
    pub password: String,
    pub domain: String,
    /// Chosen beforehand; empty for the best one.
    pub project: String,
    pub passcode: String,
}

pub async fn login(gateway: &Gateway, mut request: Request) -> Reply {
    gateway.not_foreign(&request)?;
    let body = object(&mut request).await?;
    if !text(&body, "tenantId").is_empty() {
        return switch(gateway, request, &body).await;
    }
    if text(&body, "username").is_empty() {
        return Err(err!(MissingParameter, "{} is missing", "username"));
    }
    gateway.throttle.take(request.peer)?;
    if let Some(refusal) = captcha::demand(gateway, &request, &body).await? {
        return Ok(refusal);
    }
    let name = text(&body, "username");
    // `project/user` chooses the project beforehand.
    let (project, user) = name.rsplit_once('/').map_or((String::new(), name.clone()), |(p, u)| (p.to_string(), u.to_string()));
    let passcode = text(&body, "passcode");
    let wish = Wish { user, password: secret(&body, "password"), domain: text(&body, "domain"), project, passcode };
    let opening = match open(gateway, &wish, request.peer).await {
        Ok(opening) => opening,
        Err(e) => {
            if e.class().http() < 500 {
                gateway.failures.note(&throttle::block(request.peer));
            }
            return refused(e, &request);
        }
    };
    gateway.throttle.give_back(request.peer);
    // Whatever session the browser brought is over: a value that somebody planted before the login opens nothing after it.
    let old = match cookie::session(gateway, &request) {
        Some(value) => gateway.sessions.find(&value).await?,
        None => None,
    };
    let opened = gateway.sessions.open(opening, old.as_ref()).await?;
    tracing::info!(user = opened.session.user, address = opened.session.address, "console login");
    welcome(gateway, &request, &body, &opened.session, &opened.value)
}

/// An empty answer with cookies.
pub(super) fn welcome(gateway: &Gateway, request: &Request, body: &serde_json::Map<String, Json>, session: &Session, value: &str) -> Reply {
    let mut response = cookie::give(gateway, request, Response::text(""), session, value);
    let life = session.expires.since(gateway.clock.now()).max(0) / 1_000_000;
    let mut put = |name: &str, value: &str| {
        let taken = std::mem::replace(&mut response, Response::new(StatusCode::OK));
        response = cookie::put(gateway, request, taken, name, value, Some(life));
    };
    if let Ok(claims) = gateway.verifier.verify(&session.token) {
        put("tenant", &claims.caller.project_id);
        let wanted = text(body, "scope");
        if !wanted.is_empty() {
            let widest = widest(gateway, &claims.caller, request.peer);
            let scope = Scope::parse(&wanted).filter(|s| *s <= widest).unwrap_or(Scope::Project);
            put("scope", scope.name());
        }
    }
    for name in ["domain", "isadmin"] {
        let value = text(body, name);
        if body.contains_key(name) && value.len() <= 256 && !value.chars().any(char::is_control) {
            put(name, &value);
        }
    }
    Ok(response)
}

/// How far a caller's rights reach: what a console asks before it offers a view.
pub fn widest(gateway: &Gateway, caller: &base::Caller, peer: Option<IpAddr>) -> Scope {
    let asks = [("compute", "servers"), ("identity", "projects"), ("identity", "users"), ("image", "images")];
    let of = |(service, resource): (&str, &str)| {
        gateway.gate.widest(caller, peer, &resource::Ask { service, resource, action: "list", extra: &[] })
    };
    asks.into_iter().map(of).max().unwrap_or(Scope::None)
}

/// From a wish to what a session begins with.
pub async fn open(gateway: &Gateway, wish: &Wish, peer: Option<IpAddr>) -> Result<Opening> {
    let address = peer.map(|ip| ip.to_string()).unwrap_or_default();
    let unscoped = match gateway.services.client().issue(&by_password(wish, &address)).await {
        // The password was right: the one-time password is asked for next, and the password kept for it.
        Err(e) if e.class() == Class::SecondFactorRequired => return wait(gateway, wish, address).await,
        outcome => outcome?,
    };
    let (unscoped, user) = admitted(gateway, unscoped).await?;
    let shown = unscoped.subject.methods.iter().any(|m| m == "totp") || !wish.passcode.is_empty();
    let wanted = gateway.options.enable_totp && user["enable_mfa"] == Json::Bool(true);
    let factor = match (shown, wanted) {
        (true, _) => Factor::Shown,
        (false, true) => Factor::Wanted,
        (false, false) => Factor::Off,
    };
    // To set a factor up the identity service asks for the password again.
    let held = (factor == Factor::Wanted).then(|| held(wish, gateway.clock.now()));
    let opening = establish(gateway, unscoped, &wish.project, address).await?;
    Ok(Opening { factor, held, ..opening })
}

/// A user who may be here at all, with his row.
pub async fn admitted(gateway: &Gateway, unscoped: Issued) -> Result<(Issued, Json)> {
    let path = format!("/users/{}", http::path::encode(&unscoped.subject.user.id));
    let user = gateway.services.own(Method::GET, &path, None).await?["user"].take();
    if user["allow_web_console"] == Json::Bool(false) {
        revoke(gateway, &unscoped.token).await;
        return Err(err!(Forbidden, "the user {} may not use the web console; an administrator can allow it", unscoped.subject.user.name));
    }
    Ok((unscoped, user))
}

/// What a session begins with: the token of a project, as far as there is one.
pub async fn establish(gateway: &Gateway, unscoped: Issued, project: &str, address: String) -> Result<Opening> {
    let issued = match choose(&unscoped.subject, project)? {
        Some(project) => rescope(gateway, &unscoped.token, &project, &address).await?,
        // Without a project there is nothing to do but to be given one.
        None => unscoped,
    };
    Ok(Opening {
        user_id: issued.subject.user.id.clone(),
        user: issued.subject.user.name.clone(),
        expires: Timestamp::parse(&issued.subject.expires_at).unwrap_or(gateway.clock.now()),
        token: issued.token,
        factor: Factor::Off,
        held: None,
        address,
        provider: String::new(),
    })
}

fn held(wish: &Wish, now: Timestamp) -> Held {
    let until = now.plus_secs(PATIENCE).micros();
    Held { password: wish.password.clone(), domain: wish.domain.clone(), project: wish.project.clone(), until }
}

async fn wait(gateway: &Gateway, wish: &Wish, address: String) -> Result<Opening> {
    let name = http::path::encode(&wish.user);
    let domain = if wish.domain.is_empty() { String::new() } else { format!("&domain={}", http::path::encode(&wish.domain)) };
    let found = gateway.services.own(Method::GET, &format!("/users?scope=system&details=false&limit=2&name={name}{domain}"), None).await?;
    let user = found["users"].as_array().filter(|u| u.len() == 1).map(|u| &u[0]);
    let user = user.ok_or_else(|| err!(InvalidCredential, "choose the domain of the user {}", wish.user))?;
    let now = gateway.clock.now();
    Ok(Opening {
        user_id: user["id"].as_str().unwrap_or_default().to_string(),
        user: user["name"].as_str().unwrap_or_default().to_string(),
        token: String::new(),
        factor: Factor::Asked,
        held: Some(held(wish, now)),
        address,
        expires: now.plus_secs(PATIENCE),
        provider: String::new(),
    })
}

pub(super) fn by_password(wish: &Wish, address: &str) -> AuthRequest {
    let domain = if wish.domain.is_empty() { Which::default() } else { Which::named(&wish.domain) };
    let user = PasswordUser { name: wish.user.clone(), password: Secret::new(wish.password.clone()), domain, ..PasswordUser::default() };
    let mut identity = Identity { methods: vec!["password".into()], password: Some(PasswordMethod { user }), ..Identity::default() };
    if !wish.passcode.is_empty() {
        identity.methods.push("totp".into());
        let user = TotpUser { passcode: Secret::new(wish.passcode.clone()), ..TotpUser::default() };
        identity.totp = Some(TotpMethod { user });
    }
    AuthRequest { auth: Auth { identity, scope: None, context: AuthContext { source: "web".into(), ip: address.into() } } }
}

/// The project to begin in: the one that was named, else where the user's rights reach farthest, else the first.
fn choose(subject: &Subject, named: &str) -> Result<Option<String>> {
    if !named.is_empty() {
        let found = subject.projects.iter().find(|p| p.name == named || p.id == named);
        return found.map(|p| Some(p.id.clone())).ok_or_else(|| err!(InvalidCredential, "the user has no project {}", named));
    }
    let reach = |project: &str| {
        let of = |a: &&api_identity::Assigned| a.scope.project.as_ref().is_some_and(|p| p.id == project);
        let policies = subject.role_assignments.iter().filter(of).filter_map(|a| a.policies.as_ref());
        policies
            .map(|p| match (p.system.is_empty(), p.domain.is_empty(), p.project.is_empty()) {
                (false, ..) => Scope::System,
                (_, false, _) => Scope::Domain,
                (.., false) => Scope::Project,
                _ => Scope::None,
            })
            .max()
            .unwrap_or(Scope::None)
    };
    // The first of the widest: `max_by_key` alone would take the last.
    let best = subject.projects.iter().enumerate().max_by_key(|(i, p)| (reach(&p.id), std::cmp::Reverse(*i)));
    Ok(best.map(|(_, p)| p.id.clone()))
}

async fn rescope(gateway: &Gateway, token: &str, project: &str, address: &str) -> Result<Issued> {
    let identity = Identity { methods: vec!["token".into()], token: Some(TokenMethod { id: Secret::new(token) }), ..Identity::default() };
    let scope = ScopeWish::Project(ScopeProject { id: project.into(), ..ScopeProject::default() });
    let context = AuthContext { source: "web".into(), ip: address.into() };
    gateway.services.client().issue(&AuthRequest { auth: Auth { identity, scope: Some(scope), context } }).await
}

pub(super) async fn revoke(gateway: &Gateway, token: &str) {
    if let Err(e) = gateway.services.client().revoke(token).await {
        tracing::warn!(error = %e, cause = e.context(), "a token could not be revoked; it ends by itself");
    }
}

/// What a failed login is answered: nobody learns who exists.
fn refused(error: Error, request: &Request) -> Reply {
    tracing::info!(class = error.class().name(), peer = ?request.peer, "console login refused");
    match error.class() {
        Class::WrongPassword | Class::UserNotFound => {
            let error = err!(WrongPassword, "wrong user name or password");
            let mut body = http::error_body::body(&error, request.lang, &request.request_id);
            // A class of its own on this path only (spec 03 §2.3).
            body["class"] = "IncorrectUsernameOrPassword".into();
            Ok(Response::json(&body).with_status(StatusCode::UNAUTHORIZED))
        }
        Class::Conflict | Class::DuplicateName | Class::DuplicateResource | Class::UserLocked | Class::UserDisabled | Class::Forbidden => {
            Err(error)
        }
        Class::TooManyFailedAttempts | Class::TooManyRequests | Class::InputParameter => Err(error),
        c if c.http() >= 500 => Err(error),
        _ => {
            let mut answer = failure(&error, &request.request_id, request.lang);
            if error.class() != Class::InvalidCredential {
                let mut body = http::error_body::body(&error, request.lang, &request.request_id);
                body["class"] = Class::InvalidCredential.name().into();
                answer = Response::json(&body);
            }
            Ok(answer.with_status(StatusCode::UNAUTHORIZED))
        }
    }
}

/// Another project for the same user: `{tenantId, scope?}`.
async fn switch(gateway: &Gateway, request: Request, body: &serde_json::Map<String, Json>) -> Reply {
    let visit = gateway.enter(request).await?;
    let old = &visit.session;
    let issued = rescope(gateway, &old.token, &text(body, "tenantId"), &old.address).await;
    let issued = issued.map_err(|e| match e.class() {
        c if c.http() >= 500 => e,
        _ => err!(Forbidden, "you cannot work in project {}", text(body, "tenantId")).with_context(&e),
    })?;
    let opening = Opening {
        user_id: old.user_id.clone(),
        user: old.user.clone(),
        expires: Timestamp::parse(&issued.subject.expires_at).unwrap_or(old.expires),
        token: issued.token,
        factor: old.factor,
        held: None,
        address: old.address.clone(),
        provider: old.provider.clone(),
    };
    let opened = gateway.sessions.open(opening, Some(old)).await?;
    welcome(gateway, &visit.request, body, &opened.session, &opened.value)
}

pub async fn logout(gateway: &Gateway, request: Request) -> Reply {
    // Also by GET, as links do it: then not from other sites' pictures.
    if request.header("sec-fetch-site").is_some_and(|s| s == "cross-site") {
        gateway.same_origin(&request)?;
    }
    match gateway.session(&request).await {
        Ok(session) => {
            gateway.sessions.close(&session.id).await?;
            if !session.token.is_empty() {
                revoke(gateway, &session.token).await;
            }
        }
        Err(e) if e.class() == Class::InvalidCredential => {}
        Err(e) => return Err(e),
    }
    Ok(cookie::take(gateway, &request, Response::text("")))
}

/// Gives the browser a session in the place of another, with an answer of its own.
pub async fn replace(gateway: &Gateway, request: &Request, old: &Session, opening: Opening, body: &Json) -> Reply {
    let opened = gateway.sessions.open(opening, Some(old)).await?;
    let mut response = cookie::give(gateway, request, Response::json(body), &opened.session, &opened.value);
    if let Ok(claims) = gateway.verifier.verify(&opened.session.token) {
        let life = opened.session.expires.since(gateway.clock.now()).max(0) / 1_000_000;
        response = cookie::put(gateway, request, response, "tenant", &claims.caller.project_id, Some(life));
    }
    Ok(response)
}
