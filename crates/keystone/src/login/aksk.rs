//! Login by access key: the client signs its own request and sends what it signed (spec 02 §2.6); or a service sends a whole request, or the
//! text of one, that somebody signed for it (OpenStack's `ec2tokens` and `s3tokens`).
//!
//! Existing services accept a signature however old it is; here it must be of the last minutes, so that a caught one is of little use.

use super::{Proved, who};
use crate::state::State;
use api_identity::{AccessKey, Credential, User};
use auth::sigv4::{self, Message, Refused, Signature};
use base::{Error, Json, Resource, Result, Row, Timestamp, Value, err};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use serde::Deserialize;
use store::{Cond, Read};

#[derive(Deserialize)]
struct Signed {
    algorithm: String,
    access_key: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    sign_date: String,
    /// The string that was signed.
    request: String,
    signature: String,
}

fn refused() -> Error {
    err!(Unauthorized, "the access key or its signature is not valid")
}

/// A key that may be used now.
struct Key {
    row: Row,
    secret: String,
    expire: i64,
    ends: Option<Timestamp>,
}

async fn key(state: &State, access: &str) -> Result<Key> {
    let usable = Cond::eq("id", access).and(Cond::eq("deleted", false)).and(Cond::eq("type", "aksk"));
    let row = state.db.read().find(Credential::facts(), usable).await?.pop().ok_or_else(refused)?;
    let blob: Json = serde_json::from_str(&state.seal.open(row.text("sealed_blob"))?).map_err(Error::internal)?;
    let secret = blob["secret"].as_str().unwrap_or_default().to_string();
    let expire = blob["expire"].as_i64().unwrap_or(0);
    let ends = match row.get("expired_at") {
        Value::Time(at) => Some(*at),
        _ => (expire > 0).then(|| Timestamp(expire.saturating_mul(1_000_000))),
    };
    if secret.is_empty() || !row.flag("enabled") || ends.is_some_and(|at| at <= state.clock.now()) {
        return Err(refused());
    }
    Ok(Key { row, secret, expire, ends })
}

async fn proved(state: &State, key: Key) -> Result<Proved> {
    let user = state.db.read().one(User::facts(), key.row.text("owner_id")).await?.filter(|u| !u.flag("deleted")).ok_or_else(refused)?;
    let access_key = AccessKey { access_key: key.row.id().to_string(), secret: key.secret, expire: key.expire };
    // A key of no project opens nothing but its owner's list of projects.
    let project = key.row.text("project_id").to_string();
    Ok(Proved { chain: vec![key.row.id().to_string()], until: key.ends, project: Some(project), access_key, ..who::proved(user, "aksk") })
}

/// What did not hold goes to the log; whoever asked learns that it did not.
fn held(outcome: Result<(), Refused>, access: &str) -> Result<()> {
    outcome.map_err(|why| {
        if why == Refused::Stale {
            tracing::warn!(access_key = access, "login refused: {why}; replayed, or a clock is wrong");
        } else {
            tracing::info!(access_key = access, "login refused: {why}");
        }
        refused().with_context(why)
    })
}

pub(super) async fn prove(state: &State, text: &str) -> Result<Proved> {
    let signed: Signed =
        serde_json::from_str(text).map_err(|e| err!(InputParameter, "auth.identity.{} is missing", "access_key_secret").with_context(e))?;
    let key = key(state, &signed.access_key).await?;
    held(check(&signed, &key.secret, state.clock.now()), &signed.access_key)?;
    proved(state, key).await
}

/// A whole request somebody signed, Version 4 or 2, in its headers or its query.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SignedRequest {
    pub access: String,
    pub signature: String,
    pub verb: String,
    pub host: String,
    pub path: String,
    pub params: serde_json::Map<String, Json>,
    pub headers: serde_json::Map<String, Json>,
    pub body_hash: String,
    /// The text that was signed, base64: instead of the request.
    pub token: String,
}

pub(super) async fn prove_request(state: &State, asked: &SignedRequest) -> Result<Proved> {
    let key = key(state, &asked.access).await?;
    held(check_request(asked, &key.secret, state.clock.now()), &asked.access)?;
    proved(state, key).await
}

