//! Protected headers: read member by member, so that a foreign one is named and refused.
//!
//! Invariants: the alg is a constant and never chosen by the message; there is no `crit`, `b64`, `jwk`, `jku`, `x5c`,
//! `crv` or any other member; the bytes are canonical, so one header has one text. Specs: RFC 7515 section 4, RFC 8725.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::excerpt;
use super::{Digest, JoseError, Typ, b64, json};

/// The only signature algorithm of statements.
const ALG: &str = "ES256";
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
        // Headers are read more often than anything else, and nearly all of them are good.
        match Self::decode_good(protected) {
            Some(header) => Ok(header),
            None => Self::decode_any(protected),
        }
    }

    /// Reads a header without looking for what is wrong with it.
    fn decode_good(protected: &str) -> Option<Self> {
        let mut buffer = [0; MAX_HEADER];
        let json = std::str::from_utf8(b64::decode_into(protected, &mut buffer)?).ok()?;
        let rest = json.strip_prefix(r#"{"alg":"ES256","iat":"#)?;
        let (iat, rest) = rest.split_once(r#","kid":""#)?;
        let (kid, rest) = rest.split_once('"')?;
        let (station, rest) = match rest.strip_prefix(r#","station":""#) {
            Some(rest) => rest.split_once('"').map(|(station, rest)| (Some(station), rest))?,
            None => (None, rest),
        };
        let typ = rest.strip_prefix(r#","typ":""#)?.strip_suffix(r#""}"#)?;
        let canonical =
            iat.len() < 16 && !iat.starts_with('0') && iat.bytes().all(|byte| byte.is_ascii_digit());
        let header = Self {
            kid: kid.parse().ok()?,
            typ: typ.parse().ok()?,
            iat: iat.parse().ok().filter(|_| canonical)?,
            station: station.map(ToOwned::to_owned),
        };
        header.check().ok()?;
        Some(header)
    }

    /// Reads a header member by member, and says what is wrong with it.
    fn decode_any(protected: &str) -> Result<Self, JoseError> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is changed in a good header: both ways of reading it agree.
        #[test]
        fn the_short_way_reads_what_the_long_way_reads(
            kid in any::<[u8; 32]>(),
            typ in prop::sample::select(&Typ::ALL[..]),
            iat in prop_oneof![0i64..3, 1_700_000_000i64..1_900_000_000, (1i64 << 53) - 2..(1 << 53)],
            station in prop::option::of("[a-z0-9._-]{1,64}"),
            changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"\"{}:,0a A"[..])), 0..3),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let header = ProtectedHeader { kid: Digest::from_bytes(kid), typ, iat, station };
            let mut json = b64::decode(&header.encode().unwrap()).unwrap();
            for (at, byte) in &changes {
                let at = at.index(json.len());
                json[at] = *byte;
            }
            if let Some(cut) = cut {
                json.truncate(cut.index(json.len()));
            }
            let protected = b64::encode(&json);
            let long = ProtectedHeader::decode_any(&protected);
            if changes.is_empty() && cut.is_none() {
                prop_assert_eq!(&long, &Ok(header));
            }
            if let Some(short) = ProtectedHeader::decode_good(&protected) {
                prop_assert_eq!(&long, &Ok(short));
            }
            prop_assert_eq!(ProtectedHeader::decode(&protected), long);
        }
    }
}
