//! RSA public keys, for tokens only.
//!
//! Invariants: the modulus has 2,048 to 4,096 bits, is odd and has no leading zeros; the exponent is 65,537, what every
//! HSM makes; so one key has one text. Specs: RFC 7518 section 6.3, RFC 8017, RFC 7638, RFC 3279 section 2.3.1 (SPKI).

use std::fmt;

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents};

use super::{Digest, JoseError, TokenAlg, b64};

/// 65,537, big-endian.
pub(super) const EXPONENT: [u8; 3] = [1, 0, 1];
/// Bytes of the shortest and the longest modulus.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;

/// The modulus of an RSA key with the exponent 65,537.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RsaPublicKey {
    modulus: Vec<u8>,
}

impl RsaPublicKey {
    /// A key from its modulus and exponent, big-endian; leading zeros of the modulus belong to no key.
    ///
    /// # Errors
    /// [`JoseError::Key`] unless the invariants of this module hold.
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, JoseError> {
        let fail = |detail| JoseError::Key { kind: "RSA", detail };
        if exponent != EXPONENT {
            return Err(fail("the exponent must be 65537 (AQAB)"));
        }
        if !MODULUS.contains(&modulus.len()) || modulus.first().is_none_or(|first| *first < 0x80) {
            return Err(fail(
                "the modulus must have 2048 to 4096 bits, in whole bytes, without leading zeros",
            ));
        }
        if modulus.last().is_none_or(|last| last % 2 == 0) {
            return Err(fail("the modulus is even"));
        }
        Ok(Self { modulus: modulus.to_vec() })
    }

    /// Big-endian, without leading zeros.
    #[must_use]
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The RFC 7638 name of the key. It does not depend on the algorithm that the key is used with.
    #[must_use]
    pub fn thumbprint(&self) -> Digest {
        let n = b64::encode(&self.modulus);
        Digest::of(format!(r#"{{"e":"AQAB","kty":"RSA","n":"{n}"}}"#).as_bytes())
    }

    /// Checks a signature by one of the two RSA algorithms.
    pub(super) fn verify(&self, alg: TokenAlg, message: &[u8], signature: &[u8]) -> Result<(), JoseError> {
        let parameters = match alg {
            TokenAlg::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            TokenAlg::Ps256 => &RSA_PSS_2048_8192_SHA256,
            TokenAlg::Es256 | TokenAlg::Es384 | TokenAlg::EdDsa => return Err(JoseError::SignatureInvalid),
        };
        RsaPublicKeyComponents { n: self.modulus.as_slice(), e: EXPONENT.as_slice() }
            .verify(parameters, message, signature)
            .map_err(|_| JoseError::SignatureInvalid)
    }

    /// The DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        /// The algorithm identifier `rsaEncryption` with its NULL parameters.
        const RSA: [u8; 15] =
            [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
        // The first bit of the modulus is set: without the zero it would be negative.
        let modulus = tlv(0x02, &[&[0], self.modulus.as_slice()].concat());
        let key = tlv(0x30, &[modulus, tlv(0x02, &EXPONENT)].concat());
        let bits = tlv(0x03, &[&[0], key.as_slice()].concat());
        tlv(0x30, &[RSA.as_slice(), &bits].concat())
    }
}

/// A DER element; its content has at most 65,535 bytes.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let header = match (high, low) {
        (0, short) if short < 0x80 => vec![tag, short],
        (0, byte) => vec![tag, 0x81, byte],
        (high, low) => vec![tag, 0x82, high, low],
    };
    [header.as_slice(), content].concat()
}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaPublicKey({})", self.thumbprint())
    }
}
