//! What programs read of a refusal: its stable reason, and whose fault it is.

use super::{Fault, Refusal};
use crate::domain::grant::GrantError;
use crate::domain::transcript::TranscriptError;
use crate::jose::JoseError;

impl Refusal {
    /// The stable reason that clients see.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoCharter => "NO_CHARTER",
            Self::CharterInForce => "CHARTER_IN_FORCE",
            Self::CharterExpired => "CHARTER_EXPIRED",
            Self::CharterMismatch => "CHARTER_MISMATCH",
            Self::LogKeyChanged => "LOG_KEY_CHANGED",
            Self::ProposalExists(_) => "PROPOSAL_EXISTS",
            Self::ProposalOpen { .. } => "PROPOSAL_OPEN",
            Self::ProposalUnknown(_) => "PROPOSAL_UNKNOWN",
            Self::NotTheAuthor => "NOT_THE_AUTHOR",
            Self::Transcript(TranscriptError::Content(_)) => "TRANSCRIPT_REFUSED",
            Self::NotPresent(_) => "NOT_PRESENT",
            Self::SignaturesMissing(_) => "SIGNATURES_MISSING",
            Self::TranscriptKnown(_) => "TRANSCRIPT_KNOWN",
            Self::CheckInKnown { .. } => "CHECK_IN_KNOWN",
            Self::ChainEnded(_) => "CHAIN_ENDED",
            Self::GenesisRefused(_) => "GENESIS_REFUSED",
            Self::GenesisKnown(_) => "GENESIS_KNOWN",
            Self::GenesisUnknown(_) => "GENESIS_UNKNOWN",
            Self::NoQuorum(_) => "NO_QUORUM",
            Self::Charter(error) => error.reason(),
            Self::Kill(refusal) => refusal.reason(),
            Self::Gate(refusal) => refusal.reason(),
            Self::Attestation { .. } => "ATTESTATION_REFUSED",
            Self::Statement(error)
            | Self::Grant(GrantError::Json(error))
            | Self::Transcript(TranscriptError::Json(error)) => error.reason(),
            Self::Grant(GrantError::Times(_)) => "GRANT_TIMES",
            Self::NotOneSignature => "NOT_ONE_SIGNATURE",
            Self::CanaryNotDue { .. } => "CANARY_NOT_DUE",
            Self::NotAVerdict => "NOT_A_VERDICT",
            Self::KeyUnknown => "KEY_UNKNOWN",
            Self::RequesterKeyMismatch => "REQUESTER_KEY_MISMATCH",
            Self::NotPermitted(why) => why.reason(),
            Self::ClockSkew { .. } => "CLOCK_SKEW",
            Self::TimesDiffer => "TIMES_DIFFER",
            Self::Duplicate(_) => "DUPLICATE_REQUEST",
            Self::KeyReused => "KEY_REUSED",
            Self::TooManyOpen { .. } => "TOO_MANY_OPEN",
            Self::Cooldown { .. } => "COOLDOWN",
            Self::TokenTooLarge { .. } => "TOKEN_TOO_LARGE",
            Self::StatusListFull => "STATUS_LIST_FULL",
            Self::QuorumImpossible => "QUORUM_IMPOSSIBLE",
            Self::RequestUnknown(_) => "REQUEST_UNKNOWN",
            Self::WrongState(_) => "WRONG_STATE",
            Self::DeadlinePassed => "DEADLINE_PASSED",
            Self::NotACustodian => "NOT_A_CUSTODIAN",
            Self::SelfApproval(_) => "SELF_APPROVAL",
            Self::SelfReview(_) => "SELF_REVIEW",
            Self::NoReviewOpen(_) => "NO_REVIEW_OPEN",
            Self::AlreadySigned(_) => "ALREADY_SIGNED",
            Self::NoSeat(_) => "NO_SEAT",
            Self::StationForbidden => "STATION_FORBIDDEN",
            Self::NotTheRequester => "NOT_THE_REQUESTER",
            Self::RedeemedTooOften(_) => "REDEEMED_TOO_OFTEN",
            Self::RedemptionUsed => "REDEMPTION_USED",
            Self::TooManyEnded { .. } => "TOO_MANY_ENDED",
            Self::FailureUnfounded => "FAILURE_UNFOUNDED",
            Self::KeyNotToDestroy(_) => "KEY_NOT_TO_DESTROY",
            Self::NoStandby(_) => "NO_STANDBY",
            Self::CanaryUnknown { .. } => "CANARY_UNKNOWN",
            Self::HookNotDue { .. } => "HOOK_NOT_DUE",
            Self::SnapshotAhead { .. } => "SNAPSHOT_AHEAD",
            Self::AnotherInstance => "ANOTHER_INSTANCE",
            Self::Clock { .. } => "CLOCK_REFUSED",
        }
    }

    /// What kind of fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Kill(refusal) => refusal.fault(),
            Self::Gate(refusal) => refusal.fault(),
            Self::Charter(_)
            | Self::Transcript(_)
            | Self::SignaturesMissing(_)
            | Self::LogKeyChanged
            | Self::GenesisRefused(_)
            | Self::Attestation { .. }
            | Self::Statement(_)
            | Self::Grant(_)
            | Self::NotOneSignature
            | Self::NotAVerdict
            | Self::TimesDiffer
            | Self::TokenTooLarge { .. } => Fault::Invalid,
            Self::KeyUnknown
            | Self::RequesterKeyMismatch
            | Self::NotPermitted(_)
            | Self::NotACustodian
            | Self::NotPresent(_)
            | Self::SelfApproval(_)
            | Self::SelfReview(_)
            | Self::NoSeat(_)
            | Self::StationForbidden
            | Self::NotTheAuthor
            | Self::NotTheRequester => Fault::Denied,
            Self::RequestUnknown(_)
            | Self::ProposalUnknown(_)
            | Self::GenesisUnknown(_)
            | Self::CanaryUnknown { .. }
            | Self::NoReviewOpen(_) => Fault::Missing,
            Self::Duplicate(_)
            | Self::ProposalExists(_)
            | Self::TranscriptKnown(_)
            | Self::CheckInKnown { .. }
            | Self::GenesisKnown(_)
            | Self::KeyReused
            | Self::AlreadySigned(_)
            | Self::RedemptionUsed
            | Self::CharterInForce => Fault::Duplicate,
            Self::TooManyOpen { .. }
            | Self::StatusListFull
            | Self::ProposalOpen { .. }
            | Self::TooManyEnded { .. }
            | Self::Cooldown { .. }
            | Self::RedeemedTooOften(_) => Fault::Limit,
            Self::NoCharter
            | Self::ChainEnded(_)
            | Self::NoQuorum(_)
            | Self::CharterExpired
            | Self::CharterMismatch
            | Self::ClockSkew { .. }
            | Self::QuorumImpossible
            | Self::WrongState(_)
            | Self::DeadlinePassed
            | Self::FailureUnfounded
            | Self::CanaryNotDue { .. }
            | Self::HookNotDue { .. }
            | Self::KeyNotToDestroy(_)
            | Self::NoStandby(_)
            | Self::SnapshotAhead { .. }
            | Self::AnotherInstance
            | Self::Clock { .. } => Fault::State,
        }
    }

    /// Whether somebody tried for power he does not have: such attempts leave an entry in the log.
    #[must_use]
    pub fn is_attempt(&self) -> bool {
        self.fault() == Fault::Denied || matches!(self, Self::Statement(JoseError::SignatureInvalid))
    }
}
