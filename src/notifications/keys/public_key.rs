//! One key that signatures are checked with.
//!
//! This is the one place that chooses the algorithm and the library that does it, which is the one
//! that TLS and all hashes use as well. Another would be a second answer to the same question.

use std::fmt;

use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents,
};

/// RS256: shorter keys are refused, and longer ones would cost too much.
const ALGORITHM: &RsaParameters = &RSA_PKCS1_2048_8192_SHA256;
const SHORTEST: usize = 2048;
const LONGEST: usize = 8192;
/// Of an exponent, in bytes.
const LONGEST_EXPONENT: usize = 4;

/// An RSA key of 2048 to 8192 bits.
pub(crate) struct PublicKey(ParsedPublicKey);

impl PublicKey {
    /// From modulus and exponent, big-endian; `None` when they are no key, or none of that size.
    pub(crate) fn new(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let (n, e) = (without_zeros(modulus), without_zeros(exponent));
        let unused = usize::try_from(n.first()?.leading_zeros()).ok()?;
        let bits = n.len().checked_mul(8)? - unused;
        // With 1 for an exponent, every message would be its own signature.
        let is_exponent = e.len() <= LONGEST_EXPONENT && e != [1] && e.last()? % 2 == 1;
        if !is_exponent || !(SHORTEST..=LONGEST).contains(&bits) {
            return None;
        }
        RsaPublicKeyComponents { n, e }.to_parsed_public_key(ALGORITHM).ok().map(Self)
    }

    /// Whether `signature` is this key's of `message`.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}

/// Some write a zero in front, so that the number cannot be taken for a negative one.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifications::keys::fixture::Signer;
    use proptest::prelude::*;

    #[test]
    fn a_key_knows_its_own_signatures_and_no_others() {
        let (one, other) = (Signer::one(), Signer::other());
        let key = one.public_key();
        assert!(key.has_signed(b"message", &one.sign(b"message")));
        assert!(!key.has_signed(b"messagE", &one.sign(b"message")));
        assert!(!key.has_signed(b"message", &other.sign(b"message")));
        assert!(!key.has_signed(b"message", b""));
    }

    #[test]
    fn a_zero_in_front_of_a_number_makes_no_difference() {
        let one = Signer::one();
        let (modulus, exponent) = one.components();
        let key =
            PublicKey::new(&[&[0, 0], &modulus[..]].concat(), &[&[0], &exponent[..]].concat());
        assert!(key.unwrap().has_signed(b"message", &one.sign(b"message")));
    }

    #[test]
    fn what_is_too_short_too_long_or_no_key_is_none() {
        let (modulus, exponent) = Signer::one().components();
        assert!(PublicKey::new(&modulus, &exponent).is_some());
        assert!(PublicKey::new(&modulus[1..], &exponent).is_none());
        assert!(PublicKey::new(&[0xff; 1025], &exponent).is_none());
        assert!(PublicKey::new(&[], &exponent).is_none());
        assert!(PublicKey::new(&[0; 256], &exponent).is_none());
        for wrong in [&[][..], &[0], &[1], &[0, 1], &[2], &[1, 0, 0], &[0xff; 5], &[0xff; 300]] {
            assert!(PublicKey::new(&modulus, wrong).is_none(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_numbers_make_it_panic(
            modulus in prop::collection::vec(any::<u8>(), 0..1100),
            exponent in prop::collection::vec(any::<u8>(), 0..10),
            signature in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Some(key) = PublicKey::new(&modulus, &exponent) {
                prop_assert!(!key.has_signed(b"message", &signature));
            }
        }
    }
}