fn check_request(asked: &SignedRequest, secret: &str, now: Timestamp) -> Result<(), Refused> {
    if !asked.token.is_empty() {
        let text = STANDARD.decode(&asked.token).ok().and_then(|t| String::from_utf8(t).ok()).ok_or(Refused::Malformed)?;
        return sigv4::check_text(secret, &text, &asked.signature, now);
    }
    let query = pairs(&asked.params);
    let headers = pairs(&asked.headers);
    let message = Message { method: &asked.verb, path: &asked.path, query: &query, headers: &headers, body_hash: &asked.body_hash };
    if let Some(signature) = Signature::find(&message) {
        // The key and signature beside the request are a copy of those in it.
        let same =
            signature.access_key == asked.access && (asked.signature.is_empty() || hex::encode(&signature.signature) == asked.signature);
        return if same { signature.check(secret, &message, now) } else { Err(Refused::Malformed) };
    }
    let named = query.iter().any(|(k, v)| k == "AWSAccessKeyId" && *v == asked.access);
    let mut all = query.clone();
    if !all.iter().any(|(k, _)| k == "Signature") {
        all.push(("Signature".into(), asked.signature.clone()));
    }
    let message = Message { query: &all, ..message };
    if named { sigv4::check_v2(secret, &asked.host, &message, now) } else { Err(Refused::Malformed) }
}

fn pairs(map: &serde_json::Map<String, Json>) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, value) in map {
        match value {
            Json::String(text) => out.push((name.clone(), text.clone())),
            Json::Array(all) => out.extend(all.iter().map(|v| (name.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_string)))),
            Json::Null => out.push((name.clone(), String::new())),
            other => out.push((name.clone(), other.to_string())),
        }
    }
    out
}

/// The form of this platform's own clients. The date counts as the signed text says it, not as the client says beside it: that could be
/// changed on a caught one.
fn check(signed: &Signed, secret: &str, now: Timestamp) -> Result<(), Refused> {
    let tag = |key: &hmac::Key, tag: Option<Vec<u8>>| {
        let tag = tag.ok_or(Refused::Malformed)?;
        hmac::verify(key, signed.request.as_bytes(), &tag).map_err(|_| Refused::Wrong)
    };
    let line = match signed.algorithm.as_str() {
        sigv4::ALGORITHM => {
            let date = Timestamp::parse(&signed.sign_date).ok_or(Refused::Malformed)?;
            let day: String = date.to_string().chars().take(10).filter(|c| *c != '-').collect();
            tag(&sigv4::signing_key(secret, &day, &signed.location, "s3"), hex::decode(&signed.signature).ok())?;
            1
        }
        "AWS" => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
            tag(&key, STANDARD.decode(&signed.signature).ok())?;
            3
        }
        _ => return Err(Refused::Malformed),
    };
    let date = signed.request.lines().nth(line).and_then(Timestamp::parse).ok_or(Refused::Malformed)?;
    if now.since(date).abs() <= sigv4::SKEW * 1_000_000 { Ok(()) } else { Err(Refused::Stale) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signature of the worked example in the documentation of AWS Signature Version 4 ("GET Object"), service s3, region us-east-1.
    #[test]
    fn the_published_example() {
        let request = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
        let mut signed = Signed {
            algorithm: "AWS4-HMAC-SHA256".into(),
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            location: "us-east-1".into(),
            sign_date: "2013-05-24T00:00:00Z".into(),
            request: request.into(),
            signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41".into(),
        };
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let then = Timestamp::parse("2013-05-24T00:10:00Z").expect("a time");
        assert_eq!(check(&signed, secret, then), Ok(()));
        assert_eq!(check(&signed, "another", then), Err(Refused::Wrong));
        assert_eq!(check(&signed, secret, then.plus_secs(600)), Err(Refused::Stale));
        signed.location = "eu-west-1".into();
        assert_eq!(check(&signed, secret, then), Err(Refused::Wrong));
        signed.algorithm = "none".into();
        assert_eq!(check(&signed, secret, then), Err(Refused::Malformed));
    }
}
