//! One-time passwords by time (RFC 6238, over the truncation of RFC 4226 §5.3).
//!
//! Pure: the caller keeps the secret and the last step that was used, and hands both in. A code counts in its own half minute and the ones
//! beside it, because phones are never quite on time, and never twice.

use base::Timestamp;
use ring::hmac;
use subtle::{Choice, ConstantTimeEq};

/// Seconds of one step.
pub const PERIOD: i64 = 30;
/// Digits of a code, as generator apps show it.
pub const DIGITS: u32 = 6;
/// Steps a generator's clock may be ahead or behind.
const DRIFT: i64 = 1;

/// The hash under the code. Generator apps know the first one everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

/// What a code turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right; this step is used up now.
    Right(i64),
    /// Right, but somebody has used it, or a later one, before.
    Replayed,
    Wrong,
}

/// The step of an instant.
pub fn step(at: Timestamp) -> i64 {
    at.micros().div_euclid(PERIOD * 1_000_000)
}

/// The code of a step, with leading zeros. `digits` is 6 to 8.
pub fn code(secret: &[u8], step: i64, digits: u32, hash: Hash) -> String {
    let algorithm = match hash {
        Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha512 => hmac::HMAC_SHA512,
    };
    let tag = hmac::sign(&hmac::Key::new(algorithm, secret), &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[tag.len() - 1] & 15);
    let number = u32::from_be_bytes([tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]]);
    format!("{:0width$}", u64::from(number) % 10u64.pow(digits), width = digits as usize)
}

/// Looks at a code. `used` is the last step a code was accepted for, `i64::MIN` for none. Takes the same time whatever the code.
pub fn verify(secret: &[u8], text: &str, now: Timestamp, used: i64) -> Verdict {
    let mut found = None;
    for step in step(now) - DRIFT..=step(now) + DRIFT {
        let same: Choice = code(secret, step, DIGITS, Hash::Sha1).as_bytes().ct_eq(text.as_bytes());
        if bool::from(same) {
            found = Some(step);
        }
    }
    match found {
        None => Verdict::Wrong,
        Some(step) if step <= used => Verdict::Replayed,
        Some(step) => Verdict::Right(step),
    }
}

/// The secret as generator apps take it: base32 (RFC 4648 §6) without padding.
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut block = [0u8; 8];
        block[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(block);
        for i in 0..(chunk.len() * 8).div_ceil(5) {
            out.push(char::from(ALPHABET[(bits >> (35 - 5 * i) & 31) as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B: all eighteen.
    #[test]
    fn the_vectors_of_the_rfc() {
        let seed = b"1234567890".repeat(7);
        let check = |time: i64, sha1: &str, sha256: &str, sha512: &str| {
            let step = step(Timestamp(time * 1_000_000));
            for (hash, length, want) in [(Hash::Sha1, 20, sha1), (Hash::Sha256, 32, sha256), (Hash::Sha512, 64, sha512)] {
                assert_eq!(code(&seed[..length], step, 8, hash), want, "{time} {hash:?}");
            }
        };
        check(59, "94287082", "46119246", "90693936");
        check(1_111_111_109, "07081804", "68084774", "25091201");
        check(1_111_111_111, "14050471", "67062674", "99943326");
        check(1_234_567_890, "89005924", "91819424", "93441116");
        check(2_000_000_000, "69279037", "90698825", "38618901");
        check(20_000_000_000, "65353130", "77737706", "47863826");
    }

    /// RFC 4226 appendix D: the truncation under it, six digits.
    #[test]
    fn the_vectors_of_the_counter() {
        let want = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (count, want) in want.into_iter().enumerate() {
            assert_eq!(code(b"12345678901234567890", count as i64, 6, Hash::Sha1), want);
        }
    }

    #[test]
    fn a_code_counts_once_and_near_its_time() {
        let secret = b"12345678901234567890";
        let now = Timestamp(1_111_111_111 * 1_000_000);
        let this = step(now);
        let of = |step: i64| code(secret, step, DIGITS, Hash::Sha1);
        assert_eq!(of(this), "050471");
        for near in [-1, 0, 1] {
            assert_eq!(verify(secret, &of(this + near), now, i64::MIN), Verdict::Right(this + near));
        }
        for far in [-2, 2, 100] {
            assert_eq!(verify(secret, &of(this + far), now, i64::MIN), Verdict::Wrong);
        }
        assert_eq!(verify(secret, &of(this), now, this), Verdict::Replayed);
        assert_eq!(verify(secret, &of(this - 1), now, this), Verdict::Replayed, "an older one after a newer one");
        assert_eq!(verify(secret, &of(this + 1), now, this), Verdict::Right(this + 1));
        for bad in ["", "05047", "0504711", "05047x", "０５０４７１"] {
            assert_eq!(verify(secret, bad, now, i64::MIN), Verdict::Wrong, "{bad}");
        }
    }

    /// RFC 4648 §10.
    #[test]
    fn base32_of_the_rfc() {
        for (text, want) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("fooba", "MZXW6YTB"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(text.as_bytes()), want);
        }
    }
}
