//! The session of a browser at the door: a random number in a cookie, everything else sealed in the database, for minutes.

use super::{WAIT, address};
use crate::provider::{pending, web};
use crate::state::State;
use base::Result;
use http::{Request, Response};
use serde_json::json;

const COOKIE: &str = "wolke_door";

pub struct Session {
    pub number: String,
    /// Whether the browser had it already.
    pub known: bool,
    /// Who it is, for pages; empty before the login.
    pub user: String,
    /// An unscoped token of the user; empty before the login.
    pub token: String,
}

impl Session {
    /// The session of a request, or a new one.
    pub async fn of(state: &State, request: &Request) -> Result<Session> {
        let number = request.cookie(COOKIE).unwrap_or_default();
        if number.len() == 32 && number.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            let data = pending::look(state, "door-session", number).await?.unwrap_or_default();
            let text = |key: &str| data[key].as_str().unwrap_or_default().to_string();
            return Ok(Session { number: number.to_string(), known: true, user: text("user"), token: text("token") });
        }
        Ok(Session { number: web::random(24)?, known: false, user: String::new(), token: String::new() })
    }

    /// The same browser under a new number, as somebody.
    pub async fn renew(self, state: &State, user: &str, token: &str) -> Result<Session> {
        pending::take(state, "door-session", &self.number).await?;
        let session = Session { number: web::random(24)?, known: true, user: user.to_string(), token: token.to_string() };
        pending::put(state, "door-session", &session.number, &json!({"user": user, "token": token}), WAIT).await?;
        Ok(session)
    }

    /// What forms of its pages carry.
    pub fn csrf(&self, state: &State) -> String {
        state.seal.fingerprint(&format!("door-form:{}", self.number))
    }

    /// An answer that leaves the number with the browser.
    pub fn keep(&self, state: &State, answer: Response) -> Response {
        // Lax: the way back from a provider comes from elsewhere, and must bring the number.
        let secure = if address(state).is_ok_and(|a| a.starts_with("https://")) { "; Secure" } else { "" };
        answer.with_header("Set-Cookie", &format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={WAIT}{secure}", self.number))
    }
}
