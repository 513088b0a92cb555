//! Signing and verification keys.

use super::check::PublicKey;
use base::{Result, Timestamp, err};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair, Signature};
use std::{collections::HashMap, fmt};

/// A key that signs. Only the identity service holds one.
pub struct SigningKey {
    id: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A new key and its seed of 32 bytes, to be stored encrypted. Its id, with which every token of it begins, begins with a letter or digit:
    /// command lines take a dash for an option.
    pub fn generate() -> Result<(SigningKey, [u8; 32])> {
        loop {
            let mut seed = [0u8; 32];
            getrandom::fill(&mut seed).map_err(base::Error::internal)?;
            let key = SigningKey::from_seed(&seed)?;
            if key.id.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                return Ok((key, seed));
            }
        }
    }

    /// The key of a stored seed. Its id follows from the key, so the same seed always has the same id.
    pub fn from_seed(seed: &[u8]) -> Result<SigningKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| err!(Internal, "a token signing key must have 32 bytes, it has {}", seed.len()))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, pair.public_key().as_ref());
        Ok(SigningKey { id: URL_SAFE_NO_PAD.encode(&digest.as_ref()[..9]), pair })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half: 32 bytes, base64url without padding.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref())
    }

    pub(super) fn sign(&self, message: &[u8]) -> Signature {
        self.pair.sign(message)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

/// The public keys tokens may be signed with. During a rotation there are two or more.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: HashMap<String, Key>,
}

#[derive(Clone)]
struct Key {
    public: PublicKey,
    retires: Option<Timestamp>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.retires)
    }
}

impl KeyRing {
    pub fn new() -> KeyRing {
        KeyRing::default()
    }

    /// Adds a public key as [`SigningKey::public`] writes it. After `retires` its tokens are refused.
    pub fn add(&mut self, id: &str, public: &str, retires: Option<Timestamp>) -> Result<()> {
        let bytes = URL_SAFE_NO_PAD.decode(public).ok().and_then(|b| <[u8; 32]>::try_from(b).ok());
        let public = bytes.and_then(PublicKey::new);
        let public = public.ok_or_else(|| err!(InputParameter, "token key {} must be 32 bytes in base64url", id))?;
        self.keys.insert(id.to_string(), Key { public, retires });
        Ok(())
    }

    #[must_use]
    pub fn with(mut self, key: &SigningKey) -> KeyRing {
        let mut bytes = [0u8; 32];
        bytes.copy_from_slice(key.pair.public_key().as_ref());
        // The public half of a pair is a point; without it no token of the pair would be believed.
        if let Some(public) = PublicKey::new(bytes) {
            self.keys.insert(key.id.clone(), Key { public, retires: None });
        }
        self
    }

    pub(super) fn get(&self, id: &str) -> Option<&PublicKey> {
        self.keys.get(id).map(|k| &k.public)
    }

    /// When a key's tokens stop to count; `None` for a key that is not here.
    pub(super) fn retires(&self, id: &str) -> Option<Timestamp> {
        self.keys.get(id).map(|k| k.retires.unwrap_or(Timestamp(i64::MAX)))
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_looks_like_an_option() {
        // One in 32 would.
        for _ in 0..500 {
            let (key, seed) = SigningKey::generate().expect("a key");
            assert!(key.id().as_bytes()[0].is_ascii_alphanumeric(), "{key:?}");
            assert_eq!(SigningKey::from_seed(&seed).expect("a key").id(), key.id());
        }
    }
}
