//! Signed tokens of other authorities: JWS in compact form (RFC 7515) against a JWK set (RFC 7517), with signatures of public keys only. Pure.
//!
//! What a token says of itself never decides how it is checked: the algorithm must be one that was agreed on with this issuer and one the key is
//! for. `none` and the HMAC family do not exist here, so that no public key can be taken for a shared secret.

use base::Json;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};

/// Algorithms there are (RFC 7518 §3.1, RFC 8037).
pub const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
/// Longest token that is looked at, bytes.
const LONGEST: usize = 64 << 10;
/// Keys of a set that are tried for a token that names none.
const MOST: usize = 20;

/// Why a token is not believed; for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No token in compact form, or one with extensions nobody here knows.
    Malformed(&'static str),
    /// Its algorithm is not among those agreed on.
    Algorithm(String),
    /// No key of the set is fit for it; a newer set may have one.
    NoKey,
    /// A fitting key, and another signature.
    Signature,
}

/// A token taken apart, nothing of it believed yet.
pub struct Token<'a> {
    signed: &'a [u8],
    signature: Vec<u8>,
    header: Json,
    claims: Json,
}

/// Takes a token apart.
pub fn parse(text: &str) -> Result<Token<'_>, Refused> {
    if text.len() > LONGEST {
        return Err(Refused::Malformed("too long"));
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(Refused::Malformed("no parts"))?;
    let (header, claims) = signed.split_once('.').filter(|(_, c)| !c.contains('.')).ok_or(Refused::Malformed("not three parts"))?;
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed("no base64url"));
    let object = |part: &str| -> Result<Json, Refused> {
        let json: Json = serde_json::from_slice(&bytes(part)?).map_err(|_| Refused::Malformed("no JSON"))?;
        if json.is_object() { Ok(json) } else { Err(Refused::Malformed("no object")) }
    };
    let token = Token { signed: signed.as_bytes(), signature: bytes(signature)?, header: object(header)?, claims: object(claims)? };
    // Extensions that must be understood (RFC 7515 §4.1.11): none is.
    if token.header.get("crit").is_some() {
        return Err(Refused::Malformed("crit"));
    }
    Ok(token)
}

impl Token<'_> {
    /// `typ` of the header, in lower case and without `application/`.
    pub fn kind(&self) -> String {
        let typ = self.header["typ"].as_str().unwrap_or_default().to_ascii_lowercase();
        typ.strip_prefix("application/").map(str::to_string).unwrap_or(typ)
    }

    /// The claims, once a key of the set has signed them with one of the algorithms.
    pub fn verify(self, set: &Json, algorithms: &[String]) -> Result<Json, Refused> {
        let algorithm = self.header["alg"].as_str().unwrap_or_default();
        if !ALGORITHMS.contains(&algorithm) || !algorithms.iter().any(|a| a == algorithm) {
            return Err(Refused::Algorithm(algorithm.chars().take(32).collect()));
        }
        let kid = self.header.get("kid").map(|k| k.as_str().unwrap_or_default());
        let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut fitting = keys.iter().filter(|key| fits(key, kid, algorithm)).take(MOST).peekable();
        if fitting.peek().is_none() {
            return Err(Refused::NoKey);
        }
        let signed = fitting.any(|key| holds(key, algorithm, self.signed, &self.signature));
        if signed {
            Ok(self.claims)
        } else if kid.is_some() {
            Err(Refused::Signature)
        } else {
            Err(Refused::NoKey)
        }
    }
}

fn fits(key: &Json, kid: Option<&str>, algorithm: &str) -> bool {
    let text = |name: &str| key[name].as_str();
    let (kty, crv) = match algorithm {
        "ES256" => ("EC", Some("P-256")),
        "ES384" => ("EC", Some("P-384")),
        "EdDSA" => ("OKP", Some("Ed25519")),
        _ => ("RSA", None),
    };
    text("kty") == Some(kty)
        && crv.is_none_or(|crv| text("crv") == Some(crv))
        && text("use").is_none_or(|usage| usage == "sig")
        && text("alg").is_none_or(|alg| alg == algorithm)
        && kid.is_none_or(|kid| text("kid") == Some(kid))
}

