//! Login by access key: the client signs its own request and sends what it signed (spec 02 §2.6).
//!
//! Existing services accept a signature however old it is; here it must be of the last minutes, so that a caught one is of little use.

use super::{Proved, who};
use crate::state::State;
use api_identity::{AccessKey, Credential, User};
use base::{Error, Json, Resource, Result, Timestamp, Value, err};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use serde::Deserialize;
use store::{Cond, Read};

/// How far the date of a signature may be from now, seconds.
const SKEW: i64 = 15 * 60;

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

pub(super) async fn prove(state: &State, text: &str) -> Result<Proved> {
    let signed: Signed =
        serde_json::from_str(text).map_err(|e| err!(InputParameter, "auth.identity.{} is missing", "access_key_secret").with_context(e))?;
    let mut db = state.db.read();
    let usable = Cond::eq("id", signed.access_key.as_str()).and(Cond::eq("deleted", false)).and(Cond::eq("type", "aksk"));
    let row = db.find(Credential::facts(), usable).await?.pop().ok_or_else(refused)?;
    let now = state.clock.now();
    let blob: Json = serde_json::from_str(&state.seal.open(row.text("sealed_blob"))?).map_err(Error::internal)?;
    let secret = blob["secret"].as_str().unwrap_or_default();
    let expire = blob["expire"].as_i64().unwrap_or(0);
    let ends = match row.get("expired_at") {
        Value::Time(at) => Some(*at),
        _ => (expire > 0).then(|| Timestamp(expire.saturating_mul(1_000_000))),
    };
    if secret.is_empty() || !holds(&signed, secret) || !fresh(&signed, now) || !row.flag("enabled") || ends.is_some_and(|at| at <= now) {
        return Err(refused());
    }
    let user = db.one(User::facts(), row.text("owner_id")).await?.filter(|u| !u.flag("deleted")).ok_or_else(refused)?;
    let access_key = AccessKey { access_key: signed.access_key, secret: secret.to_string(), expire };
    Ok(Proved {
        chain: vec![row.id().to_string()],
        until: ends,
        project: Some(row.text("project_id").to_string()),
        access_key,
        ..who::proved(user, "aksk")
    })
}

/// Whether the secret made the signature. Compared in constant time.
fn holds(signed: &Signed, secret: &str) -> bool {
    match signed.algorithm.as_str() {
        "AWS4-HMAC-SHA256" => {
            let Some(date) = Timestamp::parse(&signed.sign_date) else { return false };
            let day: String = date.to_string().chars().take(10).filter(|c| *c != '-').collect();
            let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
            for step in [day.as_str(), &signed.location, "s3", "aws4_request"] {
                key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, step.as_bytes()).as_ref());
            }
            hex::decode(&signed.signature).is_ok_and(|tag| hmac::verify(&key, signed.request.as_bytes(), &tag).is_ok())
        }
        "AWS" => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
            STANDARD.decode(&signed.signature).is_ok_and(|tag| hmac::verify(&key, signed.request.as_bytes(), &tag).is_ok())
        }
        _ => false,
    }
}

/// The date counts as the signed text says it, not as the client says beside it: that could be changed on a caught one.
fn fresh(signed: &Signed, now: Timestamp) -> bool {
    let line = if signed.algorithm == "AWS" { 3 } else { 1 };
    let date = signed.request.lines().nth(line).and_then(Timestamp::parse);
    date.is_some_and(|at| now.since(at).abs() <= SKEW * 1_000_000)
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
        assert!(holds(&signed, secret));
        assert!(!holds(&signed, "another"));
        let then = Timestamp::parse("2013-05-24T00:10:00Z").expect("a time");
        assert!(fresh(&signed, then) && !fresh(&signed, then.plus_secs(600)));
        signed.location = "eu-west-1".into();
        assert!(!holds(&signed, secret));
        signed.algorithm = "none".into();
        assert!(!holds(&signed, secret));
    }
}
