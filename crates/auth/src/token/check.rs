//! Checking Ed25519 signatures of keys that are known beforehand (RFC 8032, section 5.1.7). Called by [`super::KeyRing`]'s users for every token not seen before.
//!
//! The few keys of an installation sign every token, so each is kept with a table of its multiples. Checking is then two multiplications of points with
//! tables, three fifths of the time of one with a point met for the first time. What is checked is what `ring` checks: the scalar is below the order of the
//! group, and `R = [s]B - [k]A` byte for byte. Everything here is public, so nothing has to be hidden from a clock. Must never sign.

use curve25519_dalek::{
    Scalar,
    constants::ED25519_BASEPOINT_TABLE,
    edwards::{CompressedEdwardsY, EdwardsBasepointTable},
    traits::BasepointTable,
};
use ring::digest::{Context, SHA512};
use std::sync::Arc;

/// A public key, ready to check with.
#[derive(Clone)]
pub(super) struct PublicKey {
    bytes: [u8; 32],
    /// Multiples of `-A`, 30 KiB.
    minus: Arc<EdwardsBasepointTable>,
}

impl PublicKey {
    /// `None` for bytes that are no point, or one of the few whose signatures anybody can make.
    pub(super) fn new(bytes: [u8; 32]) -> Option<PublicKey> {
        let point = CompressedEdwardsY(bytes).decompress().filter(|point| !point.is_small_order())?;
        Some(PublicKey { bytes, minus: Arc::new(EdwardsBasepointTable::create(&-point)) })
    }

    /// Whether the key's holder signed the message, given in parts.
    pub(super) fn signed(&self, message: &[&[u8]], signature: &[u8; 64]) -> bool {
        let [r, s] = [0, 32].map(|at| std::array::from_fn::<u8, 32, _>(|i| signature[at + i]));
        let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else { return false };
        let mut hash = Context::new(&SHA512);
        for part in [&r[..], &self.bytes].iter().chain(message) {
            hash.update(part);
        }
        let mut wide = [0; 64];
        wide.copy_from_slice(hash.finish().as_ref());
        let k = Scalar::from_bytes_mod_order_wide(&wide);
        (&s * ED25519_BASEPOINT_TABLE + &k * &*self.minus).compress().to_bytes() == r
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).expect("hex").try_into().expect("length")
    }

    /// RFC 8032, section 7.1, tests 1 and 3.
    #[test]
    fn vectors_of_the_standard() {
        for (key, message, signature) in [
            (
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                &[][..],
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                &[0xaf, 0x82][..],
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ] {
            let key = PublicKey::new(bytes(key)).expect("a key");
            assert!(key.signed(&[message], &bytes(signature)));
            assert!(!key.signed(&[message, b"x"], &bytes(signature)));
        }
    }

    /// The same answer as the library that signs, for good signatures and for every way of spoiling one.
    #[test]
    fn agrees_with_the_signer() {
        for seed in 0..3 {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a pair");
            let public: [u8; 32] = pair.public_key().as_ref().try_into().expect("32 bytes");
            let (ours, theirs) = (PublicKey::new(public).expect("a point"), UnparsedPublicKey::new(&ED25519, public));
            let message = vec![seed; 500];
            let good: [u8; 64] = pair.sign(&message).as_ref().try_into().expect("64 bytes");
            assert!(ours.signed(&[&message[..7], &message[7..]], &good));
            for bit in 0..512 {
                let mut bad = good;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!ours.signed(&[&message], &bad) && theirs.verify(&message, &bad).is_err(), "bit {bit}");
            }
            // The same scalar once more around the group.
            let order: [u8; 32] = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
            let (mut again, mut carry) = (good, 0u16);
            for i in 0..32 {
                let sum = u16::from(good[32 + i]) + u16::from(order[i]) + carry;
                (again[32 + i], carry) = (sum as u8, sum >> 8);
            }
            assert!(!ours.signed(&[&message], &again) && theirs.verify(&message, &again).is_err());
        }
    }

    #[test]
    fn keys_that_are_none() {
        // The neutral point, one of order two, and no point at all.
        let mut one = [0; 32];
        one[0] = 1;
        let two = bytes("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
        let mut none = [0; 32];
        none[0] = 2;
        for key in [one, two, none] {
            assert!(PublicKey::new(key).is_none());
        }
    }
}
