//! Verification with a memory: the first look at a token costs a signature check, later ones a look-up.

use super::{
    Claims, KeyRing, Refused,
    cache::{Cache, Entry},
};
use arc_swap::ArcSwap;
use base::{Clock, Timestamp};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Acquire, Ordering::Release},
    },
};

/// What a revocation is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// An audit id: the token and all that come from it; or an access key's id.
    Chain(String),
    /// Every token of a user: disabled, deleted, new password.
    User(String),
    /// Every token scoped to a project.
    Project(String),
    /// Every token of a domain's users, and every one scoped to the domain or a project of it.
    Domain(String),
    /// Every token of a user (first) scoped to a project or domain (second): a role there was taken away.
    Grant(String, String),
}

/// Voids tokens issued up to an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub what: Revoked,
    pub before: Timestamp,
    /// When the last such token has expired by itself and the revocation can be forgotten.
    pub expires: Timestamp,
}

/// How far the clocks of two machines may differ.
const SKEW_SECS: i64 = 120;

/// Checks tokens. One per process; keys and revocations are replaced while it works.
pub struct Verifier {
    keys: ArcSwap<KeyRing>,
    revoked: ArcSwap<HashMap<Revoked, Revocation>>,
    /// Counts changes of the two above. An entry of the cache checked under an older count is checked again, without its signature.
    epoch: AtomicU64,
    cache: Cache,
    clock: Clock,
}

impl Verifier {
    /// `entries` bounds the cache; a token costs about 2 KiB there.
    pub fn new(keys: KeyRing, entries: usize, clock: Clock) -> Verifier {
        Verifier {
            keys: ArcSwap::from_pointee(keys),
            revoked: ArcSwap::default(),
            epoch: AtomicU64::new(0),
            cache: Cache::new(entries),
            clock,
        }
    }

    /// Who speaks with a token, or why nobody does.
    pub fn verify(&self, token: &str) -> Result<Arc<Claims>, Refused> {
        let now = self.clock.now();
        // Read before the checks: a change during them makes the entry stale, never the other way round.
        let epoch = self.epoch.load(Acquire);
        if let Some(entry) = self.cache.get(token) {
            if entry.epoch == epoch && now < entry.until {
                return Ok(entry.claims);
            }
            let until = self.standing(&entry.claims, now).inspect_err(|_| self.cache.remove(token))?;
            self.cache.put(token, Entry { claims: entry.claims.clone(), epoch, until });
            return Ok(entry.claims);
        }
        let claims = Arc::new(Claims::read(token, &self.keys.load())?);
        let until = self.standing(&claims, now)?;
        self.cache.put(token, Entry { claims: claims.clone(), epoch, until });
        Ok(claims)
    }

    /// What can change after a token was issued; and until when the answer holds if keys and revocations stay.
    fn standing(&self, claims: &Claims, now: Timestamp) -> Result<Timestamp, Refused> {
        if now >= claims.expires {
            return Err(Refused::Expired);
        }
        if claims.issued > now.plus_secs(SKEW_SECS) {
            return Err(Refused::NotYet);
        }
        let retires = self.keys.load().retires(&claims.key_id).filter(|at| now < *at).ok_or(Refused::UnknownKey)?;
        let until = claims.expires.min(retires);
        let revoked = self.revoked.load();
        if revoked.is_empty() {
            return Ok(until);
        }
        let hit = |what: Revoked| revoked.get(&what).is_some_and(|r| claims.issued <= r.before);
        let c = &claims.caller;
        let void = claims.audit_ids.iter().any(|id| hit(Revoked::Chain(id.clone())))
            || hit(Revoked::User(c.user_id.clone()))
            || hit(Revoked::Domain(c.user_domain_id.clone()))
            || (!c.project_id.is_empty() && hit(Revoked::Project(c.project_id.clone())))
            || (!c.project_domain_id.is_empty() && (hit(Revoked::Domain(c.project_domain_id.clone())) || hit(grant(c))));
        if void { Err(Refused::Revoked) } else { Ok(until) }
    }

    /// Replaces the keys: rotation.
    pub fn set_keys(&self, keys: KeyRing) {
        self.keys.store(Arc::new(keys));
        self.epoch.fetch_add(1, Release);
    }

    /// Adds revocations, the newest instant of each subject counting, and forgets those that have run out.
    pub fn revoke(&self, more: impl IntoIterator<Item = Revocation>) {
        let now = self.clock.now();
        let more: Vec<Revocation> = more.into_iter().collect();
        self.revoked.rcu(|current| {
            let mut next: HashMap<Revoked, Revocation> =
                current.iter().filter(|(_, r)| r.expires > now).map(|(k, r)| (k.clone(), r.clone())).collect();
            for r in &more {
                let entry = next.entry(r.what.clone()).or_insert_with(|| r.clone());
                entry.before = entry.before.max(r.before);
                entry.expires = entry.expires.max(r.expires);
            }
            next
        });
        self.epoch.fetch_add(1, Release);
    }

    /// Replaces all revocations: after a restart or a gap in the feed.
    pub fn set_revocations(&self, all: impl IntoIterator<Item = Revocation>) {
        self.revoked.store(Arc::default());
        self.revoke(all);
    }
}

