//! What operational keys sign: compact JWTs that say something about tokens, and are none.
//!
//! Invariants: the header is exactly `alg` (ES256), `kid` and `typ`, and `typ` is one of a closed list without `at+jwt`, so that
//! whoever checks it takes none of them for an access token. Whoever does not is kept from that by another issuer and another key.
//!
//! Specs: RFC 7515 section 7.1; OAuth Token Status List section 5.1 (`statuslist+jwt`); RFC 8417 section 2.3 (`secevent+jwt`).

use super::{Digest, b64};

/// A kind of such a JWT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A status list.
    StatusList,
    /// A security event.
    SecurityEvent,
}

impl Said {
    /// The `typ` of its header.
    #[must_use]
    pub const fn typ(self) -> &'static str {
        match self {
            Self::StatusList => "statuslist+jwt",
            Self::SecurityEvent => "secevent+jwt",
        }
    }

    /// What the operational key signs.
    #[must_use]
    pub fn signing_input(self, kid: &Digest, payload: &[u8]) -> String {
        // The members stand in canonical order, and no value needs an escape.
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"{}"}}"#, self.typ());
        format!("{}.{}", b64::encode(header.as_bytes()), b64::encode(payload))
    }
}
