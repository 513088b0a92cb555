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

    /// The caller behind a token that came some other way.
    pub fn check(&self, token: &str) -> Identified {
        match self.verifier.verify(token) {
            Ok(claims) => Identified { caller: claims.caller.clone(), claims: Some(claims), refused: None },
            Err(why) => {
                tracing::debug!(%why, "token refused");
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