/// What a token's holder was given where it is scoped to.
fn grant(c: &base::Caller) -> Revoked {
    let target = if c.project_id.is_empty() { &c.project_domain_id } else { &c.project_id };
    Revoked::Grant(c.user_id.clone(), target.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{MAX_LEN, SigningKey};
    use base::{Caller, Role};
    use std::time::Duration;

    fn caller() -> Caller {
        Caller {
            user_id: "a1b2".into(),
            user: "alice".into(),
            user_domain_id: "default".into(),
            user_domain: "Default".into(),
            project_id: "9f1c".into(),
            project: "demo".into(),
            project_domain_id: "default".into(),
            project_domain: "Default".into(),
            roles: vec![Role { id: "77".into(), name: "project_owner".into() }],
            is_system_account: false,
        }
    }

    fn claims(clock: &Clock) -> Claims {
        Claims {
            caller: Arc::new(caller()),
            methods: vec!["password".into()],
            issued: clock.now(),
            expires: clock.now().plus_secs(3600),
            audit_ids: vec!["root".into(), "own".into()],
            source: "cli".into(),
            ip: Some("10.0.0.9".parse().unwrap()),
            ..Claims::default()
        }
    }

    struct Bench {
        clock: Clock,
        key: SigningKey,
        verifier: Verifier,
    }

    fn bench() -> Bench {
        let clock = Clock::manual(Timestamp::parse("2026-02-03T04:05:06Z").unwrap());
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let verifier = Verifier::new(KeyRing::new().with(&key), 1000, clock.clone());
        Bench { clock, key, verifier }
    }

    /// Every field, by its text: the caller's type has no equality of its own.
    #[track_caller]
    fn same(a: &Claims, b: &Claims) {
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }

    #[test]
    fn what_is_signed_is_read_back() {
        let b = bench();
        let claims = claims(&b.clock);
        let token = claims.sign(&b.key).unwrap();
        assert!(token.len() < 600, "{} bytes", token.len());
        let want = Claims { key_id: b.key.id().to_string(), ..claims.clone() };
        for _ in 0..2 {
            same(&b.verifier.verify(&token).unwrap(), &want);
        }
        // Unscoped, domain scope, system account.
        for change in [
            (|c: &mut Claims| {
                c.caller = Arc::new(Caller {
                    project_id: String::new(),
                    project: String::new(),
                    project_domain_id: String::new(),
                    project_domain: String::new(),
                    roles: vec![],
                    ..caller()
                })
            }) as fn(&mut Claims),
            |c| c.is_domain = true,
            |c| c.caller = Arc::new(Caller { is_system_account: true, ..caller() }),
            |c| c.ip = None,
        ] {
            let mut other = claims.clone();
            change(&mut other);
            let read = b.verifier.verify(&other.sign(&b.key).unwrap()).unwrap();
            same(&read, &Claims { key_id: b.key.id().to_string(), ..other });
        }
    }

    #[test]
    fn a_token_that_would_be_too_long_is_not_issued() {
        let b = bench();
        let roles = (0..80).map(|i| Role { id: base::hex_id(), name: format!("role{i}") }).collect();
        let long = Claims { caller: Arc::new(Caller { roles, ..caller() }), ..claims(&b.clock) };
        assert_eq!(long.sign(&b.key).unwrap_err().class(), base::Class::OutOfLimit);
        assert_eq!(b.verifier.verify(&"a".repeat(MAX_LEN + 1)).map(drop), Err(Refused::Malformed));
    }

    #[test]
    fn no_mutation_is_believed() {
        let b = bench();
        let token = claims(&b.clock).sign(&b.key).unwrap();
        // The last character of a base64 text carries spare bits; the decoder must insist that they are zero.
        let mut state = 1u64;
        let mut random = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        for round in 0..10_000 {
            let mut bytes = token.clone().into_bytes();
            match random(4) {
                0 => {
                    let at = random(bytes.len());
                    bytes[at] ^= 1 << random(7);
                }
                1 => {
                    bytes.remove(random(bytes.len()));
                }
                2 => bytes.insert(random(token.len() + 1), b"abcABC019-_.="[random(13)]),
                _ => {
                    let at = random(bytes.len());
                    bytes[at] = b"abcABC019-_.="[random(13)];
                }
            }
            let Ok(mutant) = String::from_utf8(bytes) else { continue };
            if mutant != token {
                assert!(b.verifier.verify(&mutant).is_err(), "round {round}: {mutant}");
            }
        }
        assert!(b.verifier.verify(&token).is_ok());
        for i in 0..token.len() {
            assert!(b.verifier.verify(&token[..i]).is_err());
        }
    }

    #[test]
    fn neither_another_key_nor_another_key_id_is_believed() {
        let b = bench();
        let other = SigningKey::from_seed(&[8; 32]).unwrap();
        let token = claims(&b.clock).sign(&other).unwrap();
        assert_eq!(b.verifier.verify(&token).map(drop), Err(Refused::UnknownKey));
        let renamed = token.replacen(other.id(), b.key.id(), 1);
        assert_eq!(b.verifier.verify(&renamed).map(drop), Err(Refused::BadSignature));
        let guest = Claims { caller: Arc::default(), ..claims(&b.clock) };
        assert_eq!(b.verifier.verify(&guest.sign(&b.key).unwrap()).map(drop), Err(Refused::Malformed));
    }

    #[test]
    fn time_and_rotation() {
        let b = bench();
        let token = claims(&b.clock).sign(&b.key).unwrap();
        let (next, seed) = SigningKey::generate().unwrap();
        assert_eq!(SigningKey::from_seed(&seed).unwrap().id(), next.id());
        assert!(b.verifier.verify(&token).is_ok());

        // Both keys during a rotation; then the old one retires, cached tokens included.
        let mut ring = KeyRing::new().with(&next);
        ring.add(b.key.id(), &b.key.public(), Some(b.clock.now().plus_secs(60))).unwrap();
        b.verifier.set_keys(ring);
        assert!(b.verifier.verify(&token).is_ok());
        assert!(b.verifier.verify(&claims(&b.clock).sign(&next).unwrap()).is_ok());
        b.clock.advance(Duration::from_secs(60));
        assert_eq!(b.verifier.verify(&token).map(drop), Err(Refused::UnknownKey));
        let ring = KeyRing::new().with(&next);
        assert_eq!(ring.ids().collect::<Vec<_>>(), [next.id()]);
        b.verifier.set_keys(ring);
        assert_eq!(b.verifier.verify(&token).map(drop), Err(Refused::UnknownKey));

        let token = claims(&b.clock).sign(&next).unwrap();
        assert!(b.verifier.verify(&token).is_ok());
        b.clock.advance(Duration::from_secs(3600));
        assert_eq!(b.verifier.verify(&token).map(drop), Err(Refused::Expired), "cached");
        assert_eq!(b.verifier.verify(&token).map(drop), Err(Refused::Expired), "and not");
        let early = Claims { issued: b.clock.now().plus_secs(500), expires: b.clock.now().plus_secs(900), ..claims(&b.clock) };
        assert_eq!(b.verifier.verify(&early.sign(&next).unwrap()).map(drop), Err(Refused::NotYet));
    }

    #[test]
    fn revocations_reach_cached_tokens_and_only_older_ones() {
        for (what, hit) in [
            (Revoked::Chain("root".into()), true),
            (Revoked::Chain("own".into()), true),
            (Revoked::Chain("else".into()), false),
            (Revoked::User("a1b2".into()), true),
            (Revoked::Project("9f1c".into()), true),
            (Revoked::Project(String::new()), false),
            (Revoked::Domain("default".into()), true),
            (Revoked::Domain("else".into()), false),
            (Revoked::Grant("a1b2".into(), "9f1c".into()), true),
            (Revoked::Grant("a1b2".into(), "else".into()), false),
            (Revoked::Grant("else".into(), "9f1c".into()), false),
        ] {
            let b = bench();
            let token = claims(&b.clock).sign(&b.key).unwrap();
            assert!(b.verifier.verify(&token).is_ok());
            b.verifier.revoke([Revocation { what: what.clone(), before: b.clock.now(), expires: b.clock.now().plus_secs(86_400) }]);
            let want = if hit { Err(Refused::Revoked) } else { Ok(()) };
            for cached in [true, false] {
                assert_eq!(b.verifier.verify(&token).map(drop), want, "{what:?} {cached}");
            }
            b.clock.advance(Duration::from_secs(1));
            assert!(b.verifier.verify(&claims(&b.clock).sign(&b.key).unwrap()).is_ok(), "a later login works: {what:?}");
        }
    }

    #[test]
    fn revocations_are_merged_and_forgotten() {
        let b = bench();
        let user = || Revoked::User("a1b2".into());
        let now = b.clock.now();
        b.verifier.revoke([Revocation { what: user(), before: now, expires: now.plus_secs(10) }]);
        b.verifier.revoke([Revocation { what: user(), before: now.plus_secs(-5), expires: now.plus_secs(5) }]);
        let token = claims(&b.clock).sign(&b.key).unwrap();
        assert_eq!(b.verifier.verify(&token).map(drop), Err(Refused::Revoked), "an older revocation does not take back a newer one");
        b.clock.advance(Duration::from_secs(11));
        b.verifier.revoke([]);
        assert!(b.verifier.revoked.load().is_empty());
        b.verifier.set_revocations([]);
    }

    #[test]
    fn the_cache_is_bounded() {
        let b = bench();
        for i in 0..300 {
            let c = Claims { audit_ids: vec![i.to_string()], ..claims(&b.clock) };
            assert!(b.verifier.verify(&c.sign(&b.key).unwrap()).is_ok());
        }
        let small = Verifier::new(KeyRing::new().with(&b.key), 64, b.clock.clone());
        for i in 0..300 {
            let c = Claims { audit_ids: vec![i.to_string()], ..claims(&b.clock) };
            assert!(small.verify(&c.sign(&b.key).unwrap()).is_ok());
        }
        assert!(small.cache.len() <= 64, "{}", small.cache.len());
    }
}
