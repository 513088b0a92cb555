//! Tokens: small signed documents that a service checks with nothing but public keys and the list of revocations.
//!
//! ```text
//! <key id> "." base64url(payload JSON) "." base64url(Ed25519 signature over "wolke-token:" <key id> "." <payload as sent>)
//! ```
//!
//! There is one algorithm and the token cannot name another. The payload holds who and where, never the catalogue or policies, so a token
//! stays below 2 KiB. A user with so many roles that it would not has them by their ids alone, packed; names are found elsewhere. A token is void when it expires, when its key is gone, or when a [`Revocation`] covers it; all three act on cached
//! tokens too. Clients treat tokens as opaque.

mod cache;
mod check;
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
    /// What an application credential keeps its tokens from; `None` for every other login.
    pub limits: Option<Arc<Limits>>,
    /// The key that signed it; set when read.
    pub key_id: String,
}

/// Bounds of a token that came from an application credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// May not touch credentials and logins.
    #[serde(default, rename = "x", skip_serializing_if = "std::ops::Not::not")]
    pub restricted: bool,
    /// Requests it may make: service, method, path. All when empty.
    #[serde(default, rename = "r", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<(String, String, String)>,
}

impl Limits {
    /// Whether a request is within the bounds. `path` are the decoded segments after the service's prefix; in a rule `*` and `{name}` stand
    /// for one segment and `**` for the rest.
    pub fn allow(&self, service: &str, method: &str, path: &[impl AsRef<str>]) -> bool {
        let fits = |(s, m, p): &(String, String, String)| {
            s == service && (m.eq_ignore_ascii_case(method) || (m.eq_ignore_ascii_case("GET") && method == "HEAD")) && path_fits(p, path)
        };
        self.rules.is_empty() || self.rules.iter().any(fits)
    }
}

fn path_fits(rule: &str, path: &[impl AsRef<str>]) -> bool {
    let mut have = path.iter().map(AsRef::as_ref).filter(|s| !s.is_empty());
    for want in rule.split('/').filter(|s| !s.is_empty()) {
        if want == "**" {
            return true;
        }
        let Some(segment) = have.next() else { return false };
        // A segment that means another one to whoever reads the path fits nothing.
        let plain = segment != "." && segment != "..";
        if !plain || !(want == segment || want == "*" || (want.starts_with('{') && want.ends_with('}'))) {
            return false;
        }
    }
    have.next().is_none()
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
    /// Ids of roles, 16 bytes each, where they do not fit with their names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    k: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l: Option<Limits>,
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
        let mut payload = Payload {
            u: (c.user_id.clone(), c.user.clone(), c.user_domain_id.clone(), c.user_domain.clone()),
            p: (!(c.project_id.is_empty() && c.project_domain_id.is_empty())).then_some(project),
            r: c.roles.iter().map(|r| (r.id.clone(), r.name.clone())).collect(),
            k: String::new(),
            l: self.limits.as_deref().cloned(),
            m: self.methods.clone(),
            i: self.issued.micros(),
            e: self.expires.micros(),
            a: self.audit_ids.clone(),
            c: self.source.clone(),
            x: self.ip,
            s: c.is_system_account,
            d: self.is_domain,
        };
        let mut token = write(&payload, key)?;
        if token.len() > MAX_LEN
            && let Some(packed) = pack(&c.roles)
        {
            payload.r.clear();
            payload.k = packed;
            token = write(&payload, key)?;
        }
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
        let signature = <[u8; 64]>::try_from(decode(signature)?).map_err(|_| Refused::Malformed)?;
        let key = keys.get(key_id).ok_or(Refused::UnknownKey)?;
        // Nothing of the payload is looked at before the signature holds.
        if !key.signed(&[PREFIX, signed.as_bytes()], &signature) {
            return Err(Refused::BadSignature);
        }
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
            roles: if payload.k.is_empty() {
                payload.r.into_iter().map(|(id, name)| Role { id, name }).collect()
            } else {
                unpack(&payload.k).ok_or(Refused::Malformed)?
            },
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
            limits: payload.l.map(Arc::new),
            key_id: key_id.to_string(),
        })
    }
}

