//! A picture to be read before a login, where the configuration wants it: always, or from an address that guessed wrong too often.
//!
//! ```text
//! GET auth/captcha ─▶ picture, and the sealed answer in a cookie ─▶ POST auth/login {…, captcha} ─▶ opened, compared, used up
//! ```
//!
//! With `form=words` it is a question in words instead, for people who do not see, under the same rules. Nothing is kept until somebody answers:
//! pictures cost no memory. An answer counts once, right or wrong, whichever process of the gateway takes it.

mod draw;
mod words;

use crate::{Gateway, cookie, login, on, proxy, throttle};
use base::{Error, Json, Result, err, hex_id};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Reply, Request, Response, Router, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use store::{Cond, Op, work};

const TABLE: &str = "captchas";
/// A picture is good for so long, seconds.
const PATIENCE: i64 = 300;
/// What a console looks for in a refusal that asks for a picture.
const CLASS: &str = "CaptchaRequired";
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// When a picture is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    #[default]
    Never,
    /// From an address from which `captcha_failures` logins failed within a quarter of an hour.
    AfterFailures,
    Always,
}

/// What a picture is asked about, sealed.
#[derive(Serialize, Deserialize)]
struct Question {
    /// So that nothing else that was sealed is taken for this.
    captcha: String,
    nonce: String,
    until: i64,
}

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    router
        .get("/api/{ver}/auth/captcha", on(gateway, |g, r| async move { picture(&g, &r) }))
        .post("/api/{ver}/auth/captcha", on(gateway, |g, r| async move { check(&g, r).await }))
}

/// Whether the next login of an address needs one.
pub fn wanted(gateway: &Gateway, request: &Request) -> bool {
    match gateway.options.captcha {
        When::Never => false,
        When::AfterFailures => gateway.failures.of(&throttle::block(request.peer)) >= gateway.options.captcha_failures,
        When::Always => true,
    }
}

/// `GET captcha`: the picture, as PNG or with `format=json` as `{id, image, expires_in}`; with `form=words` a question in the caller's language, as
/// text or `{id, text, expires_in}`. `id` is what the cookie holds, for those without cookies.
fn picture(gateway: &Gateway, request: &Request) -> Reply {
    proxy::version(request)?;
    if gateway.options.captcha == When::Never {
        return Err(err!(NotFound, "there is nothing at {} {}", request.method, request.path.raw()));
    }
    // It costs more than a failed login.
    gateway.throttle.take(request.peer)?;
    let seal = |answer: &str| {
        let until = gateway.clock.now().plus_secs(PATIENCE).micros();
        let question = Question { captcha: answer.to_string(), nonce: hex_id(), until };
        gateway.sessions.seal().close(&serde_json::to_string(&question).map_err(Error::internal)?)
    };
    let json = request.query.text("format") == Some("json");
    let (id, response) = if request.query.text("form") == Some("words") {
        let (text, answer) = words::ask(request.lang)?;
        let id = seal(&answer)?;
        let told = json!({"id": id, "text": text, "expires_in": PATIENCE});
        (id, if json { Response::json(&told) } else { Response::bytes(TEXT, text.into_bytes()) })
    } else {
        let answer = draw::answer()?;
        let png = draw::of(&answer)?;
        let id = seal(&answer)?;
        let response = if json {
            Response::json(&json!({"id": id, "image": STANDARD.encode(png), "expires_in": PATIENCE}))
        } else {
            Response::bytes(HeaderValue::from_static("image/png"), png)
        };
        (id, response)
    };
    Ok(cookie::ask(gateway, request, response, &id, PATIENCE))
}

/// What was asked, if it was asked here and is not too old.
fn question(gateway: &Gateway, request: &Request, body: &Map<String, Json>) -> Option<Question> {
    let named = login::text(body, "captcha_id");
    let id = if named.is_empty() { cookie::asked(request)?.to_string() } else { named };
    let question: Question = serde_json::from_str(&gateway.sessions.seal().open(&id).ok()?).ok()?;
    (gateway.clock.now().micros() < question.until).then_some(question)
}

fn right(question: &Question, body: &Map<String, Json>) -> bool {
    login::text(body, "captcha").to_ascii_uppercase().replace([' ', ','], "") == question.captcha
}

/// `POST captcha {"captcha"}` → `{"vali"}`: whether it was read right; the login still needs it. A wrong one is used up.
async fn check(gateway: &Gateway, mut request: Request) -> Reply {
    proxy::version(&request)?;
    gateway.same_origin(&request)?;
    gateway.throttle.take(request.peer)?;
    let body = login::object(&mut request).await?;
    let question = question(gateway, &request, &body);
    let good = match &question {
        Some(question) if right(question, &body) => fresh(gateway, question).await?,
        Some(question) => {
            use_up(gateway, question).await?;
            false
        }
        None => false,
    };
    Ok(Response::json(&json!({ "vali": good })))
}

/// Lets a login pass that needs no picture, or brings the right answer to one. The refusal is an answer with a class of its own.
pub async fn demand(gateway: &Gateway, request: &Request, body: &Map<String, Json>) -> Result<Option<Response>> {
    if !wanted(gateway, request) {
        return Ok(None);
    }
    if login::text(body, "captcha").is_empty() {
        return Ok(Some(refusal(
            request,
            &err!(InputParameter, "captcha: read the characters of the picture, or answer the question in words, and send that along"),
        )));
    }
    if let Some(question) = question(gateway, request, body) {
        let right = right(&question, body);
        if use_up(gateway, &question).await? && right {
            return Ok(None);
        }
    }
    Ok(Some(refusal(request, &err!(InputParameter, "captcha: that is not the answer, or the question is too old; read another one"))))
}

fn refusal(request: &Request, error: &Error) -> Response {
    let mut body = http::error_body::body(error, request.lang, &request.request_id);
    body["class"] = CLASS.into();
    Response::json(&body).with_status(StatusCode::BAD_REQUEST)
}

fn key(question: &Question) -> String {
    hex::encode(Sha256::digest(question.nonce.as_bytes()))
}

async fn fresh(gateway: &Gateway, question: &Question) -> Result<bool> {
    use store::Read;
    gateway.db.read().exists(TABLE, Cond::eq("id", key(question))).await.map(|used| !used)
}

/// Whether this is the first answer.
async fn use_up(gateway: &Gateway, question: &Question) -> Result<bool> {
    let (id, until) = (key(question), question.until);
    let id = id.as_str();
    gateway
        .db
        .tx(|tx| {
            work(async move {
                tx.delete(TABLE, Cond::cmp("expires_at", Op::Le, tx.now().micros())).await?;
                if tx.lock(TABLE, Cond::eq("id", id)).await? > 0 {
                    return Ok(false);
                }
                tx.insert_into(TABLE, vec![("id".into(), id.into()), ("expires_at".into(), until.into())]).await.map(|()| true)
            })
        })
        .await
        .or_else(|e| if e.class().http() == 409 { Ok(false) } else { Err(e) })
}
