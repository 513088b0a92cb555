//! Recovery questions (spec 03 §2.1): who lost his generator begins anew with the answers he once gave. Besides the password, never instead of it.

use super::second;
use crate::{
    Gateway,
    session::{Factor, Session},
};
use auth::password::{Cost, Stored, hash};
use base::{Error, Json, Kind, Result, err, hex_id};
use http::{Method, Reply, Request, Response};
use serde_json::json;
use store::{Cond, Name, Order, Read, Select, work};

const TABLE: &str = "recovery_answers";
/// Questions of a user, at least and at most.
const FEWEST: usize = 1;
const MOST: usize = 5;
const LONGEST: usize = 200;
/// Wrong answers about one user within a quarter of an hour.
const GUESSES: u32 = 10;

/// Answers are compared without regard to case and surrounding blanks: years lie between question and answer.
fn plain(answer: &str) -> String {
    answer.trim().to_lowercase()
}

async fn of(gateway: &Gateway, user: &str) -> Result<Vec<(String, String)>> {
    let select = Select::from(TABLE)
        .column("question", Kind::Text)
        .column("answer", Kind::Text)
        .filter(Cond::eq("user_id", user))
        .order(Order::asc("position"));
    let rows = gateway.db.read().rows(&select).await?;
    Ok(rows.iter().map(|r| (r[0].as_str().to_string(), r[1].as_str().to_string())).collect())
}

pub async fn questions(gateway: &Gateway, request: Request) -> Reply {
    let session = gateway.session(&request).await?;
    let all: Vec<String> = of(gateway, &session.user_id).await?.into_iter().map(|(q, _)| q).collect();
    if all.is_empty() {
        return Err(err!(NotFound, "no recovery questions are set"));
    }
    Ok(Response::json(&json!({ "data": all })))
}

/// Pairs of question and answer: the body, or its key `answers`.
async fn pairs(request: &mut Request) -> Result<Vec<(String, String)>> {
    let body = request.json().await?.unwrap_or(Json::Null);
    let items = body.as_array().or_else(|| body["answers"].as_array()).cloned().unwrap_or_default();
    let pair = |item: &Json| {
        let text = |key: &str| item[key].as_str().map(str::trim).filter(|t| !t.is_empty() && t.len() <= LONGEST).map(str::to_string);
        Some((text("question")?, text("answer")?))
    };
    let all: Option<Vec<_>> = items.iter().map(pair).collect();
    all.filter(|a| (FEWEST..=MOST).contains(&a.len()))
        .ok_or_else(|| err!(InputParameter, "give {} to {} questions with answers of at most {} characters", FEWEST, MOST, LONGEST))
}

/// Sets the questions. Only once while a login is under way: later they are the user's to change when he is in.
pub async fn answer(gateway: &Gateway, mut request: Request) -> Reply {
    let session = gateway.session(&request).await?;
    if session.factor == Factor::Asked {
        return Err(err!(Forbidden, "recovery questions are set when the second factor is set up"));
    }
    if session.factor == Factor::Wanted && !of(gateway, &session.user_id).await?.is_empty() {
        return Err(err!(Conflict, "recovery questions are set already"));
    }
    let pairs = pairs(&mut request).await?;
    let mut rows: Vec<Vec<(Name, base::Value)>> = Vec::new();
    for (i, (question, answer)) in pairs.iter().enumerate() {
        let text = plain(answer);
        let hashed = tokio::task::spawn_blocking(move || hash(&text, Cost::default())).await.map_err(Error::internal)??;
        rows.push(vec![
            ("id".into(), hex_id().into()),
            ("user_id".into(), session.user_id.as_str().into()),
            ("position".into(), (i as i64).into()),
            ("question".into(), question.as_str().into()),
            ("answer".into(), hashed.into()),
        ]);
    }
    let (user, rows) = (session.user_id.as_str(), &rows);
    gateway
        .db
        .tx(|tx| {
            work(async move {
                tx.delete(TABLE, Cond::eq("user_id", user)).await?;
                for row in rows {
                    tx.insert_into(TABLE, row.clone()).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(Response::json(&json!({})))
}

/// With the right answers the factor in use is removed and a new one begun.
pub async fn renew(gateway: &Gateway, mut request: Request) -> Reply {
    let session = gateway.session(&request).await?;
    second::resting(gateway, &session)?;
    let given = pairs(&mut request).await?;
    // Of the user, not of the session: whoever has the password can begin as many as he likes. Counted before it is looked at, so that many at once
    // are many.
    let key = format!("recovery of {}", session.user_id);
    if gateway.failures.of(&key) >= GUESSES {
        return Err(err!(TooManyRequests, "too many wrong answers to the recovery questions; try again in a quarter of an hour"));
    }
    gateway.failures.note(&key);
    let stored = of(gateway, &session.user_id).await?;
    if stored.is_empty() || !right(&session, stored, given).await? {
        gateway.sessions.failed(&session).await?;
        return Err(err!(InputParameter, "the answers are not those that were set"));
    }
    gateway.failures.forget(&key);
    let held =
        session.held.clone().ok_or_else(|| err!(InvalidCredential, "No token in header: {}; log in", "the password is needed again"))?;
    let path = format!("/users/{}/second_factor", http::path::encode(&session.user_id));
    gateway.services.own(Method::DELETE, &path, None).await?;
    tracing::warn!(user = session.user, address = session.address, "a second factor was replaced by recovery questions");
    // Without a factor the password alone opens a session again, in which a new one is set up.
    let wish = super::enter::Wish {
        user: session.user.clone(),
        password: held.password.clone(),
        domain: held.domain.clone(),
        project: held.project.clone(),
        passcode: String::new(),
    };
    let mut opening = super::enter::open(gateway, &wish, session.address.parse().ok()).await?;
    opening.factor = Factor::Wanted;
    opening.held = Some(held.clone());
    let ahead = Session { token: opening.token.clone(), ..session.clone() };
    let begun = second::start(gateway, &ahead, &held).await?;
    super::enter::replace(gateway, &request, &session, opening, &begun).await
}

/// Whether every question has its answer.
async fn right(session: &Session, stored: Vec<(String, String)>, given: Vec<(String, String)>) -> Result<bool> {
    if session.factor == Factor::Off {
        return Ok(false);
    }
    let check = move || {
        stored.iter().all(|(question, hashed)| {
            let answer = given.iter().find(|(q, _)| q == question).map(|(_, a)| plain(a)).unwrap_or_default();
            Stored::parse(hashed).is_some_and(|s| s.verify(&answer, Cost::default()).is_right())
        })
    };
    tokio::task::spawn_blocking(check).await.map_err(Error::internal)
}
