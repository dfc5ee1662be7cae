//! Public keys of issuing keys: any of four types, each with the one algorithm that it signs tokens with.
//!
//! Invariants: the algorithm fits the key and belongs to it, so that no token chooses how it is verified; the JWK has
//! exactly the members that the key needs, `alg` only where the rest does not decide it (RSA), so one key has one text.
//! Specs: RFC 7517, 7518 section 6, 8037, 7638; RFC 8725 section 3.1 (one algorithm per key).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Digest, Ed25519PublicKey, JoseError, P256PublicKey, P384PublicKey, RsaPublicKey, TokenAlg, b64, rsa,
};

/// A public key as a device shows it: an RSA key does not tell its algorithm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PublicKey {
    /// For ES256.
    P256(P256PublicKey),
    /// For ES384.
    P384(P384PublicKey),
    /// For `EdDSA`.
    Ed25519(Ed25519PublicKey),
    /// For RS256 or PS256.
    Rsa(RsaPublicKey),
}

impl PublicKey {
    /// The RFC 7638 name of the key, its `kid` everywhere.
    #[must_use]
    pub fn thumbprint(&self) -> Digest {
        match self {
            Self::P256(key) => key.thumbprint(),
            Self::P384(key) => key.thumbprint(),
            Self::Ed25519(key) => key.thumbprint(),
            Self::Rsa(key) => key.thumbprint(),
        }
    }

    /// The algorithms that keys of its type can have.
    #[must_use]
    pub const fn algorithms(&self) -> &'static [TokenAlg] {
        match self {
            Self::P256(_) => &[TokenAlg::Es256],
            Self::P384(_) => &[TokenAlg::Es384],
            Self::Ed25519(_) => &[TokenAlg::EdDsa],
            Self::Rsa(_) => &[TokenAlg::Rs256, TokenAlg::Ps256],
        }
    }

    /// The DER `SubjectPublicKeyInfo`, as in certificates.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        match self {
            Self::P256(key) => key.spki_der(),
            Self::P384(key) => key.spki_der(),
            Self::Ed25519(key) => key.spki_der(),
            Self::Rsa(key) => key.spki_der(),
        }
    }
}

/// An issuing key's public half: a key and its algorithm. In JSON a JWK.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Jwk", into = "Jwk")]
pub struct IssuingPublicKey {
    key: PublicKey,
    alg: TokenAlg,
}

impl IssuingPublicKey {
    /// Ties a key to its algorithm.
    ///
    /// # Errors
    /// [`JoseError::Key`] if they do not fit.
    pub fn new(key: PublicKey, alg: TokenAlg) -> Result<Self, JoseError> {
        if key.algorithms().contains(&alg) {
            Ok(Self { key, alg })
        } else {
            Err(JoseError::Key { kind: alg.as_str(), detail: "a key of another type" })
        }
    }

    /// The key alone.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// How it signs.
    #[must_use]
    pub const fn alg(&self) -> TokenAlg {
        self.alg
    }

    /// The RFC 7638 name of the key, its `kid` everywhere.
    #[must_use]
    pub fn thumbprint(&self) -> Digest {
        self.key.thumbprint()
    }

    /// Bytes of its signatures.
    #[must_use]
    pub fn signature_bytes(&self) -> usize {
        match &self.key {
            PublicKey::P256(_) | PublicKey::Ed25519(_) => 64,
            PublicKey::P384(_) => 96,
            PublicKey::Rsa(key) => key.modulus().len(),
        }
    }

    /// Checks a signature by the key's own algorithm over `message`.
    ///
    /// # Errors
    /// [`JoseError::Length`], [`JoseError::SignatureInvalid`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), JoseError> {
        let (expected, actual) = (self.signature_bytes(), signature.len());
        if actual != expected {
            return Err(JoseError::Length { expected, actual });
        }
        let fixed = || signature.first_chunk::<64>().ok_or(JoseError::SignatureInvalid);
        match &self.key {
            PublicKey::P256(key) => key.verify(message, fixed()?),
            PublicKey::Ed25519(key) => key.verify(message, fixed()?),
            PublicKey::P384(key) => key.verify(message, signature),
            PublicKey::Rsa(key) => key.verify(self.alg, message, signature),
        }
    }

    /// The members of a JWK Set's key: those of the key with `alg`, `kid` and `use`.
    #[must_use]
    pub fn published(&self) -> Map<String, Value> {
        let Jwk { crv, e, kty, n, x, y, alg: _ } = Jwk::from(self.clone());
        let own = [("crv", crv), ("e", e), ("kty", Some(kty)), ("n", n), ("x", x), ("y", y)];
        let all = [
            ("alg", self.alg.as_str().to_owned()),
            ("kid", self.thumbprint().to_string()),
            ("use", "sig".to_owned()),
        ];
        let own = own.into_iter().filter_map(|(name, text)| Some((name, text?)));
        own.chain(all).map(|(name, text)| (name.to_owned(), Value::from(text))).collect()
    }
}

