//! Tokens: small signed documents that a service checks with nothing but public keys and the list of revocations.
//!
//! ```text
//! <key id> "." base64url(payload JSON) "." base64url(Ed25519 signature over "wolke-token:" <key id> "." <payload as sent>)
//! ```
//!
//! There is one algorithm and the token cannot name another. The payload holds who and where, never the catalogue or policies, so a token
//! stays below 2 KiB. A token is void when it expires, when its key is gone, or when a [`Revocation`] covers it; all three act on cached
//! tokens too. Clients treat tokens as opaque.

mod cache;
mod keys;
mod verifier;

pub use keys::{KeyRing, SigningKey};
pub use verifier::{Revocation, Revoked, Verifier};

use base::{Caller, Result, Role, Timestamp, err};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, sync::Arc};

/// The longest token that is issued or looked at, in bytes.
pub const MAX_LEN: usize = 2048;
const PREFIX: &[u8] = b"wolke-token:";

/// What a token says.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    pub caller: Arc<Caller>,
    /// How the user proved who it is: `password`, `token`, `aksk`…
    pub methods: Vec<String>,
    pub issued: Timestamp,
    pub expires: Timestamp,
    /// The chain of tokens it comes from, its own number last; a revoked number voids all that follow. An access key's id heads the chain
    /// of its tokens.
    pub audit_ids: Vec<String>,
    /// Where the login came from: `web`, `api`, `cli`, `srv`, `operator`.
    pub source: String,
    pub ip: Option<IpAddr>,
    /// Whether the scope is a domain and not a project.
    pub is_domain: bool,
    /// The key that signed it; set when read.
    pub key_id: String,
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not a token of ours.
    Malformed,
    /// Its key is not among ours, or no longer.
    UnknownKey,
    BadSignature,
    /// It is from the future by more than clocks may differ.
    NotYet,
    Expired,
    Revoked,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Malformed => "not a token of this installation",
            Refused::UnknownKey => "signed with an unknown or retired key",
            Refused::BadSignature => "the signature does not fit",
            Refused::NotYet => "issued in the future; check the clocks",
            Refused::Expired => "expired",
            Refused::Revoked => "revoked",
        })
    }
}

impl std::error::Error for Refused {}

type Four = (String, String, String, String);

/// The payload; short keys because it travels with every request.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    /// User: id, name, domain id, domain name.
    u: Four,
    /// Project likewise, when there is one; with `d` the domain stands in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<Four>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    r: Vec<(String, String)>,
    m: Vec<String>,
    i: i64,
    e: i64,
    a: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    c: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    s: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    d: bool,
}

impl Claims {
    /// Writes and signs a token. Fails when it would be longer than [`MAX_LEN`]: too many roles or very long names.
    pub fn sign(&self, key: &SigningKey) -> Result<String> {
        let c = &*self.caller;
        let project = (c.project_id.clone(), c.project.clone(), c.project_domain_id.clone(), c.project_domain.clone());
        let payload = Payload {
            u: (c.user_id.clone(), c.user.clone(), c.user_domain_id.clone(), c.user_domain.clone()),
            p: (!(c.project_id.is_empty() && c.project_domain_id.is_empty())).then_some(project),
            r: c.roles.iter().map(|r| (r.id.clone(), r.name.clone())).collect(),
            m: self.methods.clone(),
            i: self.issued.micros(),
            e: self.expires.micros(),
            a: self.audit_ids.clone(),
            c: self.source.clone(),
            x: self.ip,
            s: c.is_system_account,
            d: self.is_domain,
        };
        let json = serde_json::to_vec(&payload).map_err(base::Error::internal)?;
        let mut token = String::with_capacity(json.len() * 4 / 3 + 160);
        token.push_str(key.id());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&json, &mut token);
        let signature = key.sign(&[PREFIX, token.as_bytes()].concat());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        if token.len() > MAX_LEN {
            return Err(err!(
                OutOfLimit,
                "the token would be {} bytes long, more than {}; give the user fewer roles in the project",
                token.len(),
                MAX_LEN
            ));
        }
        Ok(token)
    }

    /// Reads a token whose signature one of the keys made. Says nothing about time and revocation: see [`Verifier`].
    fn read(token: &str, keys: &KeyRing) -> Result<Claims, Refused> {
        if token.len() > MAX_LEN {
            return Err(Refused::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (key_id, payload) = signed.split_once('.').ok_or(Refused::Malformed)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Refused::Malformed);
        let signature = decode(signature)?;
        if signature.len() != 64 {
            return Err(Refused::Malformed);
        }
        let key = keys.get(key_id).ok_or(Refused::UnknownKey)?;
        // Nothing of the payload is looked at before the signature holds.
        key.verify(&[PREFIX, signed.as_bytes()].concat(), &signature).map_err(|_| Refused::BadSignature)?;
        let payload: Payload = serde_json::from_slice(&decode(payload)?).map_err(|_| Refused::Malformed)?;
        let (project_id, project, project_domain_id, project_domain) = payload.p.unwrap_or_default();
        let caller = Caller {
            user_id: payload.u.0,
            user: payload.u.1,
            user_domain_id: payload.u.2,
            user_domain: payload.u.3,
            project_id,
            project,
            project_domain_id,
            project_domain,
            roles: payload.r.into_iter().map(|(id, name)| Role { id, name }).collect(),
            is_system_account: payload.s,
        };
        // An empty user id is the guest: no token may make one.
        if caller.is_guest() {
            return Err(Refused::Malformed);
        }
        Ok(Claims {
            caller: Arc::new(caller),
            methods: payload.m,
            issued: Timestamp(payload.i),
            expires: Timestamp(payload.e),
            audit_ids: payload.a,
            source: payload.c,
            ip: payload.x,
            is_domain: payload.d,
            key_id: key_id.to_string(),
        })
    }
}
