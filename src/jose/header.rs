//! Protected headers: read member by member, so that a foreign one is named and refused.
//!
//! Invariants: the alg is a constant and never chosen by the message; there is no `crit`, `b64`, `jwk`, `jku`, `x5c`,
//! `crv` or any other member; the bytes are canonical, so one header has one text. Specs: RFC 7515 section 4, RFC 8725.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::excerpt;
use super::{Digest, JoseError, Typ, b64, json};

/// The only signature algorithm of statements and tokens.
pub(super) const ALG: &str = "ES256";
/// Longest header, decoded. The longest one that this module writes has about 230 bytes.
const MAX_HEADER: usize = 512;
/// Longest station id.
const MAX_STATION: usize = 64;

/// The protected header of a statement: exactly `alg` (ES256), `iat`, `kid`, `typ`, and `station` where one was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedHeader {
    /// RFC 7638 thumbprint of the key that signed.
    pub kid: Digest,
    /// What is stated.
    pub typ: Typ,
    /// When, by the signer's clock: seconds since 1970, UTC. Never negative.
    pub iat: i64,
    /// The shared machine at which a custodian signed: 1 to 64 of `a-z`, `0-9`, `.`, `_`, `-`.
    pub station: Option<String>,
}

impl ProtectedHeader {
    /// The `protected` text of a JWS: base64url of the canonical JSON.
    ///
    /// # Errors
    /// [`JoseError::HeaderValue`] where [`Self::decode`] would refuse it.
    pub fn encode(&self) -> Result<String, JoseError> {
        self.check()?;
        let mut members = BTreeMap::from([
            ("alg", Value::from(ALG)),
            ("iat", Value::from(self.iat)),
            ("kid", Value::from(self.kid.to_string())),
            ("typ", Value::from(self.typ.as_str())),
        ]);
        if let Some(station) = &self.station {
            members.insert("station", Value::from(station.as_str()));
        }
        Ok(b64::encode(&json::canonical(&members)?))
    }

    /// Reads the `protected` text of a JWS.
    ///
    /// # Errors
    /// `ALG_NOT_ALLOWED`, `HEADER_…`, `TYP_UNKNOWN`, or an error of the strict JSON.
    pub fn decode(protected: &str) -> Result<Self, JoseError> {
        let mut members = Members::decode(protected)?;
        members.constant_alg(ALG)?;
        let header = Self {
            kid: members.text("kid")?.parse()?,
            typ: members.text("typ")?.parse()?,
            iat: members
                .take("iat")
                .and_then(|value| value.as_i64())
                .ok_or(JoseError::HeaderMissing { name: "iat" })?,
            station: match members.take("station") {
                None => None,
                Some(Value::String(station)) => Some(station),
                Some(_) => return Err(JoseError::HeaderValue { name: "station" }),
            },
        };
        members.end()?;
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), JoseError> {
        if self.iat < 0 {
            return Err(JoseError::HeaderValue { name: "iat" });
        }
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        match &self.station {
            Some(id) if id.is_empty() || id.len() > MAX_STATION || !id.bytes().all(plain) => {
                Err(JoseError::HeaderValue { name: "station" })
            }
            _ => Ok(()),
        }
    }
}

/// The members of a header that have not been looked at yet.
pub(super) struct Members(BTreeMap<String, Value>);

impl Members {
    /// Reads the base64url text of any header.
    pub(super) fn decode(protected: &str) -> Result<Self, JoseError> {
        let limit = MAX_HEADER.div_ceil(3) * 4;
        if protected.len() > limit {
            return Err(JoseError::TooLong { limit, actual: protected.len() });
        }
        json::parse(&b64::decode(protected)?, MAX_HEADER).map(Self)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<String, JoseError> {
        match self.take(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(JoseError::HeaderMissing { name }),
        }
    }

    /// Demands the one algorithm of this kind of object, before anything else is looked at.
    pub(super) fn constant_alg(&mut self, expected: &'static str) -> Result<(), JoseError> {
        let found = self.text("alg")?;
        if found == expected { Ok(()) } else { Err(JoseError::Alg { expected, found: excerpt(&found) }) }
    }

    /// Demands that nothing is left over.
    pub(super) fn end(self) -> Result<(), JoseError> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(JoseError::HeaderMember { name: excerpt(&name) }),
        }
    }
}
