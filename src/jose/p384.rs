//! P-384 public keys, for tokens only.
//!
//! Invariant: two coordinates of 48 bytes each; whether they are a point shows at verification, which refuses any other.
//! Specs: RFC 7518 section 6.2, RFC 7638, SEC 1, RFC 5480 (SPKI).

use std::fmt;

use ring::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};

use super::{Digest, JoseError, b64};

/// Everything of a P-384 `SubjectPublicKeyInfo` before the point: it is constant.
const SPKI_PREFIX: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
    0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];

/// A key of the curve P-384.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct P384PublicKey {
    x: [u8; 48],
    y: [u8; 48],
}

impl P384PublicKey {
    /// A key from its coordinates, big-endian.
    #[must_use]
    pub const fn from_coordinates(x: [u8; 48], y: [u8; 48]) -> Self {
        Self { x, y }
    }

    /// Reads an uncompressed SEC1 point (97 bytes, first 0x04).
    ///
    /// # Errors
    /// [`JoseError::Key`] for any other form.
    pub fn from_sec1(bytes: &[u8]) -> Result<Self, JoseError> {
        let point = bytes.strip_prefix(&[0x04]).filter(|point| point.len() == 96);
        match point.and_then(|point| Some((*point.first_chunk()?, *point.last_chunk()?))) {
            Some((x, y)) => Ok(Self { x, y }),
            None => {
                Err(JoseError::Key { kind: "P-384", detail: "not an uncompressed SEC1 point of 97 bytes" })
            }
        }
    }

    /// The uncompressed SEC1 point.
    #[must_use]
    pub fn to_sec1(&self) -> Vec<u8> {
        [&[0x04], self.x.as_slice(), &self.y].concat()
    }

    /// The coordinates as base64url.
    pub(super) fn texts(&self) -> [String; 2] {
        [&self.x, &self.y].map(|coordinate| b64::encode(coordinate))
    }

    /// The RFC 7638 name of the key.
    #[must_use]
    pub fn thumbprint(&self) -> Digest {
        let [x, y] = self.texts();
        Digest::of(format!(r#"{{"crv":"P-384","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes())
    }

    /// Checks an ES384 signature, r‖s, over `message`.
    ///
    /// # Errors
    /// [`JoseError::SignatureInvalid`], also for coordinates that are no point.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), JoseError> {
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, self.to_sec1())
            .verify(message, signature)
            .map_err(|_| JoseError::SignatureInvalid)
    }

    /// The DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        [SPKI_PREFIX.as_slice(), &self.to_sec1()].concat()
    }
}

impl fmt::Debug for P384PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P384PublicKey({})", self.thumbprint())
    }
}
