//! Secrets at rest: ChaCha20-Poly1305 (RFC 8439) under the installation's key, `v1.` and base64url of nonce and sealed text.
//!
//! One installation has one key; each service seals under one derived from it, so that nothing sealed by one opens in another.

use base::{Error, Result, err};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{aead, hmac};

/// Closes and opens the secrets of one service.
pub struct Seal {
    key: aead::LessSafeKey,
    fingerprint: hmac::Key,
    /// `wolke-` and the service: a sealed text of another is refused even under the same key.
    about: String,
}

impl Seal {
    /// From the configured key, 64 hex digits, for a service.
    pub fn new(key: &str, service: &str) -> Result<Seal> {
        let bytes = hex::decode(key).ok().filter(|b| b.len() == 32);
        let bytes = bytes.ok_or_else(|| err!(InputParameter, "secret_key must be 64 hex digits; make one with: openssl rand -hex 32"))?;
        let master = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        // One key for each use, so that no output of one says anything about the other.
        let derive = |what: &[u8]| hmac::sign(&master, what);
        let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, derive(format!("{service} seal").as_bytes()).as_ref())
            .map_err(Error::internal)?;
        let about = format!("wolke-{service}");
        Ok(Seal {
            about,
            key: aead::LessSafeKey::new(key),
            fingerprint: hmac::Key::new(hmac::HMAC_SHA256, derive(format!("{service} fingerprint").as_bytes()).as_ref()),
        })
    }

    /// Seals a text; no two sealed texts are alike.
    pub fn close(&self, text: &str) -> Result<String> {
        let mut nonce = [0u8; aead::NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(Error::internal)?;
        let mut body = text.as_bytes().to_vec();
        let sealed =
            self.key.seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(self.about.as_bytes()), &mut body);
        sealed.map_err(Error::internal)?;
        Ok(format!("v1.{}", URL_SAFE_NO_PAD.encode([&nonce[..], &body].concat())))
    }

    /// Fails for what another key sealed, or what was changed since.
    pub fn open(&self, sealed: &str) -> Result<String> {
        let damaged =
            || Error::internal("a sealed secret cannot be opened: it is damaged, or secret_key is not the one it was sealed with");
        let mut bytes = sealed.strip_prefix("v1.").and_then(|t| URL_SAFE_NO_PAD.decode(t).ok()).ok_or_else(damaged)?;
        let (nonce, body) = bytes.split_at_mut_checked(aead::NONCE_LEN).ok_or_else(damaged)?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let open = self.key.open_in_place(nonce, aead::Aad::from(self.about.as_bytes()), body).map_err(|_| damaged())?;
        String::from_utf8(open.to_vec()).map_err(|_| damaged())
    }

    /// The same for the same text, and nothing to learn from without the key.
    pub fn fingerprint(&self, text: &str) -> String {
        hex::encode(hmac::sign(&self.fingerprint, text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_opens_what_was_not_touched() {
        let seal = Seal::new(&"11".repeat(32), "compute").expect("a key");
        let sealed = seal.close("S3cret").expect("sealed");
        assert_eq!(seal.open(&sealed).expect("open"), "S3cret");
        assert!(!sealed.contains("S3cret") && sealed != seal.close("S3cret").expect("sealed"), "no two alike");
        let neighbour = Seal::new(&"11".repeat(32), "identity").expect("a key");
        let other = Seal::new(&"22".repeat(32), "compute").expect("a key");
        assert!(other.open(&sealed).is_err() && neighbour.open(&sealed).is_err());
        let mut touched = sealed.clone();
        let last = touched.pop().expect("not empty");
        touched.push(if last == 'A' { 'B' } else { 'A' });
        for bad in [&touched, "", "v1.", "v1.AAAA", "v2.AAAA", &sealed[..sealed.len() - 4]] {
            assert!(seal.open(bad).is_err(), "{bad}");
        }
        assert_eq!(seal.fingerprint("a"), seal.fingerprint("a"));
        assert_ne!(seal.fingerprint("a"), other.fingerprint("a"));
        for bad in ["", "11", &"zz".repeat(32)] {
            assert!(Seal::new(bad, "compute").is_err());
        }
    }
}
