//! Tokens, as a stranger makes them and as somebody would who could have anything signed.

use auth::{KeyRing, SigningKey, Verifier};
use base::{Clock, Timestamp};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::Ed25519KeyPair;
use std::sync::LazyLock;

const SEED: [u8; 32] = [7; 32];

struct House {
    key: SigningKey,
    pair: Ed25519KeyPair,
    now: Timestamp,
    clock: Clock,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let now = Timestamp::parse("2026-02-03T04:05:06Z").expect("a time");
    House {
        key: SigningKey::from_seed(&SEED).expect("a key"),
        pair: Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a key"),
        now,
        clock: Clock::manual(now),
    }
});

/// The first byte says whether the rest is a token or the payload of one that is signed rightly.
pub fn token(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let house = &*HOUSE;
    let verifier = Verifier::new(KeyRing::new().with(&house.key), 4, house.clock.clone());
    if mode % 2 == 0 {
        let Ok(text) = std::str::from_utf8(rest) else { return };
        for shown in [text.to_string(), format!("{}.{text}", house.key.id())] {
            // Nobody but the holder of the key makes a signature.
            assert!(verifier.verify(&shown).is_err(), "believed {shown}");
            assert!(verifier.verify(&shown).is_err(), "believed at the second look {shown}");
        }
        return;
    }
    let signed = format!("{}.{}", house.key.id(), URL_SAFE_NO_PAD.encode(rest));
    let signature = house.pair.sign(format!("wolke-token:{signed}").as_bytes());
    let shown = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
    let Ok(claims) = verifier.verify(&shown) else { return };
    assert!(!claims.caller.is_guest(), "a token of nobody");
    assert!(claims.expires > house.now && shown.len() <= auth::token::MAX_LEN);
    // Rules of application credentials are walked with every request.
    if let Some(limits) = &claims.limits {
        limits.allow("compute", "GET", &["servers", "x", ".."]);
    }
    // What was read can be written, and says the same again.
    if let Ok(again) = claims.sign(&house.key) {
        let read = verifier.verify(&again).expect("what was just signed");
        let ids = |c: &auth::Claims| c.caller.roles.iter().map(|r| r.id.clone()).collect::<Vec<_>>();
        assert_eq!((ids(&read), &read.caller.user_id, read.expires), (ids(&claims), &claims.caller.user_id, claims.expires));
        // Of another key's word nothing is believed.
        let other = SigningKey::from_seed(&[8; 32]).expect("a key");
        let stranger = Verifier::new(KeyRing::new().with(&other), 4, house.clock.clone());
        assert!(stranger.verify(&again).is_err() && stranger.verify(&shown).is_err());
    }
}
