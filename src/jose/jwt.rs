//! Access tokens: compact JWS with a header of exactly `alg`, `kid` and `typ` (`at+jwt`).
//!
//! Invariants: the header has one text per key; its `alg` chooses nothing, it has to be that of the key; a statement of [`super::Typ`] never parses as a token, nor a token as a
//! statement. Specs: RFC 7515 section 7.1, RFC 7519, RFC 9068 section 2.1.

use super::error::excerpt;
use super::header::Members;
use super::{Digest, IssuingPublicKey, JoseError, TokenAlg, b64};

/// The `typ` of an access token.
const TYP: &str = "at+jwt";

/// A parsed access token. Nothing about it is true before [`Self::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct CompactJwt {
    signing_input: String,
    alg: TokenAlg,
    kid: Digest,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl CompactJwt {
    /// Reads a token of at most `max` bytes.
    ///
    /// # Errors
    /// `TOO_LONG`, `COMPACT_MALFORMED`, `ALG_NOT_ALLOWED`, `TYP_UNEXPECTED`, or another error of header or base64url.
    pub fn parse(text: &str, max: usize) -> Result<Self, JoseError> {
        if text.len() > max {
            return Err(JoseError::TooLong { limit: max, actual: text.len() });
        }
        let malformed = JoseError::Compact { expected: 3 };
        let (signing_input, signature) = text.rsplit_once('.').ok_or(malformed.clone())?;
        let (header, payload) = signing_input.split_once('.').ok_or(malformed.clone())?;
        if payload.contains('.') {
            return Err(malformed);
        }
        let mut members = Members::decode(header)?;
        let alg: TokenAlg = members.text("alg")?.parse()?;
        let typ = members.text("typ")?;
        if typ != TYP {
            return Err(JoseError::TypUnexpected { expected: TYP, found: excerpt(&typ) });
        }
        let kid = members.text("kid")?.parse()?;
        members.end()?;
        let (payload, signature) = (b64::decode(payload)?, b64::decode(signature)?);
        Ok(Self { signing_input: signing_input.to_owned(), alg, kid, payload, signature })
    }

    /// Checks the signature, by the algorithm of the key.
    ///
    /// # Errors
    /// [`JoseError::Alg`], [`JoseError::KidMismatch`], [`JoseError::Length`], [`JoseError::SignatureInvalid`].
    pub fn verify(&self, key: &IssuingPublicKey) -> Result<(), JoseError> {
        if self.alg != key.alg() {
            return Err(JoseError::Alg { expected: key.alg().as_str(), found: self.alg.to_string() });
        }
        if self.kid != key.thumbprint() {
            return Err(JoseError::KidMismatch);
        }
        key.verify(self.signing_input.as_bytes(), &self.signature)
    }

    /// Which key the token claims to be signed with.
    #[must_use]
    pub const fn kid(&self) -> &Digest {
        &self.kid
    }

    /// The bytes of the claims.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What the issuing key signs.
    #[must_use]
    pub fn signing_input(alg: TokenAlg, kid: &Digest, payload: &[u8]) -> String {
        // The members stand in canonical order, and no value needs an escape.
        let header = format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"{TYP}"}}"#);
        format!("{}.{}", b64::encode(header.as_bytes()), b64::encode(payload))
    }

    /// The token of a signing input and its signature.
    #[must_use]
    pub fn assemble(signing_input: &str, signature: &[u8]) -> String {
        format!("{signing_input}.{}", b64::encode(signature))
    }
}

/// Without the signature: whoever reads a log must not be able to use the token.
impl std::fmt::Debug for CompactJwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompactJwt").field("kid", &self.kid).finish_non_exhaustive()
    }
}
