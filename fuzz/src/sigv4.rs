//! Signed requests: lines of method, path, query, headers, and the text a gateway may hand on.

use auth::sigv4::{self, Message, Refused, Signature};
use base::Timestamp;
use ring::hmac;

const SECRET: &str = "the secret of the key";

/// Method, path and query stand on a line each, then headers up to an empty line, then text to sign.
pub fn sigv4(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.split('\n');
    let mut line = || lines.next().unwrap_or("");
    let (method, path, query) = (line(), line(), sigv4::parameters(line()));
    let pair = |l: &str| l.split_once(':').map(|(k, v)| (k.to_string(), v.to_string()));
    let headers: Vec<(String, String)> = lines.filter_map(pair).collect();
    let hash = sigv4::sha256(body.as_bytes());
    let message = Message { method, path, query: &query, headers: &headers, body_hash: &hash };
    let now = Timestamp::parse("2026-02-03T04:05:06Z").expect("a time");

    if let Some(signature) = Signature::find(&message) {
        assert!(signature.signature.len() == 32 && !signature.access_key.is_empty() && signature.stamp.starts_with(&signature.day));
        assert!(signature.expires.is_none_or(|n| (1..=sigv4::LONGEST).contains(&n)));
        assert_ne!(signature.check(SECRET, &message, now), Ok(()), "a stranger's signature fits");
        if let Some(to_sign) = signature.string_to_sign(&message) {
            let right = Signature { signature: sign(&signature, &to_sign), ..signature.clone() };
            let said = right.check(SECRET, &message, now);
            assert!(matches!(said, Ok(()) | Err(Refused::Stale)), "a right signature: {said:?}");
            let at = sigv4::parse_stamp(&right.stamp).expect("was read before");
            let near = now.since(at).abs() / 1_000_000 <= sigv4::SKEW;
            assert!(said.is_err() || near || right.expires.is_some(), "believed at another time");
            // Nothing of what was signed can be another.
            let other = sigv4::sha256(b"another body");
            if hash != other {
                assert_eq!(right.check(SECRET, &Message { body_hash: &other, ..message }, now), Err(Refused::Wrong));
            }
            let longer = format!("{method}X");
            assert_eq!(right.check(SECRET, &Message { method: &longer, ..message }, now), Err(Refused::Wrong));
            assert_eq!(right.check("another secret", &message, now), Err(Refused::Wrong));
            let more: Vec<(String, String)> = query.iter().cloned().chain([("more".to_string(), "x".to_string())]).collect();
            assert_eq!(right.check(SECRET, &Message { query: &more, ..message }, now), Err(Refused::Wrong));
        }
    }
    assert_ne!(sigv4::check_v2(SECRET, path, &message, now), Ok(()), "a stranger's signature of version 2 fits");
    let (given, to_sign) = body.split_once('\n').unwrap_or((body, ""));
    assert_ne!(sigv4::check_text(SECRET, to_sign, given, now), Ok(()), "a stranger's signature of a text fits");
    if let Some(at) = sigv4::parse_stamp(given) {
        let plain: String = at.to_string().chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
        assert_eq!(format!("{}Z", plain.replace(' ', "T")), given, "a date that is another");
    }
}

fn sign(signature: &Signature, text: &str) -> Vec<u8> {
    let key = sigv4::signing_key(SECRET, &signature.day, &signature.region, &signature.service);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}
