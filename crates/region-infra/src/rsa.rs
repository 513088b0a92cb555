//! RSA key pairs, as existing clients ask for when they name no scheme: two random primes put together as RFC 8017 says.
//!
//! Called for key pairs alone. The finished key is read back by `ring`, which checks that its parts belong together, before anybody gets it.

use base::{Error, Result};
use crypto_bigint::{NonZero, U1024, U2048};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

/// Bits of each prime: half of the modulus.
const HALF: u32 = 1024;
/// The public exponent, 65537.
const F4: [u8; 3] = [1, 0, 1];

/// A new pair of 2048 bits: the key blob of SSH (RFC 4253 §6.6), and the private half as DER (RFC 8017 A.1.2). Takes some hundred milliseconds
/// of a processor.
pub(crate) fn generate() -> Result<(Vec<u8>, Vec<u8>)> {
    // Asked once where it can fail: from here on the kernel's generator does.
    getrandom::fill(&mut [0; 1]).map_err(Error::internal)?;
    loop {
        let (p, q) = (prime()?, prime()?);
        // As good as never: equal primes, or an exponent that has no inverse.
        if let Some(key) = assemble(p.max(q), p.min(q)) {
            ring::rsa::KeyPair::from_der(&key.1).map_err(|e| Error::internal(format!("a made RSA key is not one: {e}")))?;
            return Ok(key);
        }
    }
}

fn prime() -> Result<U1024> {
    let factory = SmallFactorsSieveFactory::new(Flavor::Any, HALF, SetBits::TwoMsb).map_err(|e| Error::internal(e.to_string()))?;
    let found = sieve_and_find(&mut UnwrapErr(SysRng), factory, |_, candidate: &U1024| is_prime(Flavor::Any, candidate));
    found.map_err(|e| Error::internal(e.to_string()))?.ok_or_else(|| Error::internal("no prime was found"))
}

fn assemble(p: U1024, q: U1024) -> Option<(Vec<u8>, Vec<u8>)> {
    if p == q {
        return None;
    }
    let (p1, q1) = (p.wrapping_sub(&U1024::ONE), q.wrapping_sub(&U1024::ONE));
    let n: U2048 = p.concatenating_mul(&q);
    let phi: U2048 = p1.concatenating_mul(&q1);
    let inverse = |m: U1024| U1024::from(65_537u32).invert_mod(&NonZero::new(m).into_option()?).into_option();
    let d = U2048::from(65_537u32).invert_mod(&NonZero::new(phi).into_option()?).into_option()?;
    let (dp, dq) = (inverse(p1)?, inverse(q1)?);
    let coefficient = q.invert_mod(&NonZero::new(p).into_option()?).into_option()?;

    let bytes = |n: U1024| n.to_be_bytes().as_ref().to_vec();
    let modulus = n.to_be_bytes().as_ref().to_vec();
    let mut blob = Vec::new();
    for part in [b"ssh-rsa".to_vec(), integer(&F4), integer(&modulus)] {
        blob.extend_from_slice(&(part.len() as u32).to_be_bytes());
        blob.extend_from_slice(&part);
    }
    let mut body = Vec::new();
    for n in
        [vec![0], modulus, F4.to_vec(), d.to_be_bytes().as_ref().to_vec(), bytes(p), bytes(q), bytes(dp), bytes(dq), bytes(coefficient)]
    {
        der(&mut body, 0x02, &integer(&n));
    }
    let mut key = Vec::new();
    der(&mut key, 0x30, &body);
    Some((blob, key))
}

/// A positive number without leading zeros, but for the one that keeps it positive: as both DER and SSH write it.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len().saturating_sub(1));
    let digits = &bytes[start..];
    if digits.first().is_some_and(|b| b & 0x80 != 0) { [&[0], digits].concat() } else { digits.to_vec() }
}

/// One value with its tag and length (X.690 §8.1).
fn der(into: &mut Vec<u8>, tag: u8, value: &[u8]) {
    into.push(tag);
    match u8::try_from(value.len()) {
        Ok(n) if n < 0x80 => into.push(n),
        _ => {
            let length = integer(&(value.len() as u64).to_be_bytes());
            let digits = if length[0] == 0 { &length[1..] } else { &length[..] };
            into.push(0x80 | digits.len() as u8);
            into.extend_from_slice(digits);
        }
    }
    into.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::KeyPair as _;

    #[test]
    fn a_made_key_signs_what_its_public_half_verifies() {
        let (blob, key) = generate().expect("a pair");
        let pair = ring::rsa::KeyPair::from_der(&key).expect("a key");
        let mut signature = vec![0; pair.public().modulus_len()];
        assert_eq!(signature.len(), 256);
        pair.sign(&ring::signature::RSA_PKCS1_SHA256, &ring::rand::SystemRandom::new(), b"words", &mut signature).expect("a signature");
        let public = ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, pair.public_key());
        public.verify(b"words", &signature).expect("verified");
        assert!(public.verify(b"other words", &signature).is_err());
        let modulus: Vec<u8> = integer(ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public()).n.as_slice());
        assert!(blob.ends_with(&modulus) && blob.starts_with(b"\0\0\0\x07ssh-rsa\0\0\0\x03\x01\0\x01"), "{blob:?}");
        assert_ne!(generate().expect("another pair").0, blob);
    }

    #[test]
    fn numbers_and_lengths() {
        for (bytes, want) in [(&[0u8][..], &[0u8][..]), (&[0, 0, 5], &[5]), (&[0x80], &[0, 0x80]), (&[0, 0x7f, 0], &[0x7f, 0])] {
            assert_eq!(integer(bytes), want);
        }
        for (length, want) in [(3, &[0x30, 3][..]), (0x7f, &[0x30, 0x7f]), (0x80, &[0x30, 0x81, 0x80]), (0x1234, &[0x30, 0x82, 0x12, 0x34])]
        {
            let mut out = Vec::new();
            der(&mut out, 0x30, &vec![0; length]);
            assert_eq!(&out[..want.len()], want);
        }
    }
}
