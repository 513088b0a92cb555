//! What stands before every handler: who comes, whether the page he looks at is ours, and what every answer says to browsers.

use crate::{Gateway, cookie, session::Session};
use auth::Claims;
use base::{Bearer, Class, Ctx, Result, err};
use http::{Method, Reply, Request, Response, StatusCode};
use std::sync::Arc;

/// One request of somebody who is logged in.
pub struct Visit {
    pub session: Session,
    pub claims: Arc<Claims>,
    /// With the session's token: whatever is asked of a service is asked with it.
    pub ctx: Ctx,
    pub request: Request,
}

/// What an answer of the interface allows a browser to do with it: nothing.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

impl Gateway {
    /// The session a request shows, whatever it may open: `Authorization: Bearer`, or a cookie of a page of ours.
    pub async fn session(&self, request: &Request) -> Result<Session> {
        let value = match bearer(request) {
            Some(value) => Some(value.to_string()),
            None => {
                let value = cookie::session(self, request);
                if value.is_some() && !request.method.is_safe() {
                    self.same_origin(request)?;
                }
                value
            }
        };
        let found = match &value {
            Some(value) => self.sessions.find(value).await?,
            None => None,
        };
        let why = if value.is_some() { "the session is over" } else { "no session" };
        // Consoles log out on the first words (spec 03 §1.1).
        let session = found.ok_or_else(|| err!(InvalidCredential, "No token in header: {}; log in", why))?;
        // Whoever was disabled or got another password is out, on the way to a second factor too.
        if !session.token.is_empty() {
            self.stands(&session).await?;
        }
        Ok(session)
    }

    /// What a session's token says; a session whose token is void is over.
    async fn stands(&self, session: &Session) -> Result<Arc<Claims>> {
        match self.verifier.verify(&session.token) {
            Ok(claims) => Ok(claims),
            Err(why) => {
                self.sessions.close(&session.id).await?;
                Err(err!(InvalidCredential, "No token in header: {}; log in", "the session is over").with_context(why))
            }
        }
    }

    /// The session, if it is through with its second factor and its token still stands.
    pub async fn enter(&self, request: Request) -> Result<Visit> {
        let session = self.session(&request).await?;
        if !session.factor.open() {
            return Err(err!(InvalidCredential, "No token in header: TOTP authentication failed; show a one-time password first"));
        }
        self.admit(session, request).await
    }

    /// The same for the way to the second factor itself.
    pub async fn admit(&self, session: Session, request: Request) -> Result<Visit> {
        let claims = self.stands(&session).await?;
        let mut ctx = request.ctx(claims.caller.clone());
        ctx.bearer = Bearer(Some(session.token.as_str().into()));
        Ok(Visit { session, claims, ctx, request })
    }

    /// Refuses what a page of somebody else's makes a browser send.
    pub fn same_origin(&self, request: &Request) -> Result<()> {
        let refused =
            |why: &str| Err(err!(Forbidden, "the request comes from another site; open the console and try again").with_context(why));
        match (request.header("sec-fetch-site"), request.header("origin")) {
            (Some("same-origin" | "none"), _) => Ok(()),
            (Some(_), _) => refused("Sec-Fetch-Site"),
            (None, Some(origin)) => {
                let ours =
                    origin.split_once("://").is_some_and(|(_, host)| request.header("host").is_some_and(|h| h.eq_ignore_ascii_case(host)));
                if ours || origin == self.url { Ok(()) } else { refused("Origin") }
            }
            (None, None) => refused("neither Sec-Fetch-Site nor Origin"),
        }
    }

    /// A login has no session yet, but shall not be made by another site's page either.
    pub fn not_foreign(&self, request: &Request) -> Result<()> {
        if request.header("sec-fetch-site").is_some() || request.header("origin").is_some() { self.same_origin(request) } else { Ok(()) }
    }
}

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, value) = request.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| value.trim())
}

/// What every answer of the interface has. Errors become bodies here, so that they have it too.
pub fn guarded(reply: Reply, request_id: &str, lang: base::Lang) -> Response {
    let response = reply.unwrap_or_else(|error| {
        let (class, cause) = (error.class().name(), error.context());
        match error.class() {
            Class::Internal => tracing::error!(class, cause, "{error}"),
            c if c.http() >= 500 => tracing::warn!(class, cause, "{error}"),
            _ => tracing::debug!(class, cause, "{error}"),
        }
        failure(&error, request_id, lang)
    });
    harden(response, NOTHING)
}

/// The body of an error.
pub fn failure(error: &base::Error, request_id: &str, lang: base::Lang) -> Response {
    let status = StatusCode::from_u16(error.class().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Response::json(&http::error_body::body(error, lang, request_id)).with_status(status)
}

/// Headers against being framed, guessed at and kept. What a handler set itself stays.
pub fn harden(mut response: Response, policy: &'static str) -> Response {
    let fixed = [
        ("content-security-policy", policy),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
        ("cache-control", "no-store"),
    ];
    for (name, value) in fixed {
        if !response.headers.contains_key(name) {
            response = response.with_header(name, value);
        }
    }
    response
}

/// Methods that the interface has.
pub const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
