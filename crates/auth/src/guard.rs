//! From the headers of a request to its caller.
//!
//! A missing or bad token is not an error here: it makes the guest, and policy decides what the guest may do, as clients expect
//! (spec 01 §8.4). Endpoints that need somebody ask [`Identified::required`].

use crate::token::{Claims, Refused, Verifier};
use base::{Caller, Result, err};
use http::HeaderMap;
use std::sync::{Arc, LazyLock};

/// Tells callers apart.
#[derive(Clone)]
pub struct Guard {
    verifier: Arc<Verifier>,
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub struct Identified {
    pub caller: Arc<Caller>,
    /// What the token says; `None` for the guest.
    pub claims: Option<Arc<Claims>>,
    /// Why there is no caller although there was a token.
    pub refused: Option<Refused>,
}

impl Identified {
    pub fn guest(refused: Option<Refused>) -> Identified {
        static GUEST: LazyLock<Arc<Caller>> = LazyLock::new(Arc::default);
        Identified { caller: GUEST.clone(), claims: None, refused }
    }

    /// The claims, or 401: for endpoints that are not decided by policy.
    pub fn required(&self) -> Result<&Arc<Claims>> {
        match (&self.claims, self.refused) {
            (Some(claims), _) => Ok(claims),
            (None, Some(why)) => Err(err!(Unauthorized, "invalid token; log in again").with_context(why)),
            // The console logs out on these very words (spec 01 §8.3).
            (None, None) => Err(err!(Unauthorized, "No token in header X-Auth-Token; log in first")),
        }
    }
}

impl Guard {
    pub fn new(verifier: Arc<Verifier>) -> Guard {
        Guard { verifier }
    }

    pub fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    /// The caller behind `X-Auth-Token`, or else `Authorization: Bearer` (RFC 6750 §2.1).
    pub fn identify(&self, headers: &HeaderMap) -> Identified {
        match http::shown_token(headers) {
            Some(token) => self.check(token),
            None => Identified::guest(None),
        }
    }

    /// Refuses a request that the application credential behind its token was not made for. For every service, before its handlers.
    pub fn screen(&self, service: &str, request: &http::Request) -> Result<()> {
        let claims = http::shown_token(&request.headers).and_then(|token| self.verifier.verify(token).ok());
        let Some(limits) = claims.as_ref().and_then(|c| c.limits.as_ref()) else { return Ok(()) };
        let (method, path) = (request.method.as_str(), request.segments());
        // Who one is and where services are: every client asks the identity service first.
        let first = path.get(1).is_some_and(|s| s == "auth") || path.len() < 2;
        if (service == "identity" && first) || limits.allow(service, method, path) {
            return Ok(());
        }
        Err(err!(Forbidden, "the access rules of the application credential do not have {} {}", method, request.path.raw()))
    }

