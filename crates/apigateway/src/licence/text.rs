//! A licence as a text: what it grants, signed with Ed25519 (RFC 8032). Pure: bytes in, terms out.
//!
//! ```text
//! wolke-licence-1 "." base64url(public key of the signer) "." base64url(terms as JSON) "." base64url(signature over all before the last dot)
//! ```

use base::{Error, Result, err};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

const MARK: &str = "wolke-licence-1";
/// Longest text that is looked at, bytes.
const LONGEST: usize = 64 << 10;

/// How much there may be; 0 is any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub hosts: i64,
    /// Virtual processors of all servers together.
    pub cpus: i64,
    pub servers: i64,
}

/// What a licence says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Terms {
    pub id: String,
    /// `community`, `standard`, `enterprise`…
    pub edition: String,
    pub issued_to: String,
    pub issued_at: String,
    /// From when on, RFC 3339; empty: always was.
    pub not_before: String,
    /// Until when, not included; empty: for ever.
    pub not_after: String,
    pub limits: Limits,
    /// Types of services in which things may be made; empty: all.
    pub services: Vec<String>,
    /// Keys of features that consoles look for; empty: all.
    pub features: Vec<String>,
}

/// Signs terms. `seed` are the 32 bytes of the private key.
pub fn sign(terms: &Terms, seed: &[u8]) -> Result<String> {
    let key = Ed25519KeyPair::from_seed_unchecked(seed)
        .map_err(|_| err!(InputParameter, "the signing key must have 32 bytes, it has {}", seed.len()))?;
    let payload = serde_json::to_vec(terms).map_err(Error::internal)?;
    let head = format!("{MARK}.{}.{}", B64.encode(key.public_key().as_ref()), B64.encode(payload));
    let signature = B64.encode(key.sign(head.as_bytes()).as_ref());
    Ok(format!("{head}.{signature}"))
}

/// The public key of a private one, base64url.
pub fn signer(seed: &[u8]) -> Result<String> {
    let key = Ed25519KeyPair::from_seed_unchecked(seed)
        .map_err(|_| err!(InputParameter, "the signing key must have 32 bytes, it has {}", seed.len()))?;
    Ok(B64.encode(key.public_key().as_ref()))
}

/// What a text says, if one of the signers signed it. Blanks and line breaks do not count.
pub fn read(text: &str, signers: &[Vec<u8>]) -> Result<Terms> {
    if text.len() > LONGEST {
        return Err(err!(InputParameter, "the licence is larger than {} bytes", LONGEST));
    }
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let broken = || err!(InputParameter, "this is no licence, or it was damaged on its way; ask for it again");
    let (head, signature) = text.rsplit_once('.').ok_or_else(broken)?;
    let parts: Vec<&str> = head.split('.').collect();
    let [MARK, signer, payload] = parts[..] else { return Err(broken()) };
    let decoded = |part: &str| B64.decode(part).map_err(|_| broken());
    let (signer, signature, payload) = (decoded(signer)?, decoded(signature)?, decoded(payload)?);
    if !signers.contains(&signer) {
        return Err(err!(InputParameter, "the licence is signed by somebody this installation does not trust"));
    }
    let key = UnparsedPublicKey::new(&ED25519, &signer);
    key.verify(head.as_bytes(), &signature).map_err(|_| err!(InputParameter, "the licence was changed after it was signed"))?;
    serde_json::from_slice(&payload).map_err(|e| broken().with_context(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_trusted_signer_signed() {
        let (ours, theirs) = ([7u8; 32], [8u8; 32]);
        let trusted = vec![B64.decode(signer(&ours).expect("a key")).expect("base64")];
        let terms =
            Terms { id: "1".into(), edition: "standard".into(), limits: Limits { servers: 3, ..Limits::default() }, ..Terms::default() };
        let text = sign(&terms, &ours).expect("signed");
        assert_eq!(read(&text, &trusted).expect("good"), terms);
        let folded: String = text.as_bytes().chunks(40).map(|c| format!("{}\r\n", String::from_utf8_lossy(c))).collect();
        assert_eq!(read(&folded, &trusted).expect("line breaks do not count"), terms);

        let why = |text: &str| read(text, &trusted).expect_err("refused").to_string();
        assert!(why(&sign(&terms, &theirs).expect("signed")).contains("does not trust"));
        // More servers under the old signature; the old signature of another; every bit of the payload.
        let other = sign(&Terms { limits: Limits { servers: 300, ..Limits::default() }, ..terms.clone() }, &theirs).expect("signed");
        let mut forged: Vec<&str> = text.split('.').collect();
        let payload = other.split('.').nth(2).expect("a payload");
        forged[2] = payload;
        assert!(why(&forged.join(".")).contains("was changed"));
        let mut named: Vec<&str> = other.split('.').collect();
        let own = text.split('.').nth(1).expect("a key").to_string();
        named[1] = &own;
        assert!(why(&named.join(".")).contains("was changed"), "our name under their signature");
        for at in (0..text.len()).step_by(7) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(read(&String::from_utf8_lossy(&bytes), &trusted).is_err(), "byte {at}");
        }
        for bad in ["", "x", "a.b.c.d", "wolke-licence-1...", &"x".repeat(LONGEST + 1)] {
            assert!(read(bad, &trusted).is_err());
        }
        assert!(sign(&terms, &[1; 31]).is_err());
    }
}
