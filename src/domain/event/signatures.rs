//! Which statements of people and tools an event holds.

use super::Event;
use crate::jose::Signature;

impl Event {
    /// The signatures of people and tools that the event holds.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        match self {
            Self::CharterSigned { signature, .. }
            | Self::ApprovalRecorded { signature, .. }
            | Self::DenialRecorded { signature, .. } => std::slice::from_ref(signature),
            Self::CharterProposed { charter: statement }
            | Self::CharterRetracted { retraction: statement }
            | Self::CharterAdopted { charter: statement }
            | Self::TranscriptRecorded { transcript: statement }
            | Self::GenesisAnnounced { announcement: statement, .. }
            | Self::GenesisCancelled { cancellation: statement }
            | Self::CheckedIn { check_in: statement }
            | Self::ReviewRecorded { review: statement }
            | Self::UsesReported { report: statement, .. }
            | Self::KillRecorded { kill: statement, .. }
            | Self::LiftRecorded { lift: statement }
            | Self::RequestFiled { request: statement }
            | Self::RequestWithdrawn { withdrawal: statement }
            | Self::TokenReleased { redemption: statement } => &statement.signatures,
            Self::AttestationRecorded { .. }
            | Self::CharterLapsed { .. }
            | Self::GenesisAlarmed { .. }
            | Self::GenesisReplaced { .. }
            | Self::DaemonStarted { .. }
            | Self::IssuingKeyDestroyed { .. }
            | Self::RequestDenied { .. }
            | Self::RequestLapsed { .. }
            | Self::RequestSuperseded { .. }
            | Self::IssuanceAuthorized { .. }
            | Self::IssuanceMoved { .. }
            | Self::IssuanceTakenOver { .. }
            | Self::TokenIssued { .. }
            | Self::TokenRevoked { .. }
            | Self::TokenExpired { .. }
            | Self::IssuanceFailed { .. }
            | Self::CanaryAuthorized { .. }
            | Self::CanaryIssued { .. }
            | Self::VerifierProbed { .. }
            | Self::HookAnswered { .. }
            | Self::AttemptsRefused { .. }
            | Self::KillEnforced { .. }
            | Self::SnapshotTaken { .. } => &[],
        }
    }
}