fn holds(key: &Json, algorithm: &str, signed: &[u8], signature: &[u8]) -> bool {
    let part =
        |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap_or_default().trim_end_matches('=')).ok().filter(|b| !b.is_empty());
    let number = |name: &str| part(name).map(|b| b.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>());
    let rsa = |how: &'static RsaParameters| match (number("n"), number("e")) {
        (Some(n), Some(e)) => RsaPublicKeyComponents { n: &n, e: &e }.verify(how, signed, signature).is_ok(),
        _ => false,
    };
    // Coordinates come in their full length (RFC 7518 §6.2.1.2).
    let curve = |how: &'static dyn signature::VerificationAlgorithm, size: usize| match (part("x"), part("y")) {
        (Some(x), Some(y)) if x.len() == size && y.len() == size => {
            let point = [&[4u8][..], &x, &y].concat();
            UnparsedPublicKey::new(how, point).verify(signed, signature).is_ok()
        }
        _ => false,
    };
    match algorithm {
        "RS256" => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        "RS384" => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        "RS512" => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        "PS256" => rsa(&signature::RSA_PSS_2048_8192_SHA256),
        "PS384" => rsa(&signature::RSA_PSS_2048_8192_SHA384),
        "PS512" => rsa(&signature::RSA_PSS_2048_8192_SHA512),
        "ES256" => curve(&signature::ECDSA_P256_SHA256_FIXED, 32),
        "ES384" => curve(&signature::ECDSA_P384_SHA384_FIXED, 48),
        "EdDSA" => part("x").is_some_and(|x| UnparsedPublicKey::new(&signature::ED25519, x).verify(signed, signature).is_ok()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::json;

    fn b64(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn ed25519() -> (Ed25519KeyPair, Json) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(pair.public_key().as_ref())});
        (pair, jwk)
    }

    fn token(header: Json, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(br#"{"sub":"7"}"#));
        let signature = sign(signed.as_bytes());
        format!("{signed}.{}", b64(&signature))
    }

    fn verify(text: &str, keys: &[Json], algorithms: &[&str]) -> Result<Json, Refused> {
        let algorithms: Vec<String> = algorithms.iter().map(|a| (*a).to_string()).collect();
        parse(text)?.verify(&json!({ "keys": keys }), &algorithms)
    }

    /// RFC 7515 A.2: RSA with SHA-256.
    #[test]
    fn the_example_of_the_standard() {
        let key = json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"});
        let text = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        assert_eq!(verify(text, std::slice::from_ref(&key), &["RS256"]).expect("claims")["iss"], "joe");
        // The same signature under another name, and another text under the same signature.
        assert_eq!(verify(text, std::slice::from_ref(&key), &["ES256"]).expect_err("refused"), Refused::Algorithm("RS256".into()));
        let other = text.replacen("joe", "bob", 1).replacen("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJib2Ii", 1);
        assert_eq!(verify(&other, &[key], &["RS256"]).expect_err("refused"), Refused::NoKey);
    }

    #[test]
    fn curves() {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key");
        let point = pair.public_key().as_ref();
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "p", "x": b64(&point[1..33]), "y": b64(&point[33..])});
        let text = token(json!({"alg": "ES256", "kid": "p"}), |m| pair.sign(&random, m).expect("signed").as_ref().to_vec());
        let (ed, ed_key) = ed25519();
        let keys = [ed_key.clone(), key];
        assert_eq!(verify(&text, &keys, &["ES256", "EdDSA"]).expect("claims")["sub"], "7");
        let text = token(json!({"alg": "EdDSA"}), |m| ed.sign(m).as_ref().to_vec());
        assert_eq!(verify(&text, &keys, &["ES256", "EdDSA"]).expect("claims")["sub"], "7");
    }

    #[test]
    fn what_is_not_believed() {
        let (ed, key) = ed25519();
        let sign = |m: &[u8]| ed.sign(m).as_ref().to_vec();
        let all: Vec<&str> = ALGORITHMS.to_vec();
        let check = |header: Json, keys: &[Json], want: Refused| {
            let text = token(header.clone(), sign);
            assert_eq!(verify(&text, keys, &all).expect_err("refused"), want, "{header}");
        };
        let keys = [key.clone()];
        check(json!({"alg": "none"}), &keys, Refused::Algorithm("none".into()));
        check(json!({"alg": "HS256", "kid": "ed"}), &keys, Refused::Algorithm("HS256".into()));
        check(json!({}), &keys, Refused::Algorithm(String::new()));
        check(json!({"alg": "EdDSA", "crit": ["b64"], "b64": false}), &keys, Refused::Malformed("crit"));
        check(json!({"alg": "EdDSA", "kid": "other"}), &keys, Refused::NoKey);
        check(json!({"alg": "RS256", "kid": "ed"}), &keys, Refused::NoKey);
        let mut encrypting = key.clone();
        encrypting["use"] = json!("enc");
        check(json!({"alg": "EdDSA", "kid": "ed"}), &[encrypting], Refused::NoKey);
        let mut other = key.clone();
        other["x"] = json!(b64(&[1; 32]));
        check(json!({"alg": "EdDSA", "kid": "ed"}), &[other], Refused::Signature);

        // An HMAC with the public key as its secret.
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, ed.public_key().as_ref());
        let text = token(json!({"alg": "HS256", "kid": "ed"}), |m| ring::hmac::sign(&secret, m).as_ref().to_vec());
        let agreed = vec!["HS256".to_string(), "none".into()];
        let refused = parse(&text).expect("a token").verify(&json!({ "keys": keys }), &agreed);
        assert_eq!(refused.expect_err("refused"), Refused::Algorithm("HS256".into()), "whatever was agreed on");

        let good = token(json!({"alg": "EdDSA"}), sign);
        for bad in ["", "..", "a.b", "a.b.c.d", &good[..good.len() - 4], &format!("{good}.x"), &good.replacen('.', "..", 1)] {
            assert!(verify(bad, &keys, &all).is_err(), "{bad}");
        }
    }
}
