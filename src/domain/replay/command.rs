//! Which command an event is the first answer to: its statement, verified by the charter in force at its turn.

use super::{Replay, WrongEntry};
use crate::{
    domain::{
        charter::Charter,
        check_in::SignedCheckIn,
        command::Command,
        event::{Event, Failure},
        gate::UseReport,
        genesis::{SignedAnnouncement, SignedCancellation},
        kill::{SignedKill, SignedLift},
        proposal::{SignedProposal, SignedRetraction},
        refusal::Refusal,
        review::SignedReview,
        statement::{SignedAboutRequest, SignedGrant, SignedVerdict},
        time::Timestamp,
        transcript::SignedTranscript,
    },
    jose::{GeneralJws, Typ},
};

impl Replay {
    /// A charter that was proposed, or adopted in one go, after version 1.
    fn proposed(&self, statement: &GeneralJws, at: Timestamp) -> Result<Command, WrongEntry> {
        let charter = self.state.charter().ok_or(Refusal::NoCharter)?;
        let proposal = Box::new(SignedProposal::verify(statement.clone(), charter, at.seconds())?);
        Ok(Command::Propose { proposal, evidence: self.evidence.clone() })
    }

    /// What gates said.
    fn by_gates(&self, event: &Event) -> Result<Command, WrongEntry> {
        let charter = self.state.charter().ok_or(Refusal::NoCharter)?;
        match event {
            Event::UsesReported { report, .. } => {
                Ok(Command::Report(Box::new(UseReport::verify(report.clone(), charter)?)))
            }
            Event::KillEnforced { enforced } => Ok(Command::Enforced(Box::new(enforced.clone()))),
            _ => Err(WrongEntry::Differs("no gate has said it".into())),
        }
    }