fn write(payload: &Payload, key: &SigningKey) -> Result<String> {
    let json = serde_json::to_vec(payload).map_err(base::Error::internal)?;
    let mut token = String::with_capacity(json.len() * 4 / 3 + 160);
    token.push_str(key.id());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&json, &mut token);
    let signature = key.sign(&[PREFIX, token.as_bytes()].concat());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
    Ok(token)
}

/// Roles by their ids alone; `None` when one has an id of another shape than the platform's own.
fn pack(roles: &[Role]) -> Option<String> {
    let mut bytes = Vec::with_capacity(roles.len() * 16);
    for role in roles {
        if role.id.len() != 32 || role.id.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        bytes.extend(u128::from_str_radix(&role.id, 16).ok()?.to_be_bytes());
    }
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

fn unpack(text: &str) -> Option<Vec<Role>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (ids, rest) = bytes.as_chunks::<16>();
    rest.is_empty().then(|| ids.iter().map(|id| Role { id: format!("{:032x}", u128::from_be_bytes(*id)), name: String::new() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_application_credentials() {
        let limits = |rules: &[(&str, &str, &str)]| Limits {
            restricted: true,
            rules: rules.iter().map(|(s, m, p)| (s.to_string(), m.to_string(), p.to_string())).collect(),
        };
        let check = |rule: (&str, &str, &str), method: &str, path: &str, want: bool| {
            assert_eq!(limits(&[rule]).allow("compute", method, &path.split('/').collect::<Vec<_>>()), want, "{rule:?} {method} {path}");
        };
        assert!(limits(&[]).allow("compute", "DELETE", &["anything"]), "no rules, no bounds");
        check(("compute", "GET", "/servers"), "GET", "/servers", true);
        check(("compute", "GET", "/servers"), "HEAD", "/servers", true);
        check(("compute", "GET", "/servers"), "GET", "/servers/", true);
        check(("compute", "GET", "/servers"), "GET", "/servers/a", false);
        check(("compute", "GET", "/servers"), "POST", "/servers", false);
        check(("image", "GET", "/servers"), "GET", "/servers", false);
        check(("compute", "GET", "/servers/*"), "GET", "/servers/a", true);
        check(("compute", "GET", "/servers/*"), "GET", "/servers", false);
        check(("compute", "GET", "/servers/*"), "GET", "/servers/a/b", false);
        check(("compute", "POST", "/servers/{id}/stop"), "POST", "/servers/a/stop", true);
        check(("compute", "POST", "/servers/{id}/stop"), "POST", "/servers/a/start", false);
        check(("compute", "GET", "/servers/**"), "GET", "/servers/a/b/c", true);
        check(("compute", "GET", "/servers/**"), "GET", "/disks", false);
        check(("compute", "GET", "/*"), "GET", "/..", false);
    }

    #[test]
    fn many_roles_fit() {
        let key = SigningKey::from_seed(&[1; 32]).expect("a key");
        let ring = KeyRing::new().with(&key);
        let long = |n: usize| "n".repeat(n);
        let with = |count: usize| {
            let roles = (0..count).map(|i| Role { id: base::hex_id(), name: format!("a_role_with_a_long_name_{i}") }).collect();
            let caller = Caller {
                user_id: base::hex_id(),
                user: long(64),
                user_domain_id: base::hex_id(),
                user_domain: long(64),
                project_id: base::hex_id(),
                project: long(64),
                project_domain_id: base::hex_id(),
                project_domain: long(64),
                roles,
                is_system_account: false,
            };
            Claims { caller: Arc::new(caller), methods: vec!["password".into()], audit_ids: vec![long(16), long(16)], ..Claims::default() }
        };
        for count in [1, 5, 8, 12, 20, 30] {
            let claims = with(count);
            let token = claims.sign(&key).expect("a token");
            assert!(token.len() <= MAX_LEN, "{count}: {}", token.len());
            let read = Claims::read(&token, &ring).expect("readable");
            let ids = |c: &Claims| c.caller.roles.iter().map(|r| r.id.clone()).collect::<Vec<_>>();
            assert_eq!(ids(&read), ids(&claims), "{count}");
        }
        let odd = Claims {
            caller: Arc::new(Caller { roles: vec![Role { id: "ABC".into(), name: long(3000) }], ..(*with(1).caller).clone() }),
            ..with(1)
        };
        assert_eq!(odd.sign(&key).expect_err("too long").class(), base::Class::OutOfLimit);
    }
}
