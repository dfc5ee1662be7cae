//! The closed list of signed statements.
//!
//! Invariant: a signature for one purpose never verifies for another, because the purpose is in its protected header
//! (RFC 8725 section 3.11, explicit typing).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::JoseError;
use super::error::excerpt;

/// What a statement says; in the header `typ`, such as `breakglass-request+jws`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Typ {
    /// A requester files a grant.
    #[serde(rename = "breakglass-request+jws")]
    Request,
    /// A custodian approves a grant.
    #[serde(rename = "breakglass-approval+jws")]
    Approval,
    /// A custodian denies a grant.
    #[serde(rename = "breakglass-denial+jws")]
    Denial,
    /// A requester takes a request back.
    #[serde(rename = "breakglass-withdrawal+jws")]
    Withdrawal,
    /// The holder of the redeem key fetches the JWT.
    #[serde(rename = "breakglass-redeem+jws")]
    Redeem,
    /// The rules, signed by a quorum.
    #[serde(rename = "breakglass-charter+jws")]
    Charter,
    /// A custodian takes a proposed charter back.
    #[serde(rename = "breakglass-charter-retraction+jws")]
    Retraction,
    /// A revocation.
    #[serde(rename = "breakglass-kill+jws")]
    Kill,
    /// The end of a revocation, by quorum.
    #[serde(rename = "breakglass-lift+jws")]
    Lift,
    /// A custodian shows that he and his key can be reached.
    #[serde(rename = "breakglass-check-in+jws")]
    CheckIn,
    /// The review after the incident.
    #[serde(rename = "breakglass-review+jws")]
    Review,
    /// The record of a ceremony.
    #[serde(rename = "breakglass-transcript+jws")]
    Transcript,
    /// Somebody who is left announces that a new chain is to begin.
    #[serde(rename = "breakglass-genesis+jws")]
    Announcement,
    /// A quorum ends such an announcement.
    #[serde(rename = "breakglass-genesis-cancellation+jws")]
    Cancellation,
    /// A gate has taken a kill.
    #[serde(rename = "breakglass-ack+jws")]
    Ack,
    /// A gate has let a token pass.
    #[serde(rename = "breakglass-use+jws")]
    Use,
}

impl Typ {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Request,
        Self::Approval,
        Self::Denial,
        Self::Withdrawal,
        Self::Redeem,
        Self::Charter,
        Self::Retraction,
        Self::Kill,
        Self::Lift,
        Self::CheckIn,
        Self::Review,
        Self::Transcript,
        Self::Announcement,
        Self::Cancellation,
        Self::Ack,
        Self::Use,
    ];

    /// The value of the header's `typ`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "breakglass-request+jws",
            Self::Approval => "breakglass-approval+jws",
            Self::Denial => "breakglass-denial+jws",
            Self::Withdrawal => "breakglass-withdrawal+jws",
            Self::Redeem => "breakglass-redeem+jws",
            Self::Charter => "breakglass-charter+jws",
            Self::Retraction => "breakglass-charter-retraction+jws",
            Self::Kill => "breakglass-kill+jws",
            Self::Lift => "breakglass-lift+jws",
            Self::CheckIn => "breakglass-check-in+jws",
            Self::Review => "breakglass-review+jws",
            Self::Transcript => "breakglass-transcript+jws",
            Self::Announcement => "breakglass-genesis+jws",
            Self::Cancellation => "breakglass-genesis-cancellation+jws",
            Self::Ack => "breakglass-ack+jws",
            Self::Use => "breakglass-use+jws",
        }
    }
}

impl fmt::Display for Typ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Typ {
    type Err = JoseError;

    fn from_str(text: &str) -> Result<Self, JoseError> {
        Self::ALL
            .into_iter()
            .find(|typ| typ.as_str() == text)
            .ok_or_else(|| JoseError::TypUnknown { found: excerpt(text) })
    }
}