    /// The command that this event is the first answer to.
    pub(super) fn command(&self, event: &Event, at: Timestamp) -> Result<Command, WrongEntry> {
        let rules = || self.state.charter().ok_or(Refusal::NoCharter);
        let about =
            |jws: &GeneralJws, typ| SignedAboutRequest::verify(jws.clone(), rules()?, typ).map(Box::new);
        let verdict = |id, signature: &crate::jose::Signature| {
            let request = self.state.request(id).ok_or(Refusal::RequestUnknown(*id))?;
            SignedVerdict::verify(request.payload(), signature.clone(), rules()?).map(Box::new)
        };
        Ok(match event {
            Event::CharterProposed { charter } => self.proposed(charter, at)?,
            Event::CharterAdopted { charter } if self.state.charter().is_some() => {
                self.proposed(charter, at)?
            }
            Event::CharterSigned { charter, signature } => {
                Command::Sign { proposal: *charter, signature: Box::new(signature.clone()) }
            }
            Event::CharterRetracted { retraction } => Command::Retract(Box::new(SignedRetraction::verify(
                retraction.clone(),
                rules()?,
                Typ::Retraction,
            )?)),
            Event::CharterAdopted { charter } => {
                let charter =
                    Charter::genesis(charter.clone(), self.pinned).map_err(WrongEntry::NotPinned)?;
                Command::Adopt { charter: Box::new(charter), evidence: self.evidence.clone() }
            }
            Event::GenesisAnnounced { announcement, charter } => Command::Announce(Box::new(
                SignedAnnouncement::verify(announcement.clone(), charter.clone(), rules()?)?,
            )),
            Event::GenesisCancelled { cancellation } => {
                Command::Cancel(Box::new(SignedCancellation::verify(cancellation.clone(), rules()?)?))
            }
            Event::TranscriptRecorded { transcript } => {
                Command::Record(Box::new(SignedTranscript::verify(transcript.clone(), rules()?)?))
            }
            Event::CheckedIn { check_in } => {
                Command::CheckIn(Box::new(SignedCheckIn::verify(check_in.clone(), rules()?, Typ::CheckIn)?))
            }
            Event::KillRecorded { kill, .. } => {
                Command::Kill(Box::new(SignedKill::verify(kill.clone(), rules()?, Typ::Kill)?))
            }
            Event::LiftRecorded { lift } => {
                Command::Lift(Box::new(SignedLift::verify(lift.clone(), rules()?)?))
            }
            Event::UsesReported { .. } | Event::KillEnforced { .. } => self.by_gates(event)?,
            Event::ReviewRecorded { review } => {
                Command::Review(Box::new(SignedReview::verify(review.clone(), rules()?, Typ::Review)?))
            }
            Event::DaemonStarted { version, .. } => Command::Start { version: version.clone() },
            Event::IssuingKeyDestroyed { kid, found } => Command::KeyDestroyed { kid: *kid, found: *found },
            Event::RequestFiled { request } => {
                Command::File(Box::new(SignedGrant::verify(request.clone(), rules()?)?))
            }
            Event::ApprovalRecorded { request_id, signature }
            | Event::DenialRecorded { request_id, signature } => {
                Command::Judge(verdict(request_id, signature)?)
            }
            Event::RequestWithdrawn { withdrawal } => Command::Withdraw(about(withdrawal, Typ::Withdrawal)?),
            Event::TokenReleased { redemption } => Command::Redeem(about(redemption, Typ::Redeem)?),
            Event::GenesisAlarmed { .. }
            | Event::GenesisReplaced { .. }
            | Event::CharterLapsed { .. }
            | Event::RequestLapsed { .. }
            | Event::TokenExpired { .. }
            | Event::IssuanceFailed { reason: Failure::Expired, .. } => Command::Tick,
            Event::IssuanceMoved { request_id, kid } => Command::Move { request: *request_id, kid: *kid },
            Event::IssuanceTakenOver { request_id, .. } => Command::TakeOver { request: *request_id },
            Event::TokenRevoked { request_id, by } => {
                Command::Revoke { request: *request_id, by: by.clone() }
            }
            Event::TokenIssued { request_id, jwt, jwe } => {
                Command::Issued { request: *request_id, jwt: *jwt, jwe: jwe.clone() }
            }
            Event::IssuanceFailed { request_id, reason } => {
                Command::Fail { request: *request_id, reason: *reason }
            }
            Event::CanaryAuthorized { verifier, kid, .. } => {
                Command::Canary { verifier: verifier.clone(), kid: *kid }
            }
            Event::CanaryIssued { verifier, kid, jwt, jwe } => {
                Command::CanaryIssued { verifier: verifier.clone(), kid: *kid, jwt: *jwt, jwe: jwe.clone() }
            }
            Event::VerifierProbed { .. } | Event::HookAnswered { .. } => return answered(event),
            Event::AttemptsRefused { minute, peer, reason, count } => {
                Command::Refused { minute: *minute, peer: *peer, reason: reason.clone(), count: *count }
            }
            Event::SnapshotTaken { size, root, digest } => {
                Command::Snapshot { size: *size, root: *root, digest: *digest }
            }
            Event::AttestationRecorded { .. }
            | Event::RequestDenied { .. }
            | Event::RequestSuperseded { .. }
            | Event::IssuanceAuthorized { .. } => {
                return Err(WrongEntry::Differs(
                    "it never stands alone: the entry that leads to it is missing".into(),
                ));
            }
        })
    }
}

/// What a verifier answered, to its canary or as its revocation hook.
fn answered(event: &Event) -> Result<Command, WrongEntry> {
    match event {
        Event::VerifierProbed { verifier, kid, answer, kill, .. } => {
            Ok(Command::Probed { verifier: verifier.clone(), kid: *kid, answer: *answer, kill: *kill })
        }
        Event::HookAnswered { verifier, kill, answer } => {
            Ok(Command::HookTold { verifier: verifier.clone(), kill: *kill, answer: *answer })
        }
        _ => Err(WrongEntry::Differs("it is no answer of a verifier".into())),
    }
}
