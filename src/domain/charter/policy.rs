//! What a charter demands of hardware keys: certificates that lead to a root, a firmware, and no published fault.
//!
//! Here is only shape; `check` holds what a charter says of its devices against it, and `decide::attest` holds that
//! against evidence, for every device again where any of the demands changes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::firmware::Firmware;
use crate::jose::b64;

/// What is demanded of hardware keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationPolicy {
    /// Trusted certificates, base64url of DER. Every device needs evidence that leads to one of them; none only in development.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<String>,
    /// Certificates between the devices' own and the roots, base64url of DER: not on the devices, and trusted only as far as a
    /// root has signed them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub intermediates: BTreeSet<String>,
    /// The oldest acceptable firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_firmware: Option<Firmware>,
    /// Published faults of devices: none that they affect is accepted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub advisories: BTreeSet<Advisory>,
}

impl AttestationPolicy {
    /// The roots, DER; those of a checked charter are all readable.
    #[must_use]
    pub fn root_ders(&self) -> Vec<Vec<u8>> {
        self.roots.iter().filter_map(|root| b64::decode(root).ok()).collect()
    }

    /// The intermediates, DER; those of a checked charter are all readable.
    #[must_use]
    pub fn intermediate_ders(&self) -> Vec<Vec<u8>> {
        self.intermediates.iter().filter_map(|one| b64::decode(one).ok()).collect()
    }

    /// The first advisory that affects this firmware.
    #[must_use]
    pub fn affecting(&self, firmware: Firmware) -> Option<&Advisory> {
        self.advisories.iter().find(|advisory| advisory.affects(firmware))
    }
}

/// A published fault of devices, by the firmware that has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advisory {
    /// The name under which its maker published it, such as `YSA-2024-03`: 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_`, `-`.
    pub id: AdvisoryId,
    /// The oldest firmware that has it; without it, every one below the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Firmware>,
    /// The oldest firmware that does not have it any more.
    pub below: Firmware,
}

impl Advisory {
    /// Whether devices of this firmware have the fault.
    #[must_use]
    pub fn affects(&self, firmware: Firmware) -> bool {
        self.from.is_none_or(|from| from <= firmware) && firmware < self.below
    }
}

impl std::fmt::Display for Advisory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.from {
            None => write!(f, "{} (firmware below {})", self.id.0, self.below),
            Some(from) => write!(f, "{} (firmware from {from} and below {})", self.id.0, self.below),
        }
    }
}

/// An advisory's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AdvisoryId(String);

impl TryFrom<String> for AdvisoryId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is not the name of an advisory such as YSA-2024-03"))
        }
    }
}

impl From<AdvisoryId> for String {
    fn from(id: AdvisoryId) -> Self {
        id.0
    }
}