    /// The caller behind a token that came some other way.
    pub fn check(&self, token: &str) -> Identified {
        match self.verifier.verify(token) {
            Ok(claims) => Identified { caller: claims.caller.clone(), claims: Some(claims), refused: None },
            Err(why) => {
                tracing::info!(%why, "token refused");
                Identified::guest(Some(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{KeyRing, SigningKey};
    use base::Clock;

    /// Counts what is logged.
    struct Lines(Arc<std::sync::atomic::AtomicUsize>);

    impl tracing::Subscriber for Lines {
        fn enabled(&self, meta: &tracing::Metadata<'_>) -> bool {
            *meta.level() <= tracing::Level::INFO
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn whatever_is_forged_is_a_guest_and_leaves_a_line() {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
        let clock = Clock::manual(base::Timestamp::parse("2026-02-03T04:05:06Z").unwrap());
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let stranger = SigningKey::from_seed(&[2; 32]).unwrap();
        let guard = Guard::new(Arc::new(Verifier::new(KeyRing::new().with(&key), 100, clock.clone())));
        let caller = Arc::new(Caller { user_id: "u".into(), ..Caller::default() });
        let claims = Claims { caller, issued: clock.now(), expires: clock.now().plus_secs(60), ..Claims::default() };
        let token = claims.sign(&key).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let (id, payload) = (parts[0], parts[1]);

        let mut forged: Vec<String> = Vec::new();
        // Another issuer, under its own name and under ours.
        let other = claims.sign(&stranger).unwrap();
        forged.push(other.clone());
        forged.push(other.replacen(stranger.id(), key.id(), 1));
        // Expired, and from the future.
        forged
            .push(Claims { issued: clock.now().plus_secs(-90), expires: clock.now().plus_secs(-30), ..claims.clone() }.sign(&key).unwrap());
        forged
            .push(Claims { issued: clock.now().plus_secs(900), expires: clock.now().plus_secs(990), ..claims.clone() }.sign(&key).unwrap());
        // No algorithm, none at all, and the public key as the secret of another one.
        let none = B64.encode(br#"{"alg":"none","typ":"JWT"}"#);
        let hs256 = B64.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
        forged.extend([
            format!("{none}.{payload}."),
            format!("{id}.{payload}."),
            format!("{id}.{payload}"),
            format!(".{payload}.{}", parts[2]),
        ]);
        let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &B64.decode(key.public()).unwrap_or_default());
        for head in [hs256.as_str(), id] {
            let body = format!("{head}.{payload}");
            for text in [body.clone(), format!("wolke-token:{body}")] {
                forged.push(format!("{body}.{}", B64.encode(ring::hmac::sign(&hmac, text.as_bytes()))));
            }
        }
        // Another payload under the old signature.
        let grand = B64.encode(String::from_utf8(B64.decode(payload).unwrap()).unwrap().replace("\"u\"", "\"v\""));
        forged.push(format!("{id}.{grand}.{}", parts[2]));
        // Ten thousand mutations: bits, characters taken, put in, moved.
        let mut state = 7u64;
        let mut random = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        while forged.len() < 10_050 {
            let mut bytes = token.clone().into_bytes();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] = b"abcXYZ019-_.="[random(13)],
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, b"abcXYZ019-_.="[random(13)]),
                    _ => {
                        let with = random(bytes.len());
                        bytes.swap(at, with);
                    }
                }
            }
            let text = String::from_utf8(bytes).expect("ASCII");
            if text != token {
                forged.push(text);
            }
        }
        let lines = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        tracing::subscriber::with_default(Lines(lines.clone()), || {
            for text in &forged {
                let mut headers = HeaderMap::new();
                headers.insert("x-auth-token", text.parse().unwrap());
                let who = guard.identify(&headers);
                assert!(who.caller.is_guest() && who.claims.is_none() && who.refused.is_some(), "{text}");
                assert_eq!(who.required().unwrap_err().class().http(), 401);
            }
            assert_eq!(guard.check(&token).caller.user_id, "u");
        });
        assert_eq!(lines.load(std::sync::atomic::Ordering::Relaxed), forged.len(), "a line for each, none for the real one");
    }

    #[test]
    fn requests_outside_the_rules() {
        let clock = Clock::real();
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let guard = Guard::new(Arc::new(Verifier::new(KeyRing::new().with(&key), 100, clock.clone())));
        let rules = vec![("compute".to_string(), "GET".to_string(), "/servers/*".to_string())];
        let limits = Some(Arc::new(crate::token::Limits { restricted: true, rules }));
        let caller = Arc::new(Caller { user_id: "u".into(), ..Caller::default() });
        let claims = Claims { caller, issued: clock.now(), expires: clock.now().plus_secs(60), limits, ..Claims::default() };
        let bound = claims.sign(&key).unwrap();
        let free = Claims { limits: None, ..claims }.sign(&key).unwrap();
        let check = |token: &str, service: &str, method: http::Method, path: &str, want: bool| {
            let mut request = http::Request::local(method.clone(), path, Vec::new()).unwrap();
            request.headers.insert("x-auth-token", token.parse().unwrap());
            assert_eq!(guard.screen(service, &request).is_ok(), want, "{service} {method} {path}");
        };
        check(&bound, "compute", http::Method::GET, "/servers/a", true);
        check(&bound, "compute", http::Method::GET, "/disks/a", false);
        check(&bound, "compute", http::Method::POST, "/servers/a", false);
        check(&bound, "image", http::Method::GET, "/servers/a", false);
        check(&bound, "identity", http::Method::GET, "/v3/auth/catalog", true);
        check(&bound, "identity", http::Method::GET, "/v3/users", false);
        check(&free, "compute", http::Method::DELETE, "/servers/a", true);
        check("rubbish", "compute", http::Method::DELETE, "/servers/a", true);
    }

    #[test]
    fn where_a_token_may_stand() {
        let clock = Clock::real();
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let guard = Guard::new(Arc::new(Verifier::new(KeyRing::new().with(&key), 100, clock.clone())));
        let caller = Arc::new(Caller { user_id: "u".into(), ..Caller::default() });
        let claims = Claims { caller, issued: clock.now(), expires: clock.now().plus_secs(60), ..Claims::default() };
        let token = claims.sign(&key).unwrap();
        let check = |pairs: &[(&'static str, String)], user: &str, code: Option<u16>| {
            let mut headers = HeaderMap::new();
            for (k, v) in pairs {
                headers.insert(*k, v.parse().unwrap());
            }
            let who = guard.identify(&headers);
            assert_eq!(who.caller.user_id, user, "{pairs:?}");
            assert_eq!(who.required().err().map(|e| e.class().http()), code, "{pairs:?}");
        };
        check(&[("x-auth-token", token.clone())], "u", None);
        check(&[("authorization", format!("bearer {token}"))], "u", None);
        check(&[("authorization", format!("Basic {token}"))], "", Some(401));
        check(&[("x-auth-token", "rubbish".into()), ("authorization", format!("Bearer {token}"))], "", Some(401));
        check(&[("x-auth-token", String::new()), ("authorization", format!("Bearer {token}"))], "u", None);
        check(&[], "", Some(401));
    }
}
