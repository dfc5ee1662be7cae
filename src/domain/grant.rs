//! The grant: the exact statement of what is asked, by whom, for how long, bound to which key.
//!
//! Invariants: parsed from strict JCS bytes; those bytes are kept, and their digest is the request's id and the `jti`.
//! What a grant may ask for is the charter's to say (`charter::permits`).

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    detail::Detail,
    exact,
    id::{Audience, Incident, Issuer, Nonce, PrincipalId, ProfileId, RequestId},
};
use crate::jose::{Digest, JoseError, P256PublicKey, json};

/// A grant's bytes at most, so that a token stays below 7,500.
pub const MAX_GRANT_BYTES: usize = 2_400;
/// A reason's bytes at most.
pub const MAX_REASON_BYTES: usize = 280;
/// The longest life of a token that a grant can ask for, in seconds; profiles set shorter ones.
pub const MAX_TTL: u32 = 86_400;

/// Why access is needed, in the requester's words: 1 to 280 bytes, not only spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Reason(String);

impl Reason {
    /// Checks length and that something is said; characters are checked with the whole statement.
    pub fn new(text: String) -> Result<Self, String> {
        if text.len() > MAX_REASON_BYTES || text.trim().is_empty() {
            return Err(format!(
                "a reason has 1 to {MAX_REASON_BYTES} bytes and is not blank; this one has {}",
                text.len()
            ));
        }
        Ok(Self(text))
    }

    /// The text; characters that could deceive a terminal were refused when it was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The key that the token is bound to (RFC 7800 `cnf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Confirmation {
    /// Thumbprint of a fresh key (RFC 9449 §6).
    #[serde(rename = "jkt")]
    Jkt(Digest),
    /// SHA-256 of an enrolled client certificate (RFC 8705 §3.1), for verifiers reached by mutual TLS.
    #[serde(rename = "x5t#S256")]
    Certificate(Digest),
}

/// The members of a grant. See the module for what they mean together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The issuer of the token.
    pub iss: Issuer,
    /// Digest of the charter under which this is asked.
    pub charter: Digest,
    /// The profile asked for.
    pub profile: ProfileId,
    /// 128 random bits: two equal wishes are two grants.
    pub nonce: Nonce,
    /// Who gets access.
    pub sub: PrincipalId,
    /// Who files: the same as `sub`, or the tool that acts for it.
    pub client_id: PrincipalId,
    /// Thumbprint of the key that signs the request.
    pub requester_key: Digest,
    /// The one audience.
    pub aud: Audience,
    /// What is asked for.
    pub authorization_details: Vec<Detail>,
    /// Why.
    pub reason: Reason,
    /// Which incident.
    pub incident: Incident,
    /// Seconds that the token lives, from minting.
    pub ttl: u32,
    /// The key that the token is bound to.
    pub cnf: Confirmation,
    /// The key that the token is delivered to, encrypted.
    pub redeem_key: P256PublicKey,
    /// When it was asked, Unix seconds.
    pub requested_at: i64,
    /// The deadline for approvals, Unix seconds.
    pub expires_at: i64,
    /// Whether this is a rehearsal.
    pub drill: bool,
}

/// Bytes that are not a grant.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// Not strict JSON of the right shape.
    #[error("the grant is not a strict JSON statement")]
    Json(#[from] JoseError),
    /// Times that contradict each other.
    #[error("the grant's times are not valid: {0}")]
    Times(&'static str),
}

impl Grant {
    /// Parses the exact bytes that were signed.
    pub fn parse(bytes: &[u8]) -> Result<Self, GrantError> {
        let grant: Self = exact::parse(bytes, MAX_GRANT_BYTES)?;
        if !(1..=MAX_TTL).contains(&grant.ttl) {
            return Err(GrantError::Times("ttl must be between 1 second and a day"));
        }
        if grant.requested_at < 0 || grant.expires_at <= grant.requested_at {
            return Err(GrantError::Times("expires_at must be after requested_at"));
        }
        Ok(grant)
    }

    /// The bytes to sign: JCS.
    pub fn to_bytes(&self) -> Result<Vec<u8>, JoseError> {
        json::canonical(self)
    }

    /// The id of a request for the grant with these bytes.
    #[must_use]
    pub fn id_of(bytes: &[u8]) -> RequestId {
        RequestId(Digest::of(bytes))
    }

    /// Thumbprints of the keys that were made for this grant. An enrolled certificate is none, and may be used twice.
    pub fn fresh_keys(&self) -> impl Iterator<Item = Digest> + use<> {
        let bound = match self.cnf {
            Confirmation::Jkt(thumbprint) => Some(thumbprint),
            Confirmation::Certificate(_) => None,
        };
        bound.into_iter().chain([self.redeem_key.thumbprint()])
    }

    /// The end of the time in which equal bytes could be accepted again, Unix seconds.
    #[must_use]
    pub fn dead_after(&self) -> i64 {
        self.expires_at.saturating_add(i64::from(self.ttl)).saturating_add(2 * super::time::SKEW)
    }
}
