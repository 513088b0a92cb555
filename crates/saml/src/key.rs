//! Keys of an identity provider, out of its certificates, and the arithmetic of signatures, which is ring's.

use crate::refuse;
use api_identity::saml::{Reason, Refusal};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::public_key::PublicKey;

/// A public key.
#[derive(Debug)]
pub struct Key {
    kind: Kind,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
}

/// Bits of the shortest RSA key that counts.
const SHORTEST_RSA: usize = 2048;

impl Key {
    /// From a certificate, PEM or bare base64. Only its key is looked at: that the certificate stands in the configuration is what makes it
    /// trusted, as SAML's metadata has it; names, dates and issuers in it mean nothing.
    pub fn of_certificate(text: &str) -> Result<Key, Refusal> {
        let bad = |why: String| refuse(Reason::Certificate, why);
        let packed: String = text.lines().filter(|l| !l.starts_with("-----")).flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
        let der = STANDARD.decode(packed).map_err(|e| bad(format!("no certificate: {e}")))?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|e| bad(format!("no certificate: {e}")))?;
        let info = certificate.public_key();
        let bytes = info.subject_public_key.data.to_vec();
        let kind = match info.parsed().map_err(|e| bad(format!("no public key: {e}")))? {
            PublicKey::RSA(rsa) if rsa.key_size() < SHORTEST_RSA => {
                return Err(bad(format!("an RSA key of {} bits, at least {SHORTEST_RSA}", rsa.key_size())));
            }
            PublicKey::RSA(_) => Kind::Rsa,
            PublicKey::EC(point) if point.key_size() == 256 => Kind::P256,
            PublicKey::EC(point) if point.key_size() == 384 => Kind::P384,
            _ => return Err(bad("a key that is neither RSA nor on the curves P-256 or P-384".into())),
        };
        Ok(Key { kind, bytes })
    }
}

/// A signature algorithm that is accepted: public keys only, SHA-2 only (RFC 9231 names them).
#[derive(Clone, Copy)]
pub struct Method {
    kind: Kind,
    how: &'static dyn VerificationAlgorithm,
}

impl Method {
    pub fn named(uri: &str) -> Result<Method, Refusal> {
        let (kind, how): (Kind, &'static dyn VerificationAlgorithm) = match uri {
            "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256" => (Kind::Rsa, &RSA_PKCS1_2048_8192_SHA256),
            "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384" => (Kind::Rsa, &RSA_PKCS1_2048_8192_SHA384),
            "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512" => (Kind::Rsa, &RSA_PKCS1_2048_8192_SHA512),
            "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256" => (Kind::P256, &ECDSA_P256_SHA256_FIXED),
            "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384" => (Kind::P384, &ECDSA_P384_SHA384_FIXED),
            _ => return Err(refuse(Reason::Algorithm, format!("signed by {uri}"))),
        };
        Ok(Method { kind, how })
    }

    /// Whether one of the keys made this signature. Which one the document claims does not matter.
    pub fn holds(self, keys: &[Key], message: &[u8], signature: &[u8]) -> bool {
        let fits = keys.iter().filter(|key| key.kind == self.kind);
        fits.into_iter().any(|key| UnparsedPublicKey::new(self.how, &key.bytes).verify(message, signature).is_ok())
    }
}

/// A digest algorithm that is accepted.
pub fn digest_named(uri: &str) -> Result<&'static digest::Algorithm, Refusal> {
    match uri {
        "http://www.w3.org/2001/04/xmlenc#sha256" => Ok(&digest::SHA256),
        "http://www.w3.org/2001/04/xmldsig-more#sha384" => Ok(&digest::SHA384),
        "http://www.w3.org/2001/04/xmlenc#sha512" => Ok(&digest::SHA512),
        _ => Err(refuse(Reason::Algorithm, format!("digested by {uri}"))),
    }
}
