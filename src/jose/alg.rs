//! The signature algorithms of access tokens. Statements have one only, ES256.
//!
//! Invariant: an algorithm belongs to a key and is known before a token is read; a token's header never chooses it.
//! Specs: RFC 7518 section 3.1 (ES256, ES384, RS256, PS256), RFC 8037 section 3.1 (`EdDSA`), RFC 8725 section 3.1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{JoseError, error::excerpt};

/// How an issuing key signs tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TokenAlg {
    /// ECDSA on P-256 with SHA-256: what every verifier has.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// Pure Ed25519, under the name that most verifiers know (not `Ed25519` of RFC 9864).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256, and a salt of 32 bytes.
    #[serde(rename = "PS256")]
    Ps256,
}

impl TokenAlg {
    /// All there are, the default first.
    pub const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Rs256, Self::Ps256];

    /// The `alg` of a header or JWK.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// Whether its keys are RSA keys, which alone do not tell their algorithm.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rs256 | Self::Ps256)
    }

    /// Bytes of a signature, where they do not depend on the key.
    #[must_use]
    pub const fn signature_bytes(self) -> Option<usize> {
        match self {
            Self::Es256 | Self::EdDsa => Some(64),
            Self::Es384 => Some(96),
            Self::Rs256 | Self::Ps256 => None,
        }
    }
}

impl fmt::Display for TokenAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TokenAlg {
    type Err = JoseError;

    fn from_str(text: &str) -> Result<Self, JoseError> {
        let expected = "one of ES256, ES384, EdDSA, RS256 and PS256";
        let found = || JoseError::Alg { expected, found: excerpt(text) };
        Self::ALL.into_iter().find(|alg| alg.as_str() == text).ok_or_else(found)
    }
}
