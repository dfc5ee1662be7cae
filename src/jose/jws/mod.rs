//! Statements: JWS in General JSON Serialization, one payload under several signatures.
//!
//! Invariants: members are exactly `payload` and `signatures`, each signature exactly `protected` and `signature`; the
//! whole is canonical JSON; verification is given the key and the expected typ. A signature's bytes identify nothing:
//! ECDSA lets anyone make a second valid signature out of a first. Spec: RFC 7515 section 7.2.1.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};

use super::{JoseError, P256PublicKey, ProtectedHeader, Typ, b64, json};

/// Most signatures that one JWS may carry: a requester, and more custodians than any formula counts.
pub const MAX_SIGNATURES: usize = 128;

/// One entry of `signatures`. Parsed, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawSignature<'de>")]
pub struct Signature {
    protected: String,
    header: ProtectedHeader,
    bytes: [u8; 64],
}

impl Signature {
    /// Joins the `protected` text that was signed and the r‖s that came out.
    ///
    /// # Errors
    /// As [`ProtectedHeader::decode`].
    pub fn new(protected: impl Into<String>, signature: [u8; 64]) -> Result<Self, JoseError> {
        let protected = protected.into();
        let header = ProtectedHeader::decode(&protected)?;
        Ok(Self { protected, header, bytes: signature })
    }

    /// What was stated, when, with which key; true only once [`Self::verify`] agrees.
    #[must_use]
    pub const fn header(&self) -> &ProtectedHeader {
        &self.header
    }

    /// The header as it was signed: base64url text.
    #[must_use]
    pub fn protected(&self) -> &str {
        &self.protected
    }

    /// r‖s.
    #[must_use]
    pub const fn signature_bytes(&self) -> &[u8; 64] {
        &self.bytes
    }

    /// The bytes that ES256 signs: `protected . base64url(payload)`.
    #[must_use]
    pub fn signing_input(protected: &str, payload: &[u8]) -> Vec<u8> {
        let mut input = Vec::with_capacity(protected.len() + 1 + payload.len().div_ceil(3) * 4);
        input.extend_from_slice(protected.as_bytes());
        input.push(b'.');
        input.extend_from_slice(b64::encode(payload).as_bytes());
        input
    }

    /// Checks that `key` made this `expected` kind of statement over `payload`.
    ///
    /// # Errors
    /// [`JoseError::TypUnexpected`], [`JoseError::KidMismatch`], [`JoseError::SignatureInvalid`].
    pub fn verify(&self, payload: &[u8], key: &P256PublicKey, expected: Typ) -> Result<(), JoseError> {
        if self.header.typ != expected {
            return Err(JoseError::TypUnexpected {
                expected: expected.as_str(),
                found: self.header.typ.to_string(),
            });
        }
        if self.header.kid != key.thumbprint() {
            return Err(JoseError::KidMismatch);
        }
        key.verify(&Self::signing_input(&self.protected, payload), &self.bytes)
    }
}

/// A payload and its signatures, in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawJws<'de>")]
pub struct GeneralJws {
    /// The bytes that all signatures cover; for statements canonical JSON, which [`json::parse`] reads.
    pub payload: Vec<u8>,
    /// At least one, at most [`MAX_SIGNATURES`].
    pub signatures: Vec<Signature>,
}

impl GeneralJws {
    /// Reads a JWS of at most `max` bytes. Verifies nothing.
    ///
    /// # Errors
    /// `TOO_LONG`, `SIGNATURE_COUNT`, or an error of the strict JSON, of base64url or of a header.
    pub fn parse(bytes: &[u8], max: usize) -> Result<Self, JoseError> {
        json::parse::<RawJws>(bytes, max)?.try_into()
    }

    /// The canonical JSON, as it is stored, sent and carried inside a token.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // All values are base64url text and the members stand in canonical order, so this is JCS by construction.
        let entries: Vec<String> = self
            .signatures
            .iter()
            .map(|s| format!(r#"{{"protected":"{}","signature":"{}"}}"#, s.protected, b64::encode(&s.bytes)))
            .collect();
        let payload = b64::encode(&self.payload);
        format!(r#"{{"payload":"{payload}","signatures":[{}]}}"#, entries.join(",")).into_bytes()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJws<'a> {
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(borrow)]
    signatures: Vec<RawSignature<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSignature<'a> {
    #[serde(borrow)]
    protected: Cow<'a, str>,
    #[serde(borrow)]
    signature: Cow<'a, str>,
}

impl TryFrom<RawSignature<'_>> for Signature {
    type Error = JoseError;
    fn try_from(raw: RawSignature<'_>) -> Result<Self, JoseError> {
        let bytes = b64::decode_array(&raw.signature)?;
        Self::new(raw.protected, bytes)
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("Signature", 2)?;
        members.serialize_field("protected", &self.protected)?;
        members.serialize_field("signature", &b64::encode(&self.bytes))?;
        members.end()
    }
}

impl TryFrom<RawJws<'_>> for GeneralJws {
    type Error = JoseError;
    fn try_from(raw: RawJws<'_>) -> Result<Self, JoseError> {
        let actual = raw.signatures.len();
        if !(1..=MAX_SIGNATURES).contains(&actual) {
            return Err(JoseError::SignatureCount { limit: MAX_SIGNATURES, actual });
        }
        let signatures = raw.signatures.into_iter().map(Signature::try_from).collect::<Result<_, _>>()?;
        Ok(Self { payload: b64::decode(&raw.payload)?, signatures })
    }
}

impl Serialize for GeneralJws {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("GeneralJws", 2)?;
        members.serialize_field("payload", &b64::encode(&self.payload))?;
        members.serialize_field("signatures", &self.signatures)?;
        members.end()
    }
}

#[cfg(test)]
mod tests;