impl From<P256PublicKey> for IssuingPublicKey {
    fn from(key: P256PublicKey) -> Self {
        Self { key: PublicKey::P256(key), alg: TokenAlg::Es256 }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<TokenAlg>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    kty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

impl TryFrom<Jwk> for IssuingPublicKey {
    type Error = JoseError;

    fn try_from(jwk: Jwk) -> Result<Self, JoseError> {
        let text = |member: &Option<String>| member.clone().unwrap_or_default();
        let (x, y) = (text(&jwk.x), text(&jwk.y));
        let (key, alg) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("EC", Some("P-256")) => {
                let (x, y) = (b64::decode_array::<32>(&x)?, b64::decode_array::<32>(&y)?);
                let point = [&[0x04], x.as_slice(), &y].concat();
                (PublicKey::P256(P256PublicKey::from_sec1(&point)?), TokenAlg::Es256)
            }
            ("EC", Some("P-384")) => {
                let key = P384PublicKey::from_coordinates(b64::decode_array(&x)?, b64::decode_array(&y)?);
                (PublicKey::P384(key), TokenAlg::Es384)
            }
            ("OKP", Some("Ed25519")) => {
                let key = Ed25519PublicKey::from_bytes(b64::decode_array(&x)?);
                (PublicKey::Ed25519(key), TokenAlg::EdDsa)
            }
            ("RSA", None) => {
                let key = RsaPublicKey::new(&b64::decode(&text(&jwk.n))?, &b64::decode(&text(&jwk.e))?)?;
                let detail = "an RSA key needs its alg, RS256 or PS256";
                (PublicKey::Rsa(key), jwk.alg.ok_or(JoseError::Key { kind: "RSA", detail })?)
            }
            _ => {
                let detail = "it must be P-256, P-384, Ed25519, or RSA with its alg";
                return Err(JoseError::Key { kind: "issuing", detail });
            }
        };
        let read = Self::new(key, alg)?;
        // Nothing is left over: neither a member of another type of key, nor an alg that goes without saying.
        let again = Jwk::from(read.clone());
        let members = |jwk: &Jwk| (jwk.alg, [&jwk.e, &jwk.n, &jwk.x, &jwk.y].map(Option::is_some));
        if members(&again) == members(&jwk) {
            Ok(read)
        } else {
            let detail = "it has a member that keys of its type do not have";
            Err(JoseError::Key { kind: "issuing", detail })
        }
    }
}

impl From<IssuingPublicKey> for Jwk {
    fn from(issuing: IssuingPublicKey) -> Self {
        let mut jwk = Self { alg: None, crv: None, e: None, kty: "EC".into(), n: None, x: None, y: None };
        match issuing.key {
            PublicKey::P256(key) => {
                jwk.crv = Some("P-256".into());
                [jwk.x, jwk.y] = key.texts().map(Some);
            }
            PublicKey::P384(key) => {
                jwk.crv = Some("P-384".into());
                [jwk.x, jwk.y] = key.texts().map(Some);
            }
            PublicKey::Ed25519(key) => {
                jwk.kty = "OKP".into();
                jwk.crv = Some("Ed25519".into());
                jwk.x = Some(b64::encode(key.as_bytes()));
            }
            PublicKey::Rsa(key) => {
                jwk.kty = "RSA".into();
                jwk.alg = Some(issuing.alg);
                jwk.n = Some(b64::encode(key.modulus()));
                jwk.e = Some(b64::encode(&rsa::EXPONENT));
            }
        }
        jwk
    }
}
