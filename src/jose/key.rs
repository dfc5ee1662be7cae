//! Public keys of statements and logs: P-256 (custodians, requesters) and Ed25519.
//!
//! Invariants: a `P256PublicKey` is a point on the curve and not the identity; a JWK has exactly the required members
//! and one text per key. Specs: RFC 7517, 7518 section 6.2, 8037, 7638; SEC 1; RFC 5480 for SPKI.

use std::{borrow::Cow, fmt};

use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::{Digest, JoseError, b64};

/// Everything of a P-256 `SubjectPublicKeyInfo` before the point: it is constant.
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A point of P-256, kept as uncompressed SEC1; in JSON a JWK of `crv`, `kty`, `x`, `y` and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "EcJwk<'de>", into = "EcJwk<'static>")]
pub struct P256PublicKey {
    x: [u8; 32],
    y: [u8; 32],
    /// Follows from the point. Asked for with every signature, so it is not computed each time.
    thumbprint: Digest,
}

impl P256PublicKey {
    /// Reads an uncompressed SEC1 point (65 bytes, first 0x04).
    ///
    /// # Errors
    /// [`JoseError::Key`] for any other form, and for a point that is not on the curve.
    pub fn from_sec1(bytes: &[u8]) -> Result<Self, JoseError> {
        let fail = |detail| JoseError::Key { kind: "P-256", detail };
        let [0x04, coordinates @ ..] = bytes else {
            return Err(fail("not an uncompressed SEC1 point"));
        };
        let (Some(x), Some(y), 64) = (coordinates.first_chunk(), coordinates.last_chunk(), coordinates.len())
        else {
            return Err(fail("an uncompressed point has 65 bytes"));
        };
        // Refuses coordinates that are not reduced, and points off the curve.
        p256::PublicKey::from_sec1_bytes(bytes).map_err(|_| fail("the point is not on the curve"))?;
        Ok(Self { x: *x, y: *y, thumbprint: thumbprint(x, y) })
    }

    /// The uncompressed SEC1 point.
    #[must_use]
    pub fn to_sec1(&self) -> [u8; 65] {
        let mut point = [0x04; 65];
        let (_, coordinates) = point.split_at_mut(1);
        let (x, y) = coordinates.split_at_mut(32);
        x.copy_from_slice(&self.x);
        y.copy_from_slice(&self.y);
        point
    }

    /// The name of the key: SHA-256 over its canonical JWK (RFC 7638), its `kid` everywhere.
    #[must_use]
    pub const fn thumbprint(&self) -> Digest {
        self.thumbprint
    }

    /// Checks an ES256 signature, r‖s, over `message`.
    ///
    /// # Errors
    /// [`JoseError::SignatureInvalid`].
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), JoseError> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.to_sec1())
            .verify(message, signature)
            .map_err(|_| JoseError::SignatureInvalid)
    }

    /// The DER `SubjectPublicKeyInfo`, as in certificates.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        [P256_SPKI_PREFIX.as_slice(), &self.to_sec1()].concat()
    }

    /// Reads a DER `SubjectPublicKeyInfo` with a named curve and an uncompressed point.
    ///
    /// # Errors
    /// [`JoseError::Key`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, JoseError> {
        let point = der
            .strip_prefix(&P256_SPKI_PREFIX)
            .ok_or(JoseError::Key { kind: "P-256", detail: "not the SPKI of an uncompressed P-256 key" })?;
        Self::from_sec1(point)
    }
}

fn thumbprint(x: &[u8; 32], y: &[u8; 32]) -> Digest {
    let [x, y] = [x, y].map(b64::encode_32);
    let jwk: [&[u8]; 5] = [br#"{"crv":"P-256","kty":"EC","x":""#, &x, br#"","y":""#, &y, br#""}"#];
    Digest::of(&jwk.concat())
}

impl P256PublicKey {
    /// The coordinates as base64url.
    pub(super) fn texts(&self) -> [String; 2] {
        [&self.x, &self.y].map(|coordinate| b64::encode(coordinate))
    }

    /// The key for a key agreement.
    pub(super) fn to_p256(self) -> Result<p256::PublicKey, JoseError> {
        p256::PublicKey::from_sec1_bytes(&self.to_sec1())
            .map_err(|_| JoseError::Key { kind: "P-256", detail: "the point is not on the curve" })
    }
}

impl TryFrom<&p256::PublicKey> for P256PublicKey {
    type Error = JoseError;

    fn try_from(key: &p256::PublicKey) -> Result<Self, JoseError> {
        Self::from_sec1(p256::elliptic_curve::sec1::ToSec1Point::to_sec1_point(key, false).as_bytes())
    }
}

impl fmt::Debug for P256PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P256PublicKey({})", self.thumbprint())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EcJwk<'a> {
    #[serde(borrow)]
    crv: Cow<'a, str>,
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow)]
    x: Cow<'a, str>,
    #[serde(borrow)]
    y: Cow<'a, str>,
}

impl TryFrom<EcJwk<'_>> for P256PublicKey {
    type Error = JoseError;

    fn try_from(jwk: EcJwk<'_>) -> Result<Self, JoseError> {
        if jwk.crv != "P-256" || jwk.kty != "EC" {
            return Err(JoseError::Key { kind: "P-256", detail: "crv must be P-256, and kty EC" });
        }
        let (x, y) = (b64::decode_array::<32>(&jwk.x)?, b64::decode_array::<32>(&jwk.y)?);
        Self::from_sec1(&[&[0x04], x.as_slice(), &y].concat())
    }
}

impl From<P256PublicKey> for EcJwk<'static> {
    fn from(key: P256PublicKey) -> Self {
        let [x, y] = key.texts().map(Cow::Owned);
        Self { crv: "P-256".into(), kty: "EC".into(), x, y }
    }
}

/// An Ed25519 public key; in JSON a JWK of `crv`, `kty`, `x` and nothing else (RFC 8037).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "OkpJwk", into = "OkpJwk")]
pub struct Ed25519PublicKey([u8; 32]);

impl Ed25519PublicKey {
    /// A key from its 32 bytes (RFC 8032); whether they are a point shows at verification.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The DER `SubjectPublicKeyInfo` (RFC 8410).
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        /// Everything before the key: it is constant.
        const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        [PREFIX.as_slice(), &self.0].concat()
    }

    /// The RFC 7638 name of the key.
    #[must_use]
    pub fn thumbprint(&self) -> Digest {
        Digest::of(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b64::encode(&self.0)).as_bytes())
    }

    /// Checks a pure Ed25519 signature over `message`.
    ///
    /// # Errors
    /// [`JoseError::SignatureInvalid`].
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), JoseError> {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, signature)
            .map_err(|_| JoseError::SignatureInvalid)
    }
}

impl fmt::Debug for Ed25519PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519PublicKey({})", b64::encode(&self.0))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OkpJwk {
    crv: String,
    kty: String,
    x: String,
}

impl TryFrom<OkpJwk> for Ed25519PublicKey {
    type Error = JoseError;

    fn try_from(jwk: OkpJwk) -> Result<Self, JoseError> {
        if jwk.crv != "Ed25519" || jwk.kty != "OKP" {
            return Err(JoseError::Key { kind: "Ed25519", detail: "crv must be Ed25519, and kty OKP" });
        }
        b64::decode_array(&jwk.x).map(Self)
    }
}

impl From<Ed25519PublicKey> for OkpJwk {
    fn from(key: Ed25519PublicKey) -> Self {
        Self { crv: "Ed25519".into(), kty: "OKP".into(), x: b64::encode(&key.0) }
    }
}
