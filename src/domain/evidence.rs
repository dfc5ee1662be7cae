//! Attestation evidence beside a charter: two certificates, named in the charter by one digest.

use serde::{Deserialize, Serialize};

use crate::jose::{Digest, b64};

/// The certificates that a device gave when its key was made. What they say is worth nothing before
/// [`attestation::verify`](super::attestation::verify) has said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The statement about the key, base64url of DER.
    pub statement: String,
    /// The device's own attestation certificate (f9), base64url of DER.
    pub intermediate: String,
}

impl Evidence {
    /// Evidence as a device gives it, in DER.
    #[must_use]
    pub fn of_der(statement: &[u8], intermediate: &[u8]) -> Self {
        Self { statement: b64::encode(statement), intermediate: b64::encode(intermediate) }
    }

    /// The name by which a charter's device refers to it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest(&self.statement, &self.intermediate)
    }
}

/// SHA-256 over both texts with a dot between them; base64url has no dot, so the pair is unambiguous.
#[must_use]
pub fn digest(statement: &str, intermediate: &str) -> Digest {
    Digest::of(format!("{statement}.{intermediate}").as_bytes())
}
