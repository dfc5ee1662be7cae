//! The next charter: proposed, signed, taken back, and adopted by the signature that completes it.
//!
//! Invariants: an expired charter does not stand in the way, or it could never be replaced; adoption follows from
//! signatures alone, and with it ends, in the same decision, whatever the new version no longer carries.

use crate::{
    domain::{
        charter::{Basis, Charter, MAX_CHARTER_BYTES, Role, Rules},
        command::Context,
        event::{Event, Failure},
        evidence::Evidence,
        id::PersonId,
        proposal::{self, Proposal, SignedProposal, SignedRetraction},
        refusal::Refusal,
        request::{Authorization, Life, Request},
        state::State,
        time::SKEW,
    },
    jose::{Digest, GeneralJws, JoseError, Signature},
};

/// A document with its signatures: adopted at once if they suffice, proposed otherwise.
pub(super) fn propose(
    state: &State,
    signed: &SignedProposal,
    evidence: &[Evidence],
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let charter = state.charter().ok_or(Refusal::NoCharter)?;
    if signed.base() != charter.digest() {
        return Err(Refusal::CharterMismatch);
    }
    let now = context.now.seconds();
    acceptable(charter, signed.rules(), now)?;
    if let Some(signed_at) = signed.tally().newest().filter(|newest| *newest > now + SKEW) {
        return Err(Refusal::ClockSkew { signed_at, now });
    }
    let mut events = super::attest::judge(state, signed.rules(), evidence, now)?;
    if signed.tally().complete_at().is_some() {
        events.extend(adopted(state, charter, signed.rules(), signed.statement().clone()));
        return Ok(events);
    }
    if proposal::deadline(signed.rules()) <= now {
        return Err(Refusal::DeadlinePassed);
    }
    let author = author(charter, signed, now)?;
    if state.proposal(&signed.rules().digest()).is_some() {
        return Err(Refusal::ProposalExists(signed.rules().digest()));
    }
    // One each: nobody can take up the room of the others.
    if let Some(open) = state.proposals().find(|open| open.author() == author) {
        return Err(Refusal::ProposalOpen { who: author.to_string(), open: open.rules().digest() });
    }
    events.push(Event::CharterProposed { charter: signed.statement().clone() });
    Ok(events)
}

/// What only a daemon has to mind about a version that is otherwise good.
fn acceptable(charter: &Charter, next: &Rules, now: i64) -> Result<(), Refusal> {
    if !next.is_in_force(now) {
        return Err(Refusal::CharterExpired);
    }
    // The entries of this log are signed with it, and no successor of a log key exists yet.
    if next.document().log_keys.first() == charter.document().log_keys.first() {
        Ok(())
    } else {
        Err(Refusal::LogKeyChanged)
    }
}

/// The custodian in term whose signature stands first.
fn author<'a>(charter: &Charter, signed: &'a SignedProposal, now: i64) -> Result<&'a PersonId, Refusal> {
    let first = signed.statement().signatures.first().ok_or(Refusal::NotOneSignature)?;
    let in_term = charter.holder(&first.header().kid).and_then(|holder| holder.keeper(now));
    signed.author().filter(|author| in_term.as_ref() == Some(author)).ok_or(Refusal::NotACustodian)
}

/// One more signature.
pub(super) fn sign(
    state: &State,
    digest: &Digest,
    signature: &Signature,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let charter = state.charter().ok_or(Refusal::NoCharter)?;
    let proposal = open(state, digest)?;
    let now = context.now.seconds();
    if proposal.deadline() <= now {
        return Err(Refusal::DeadlinePassed);
    }
    acceptable(charter, proposal.rules(), now)?;
    let kid = signature.header().kid;
    let holders = [charter.holder(&kid), proposal.rules().holder(&kid)];
    let keeps = |role| holders.iter().flatten().find(|holder| holder.roles.contains(role));
    let custodian = [Role::Custodian, Role::Recovery].iter().find_map(keeps);
    let custodian = custodian.ok_or(Refusal::NotACustodian)?;
    let mut statement = proposal.statement().clone();
    if statement.signatures.iter().any(|signed| signed.header().kid == kid) {
        return Err(Refusal::AlreadySigned(custodian.principal.to_string()));
    }
    statement.signatures.push(signature.clone());
    let (actual, limit) = (statement.to_json().len(), MAX_CHARTER_BYTES);
    if actual > limit {
        return Err(Refusal::Statement(JoseError::TooLong { limit, actual }));
    }
    let tally = charter.tally(proposal.rules(), &statement, now)?;
    let mut events = vec![Event::CharterSigned { charter: *digest, signature: signature.clone() }];
    if tally.complete_at().is_some() {
        events.extend(adopted(state, charter, proposal.rules(), statement));
    }
    Ok(events)
}

/// Its author takes it back.
pub(super) fn retract(
    state: &State,
    signed: &SignedRetraction,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let charter = state.charter().ok_or(Refusal::NoCharter)?;
    let about = signed.about();
    if about.charter != charter.digest() || about.iss != charter.document().iss {
        return Err(Refusal::CharterMismatch);
    }
    super::about_now(signed.signed_at(), context)?;
    let proposal = open(state, &about.proposal)?;
    let custodian = charter.holder(&signed.kid()).and_then(|holder| holder.keeper(context.now.seconds()));
    if custodian.as_ref() != Some(proposal.author()) {
        return Err(Refusal::NotTheAuthor);
    }
    // Proposed again after it was taken back, it is not ended by the old statement.
    if signed.signed_at() < proposal.at().seconds() {
        let now = context.now.seconds();
        return Err(Refusal::ClockSkew { signed_at: signed.signed_at(), now });
    }
    Ok(vec![Event::CharterRetracted { retraction: signed.jws().clone() }])
}

fn open<'a>(state: &'a State, digest: &Digest) -> Result<&'a Proposal, Refusal> {
    state.proposal(digest).ok_or(Refusal::ProposalUnknown(*digest))
}

/// The adoption and what it ends.
fn adopted(state: &State, charter: &Charter, next: &Rules, statement: GeneralJws) -> Vec<Event> {
    let mut events = vec![Event::CharterAdopted { charter: statement }];
    events.extend(state.requests().filter_map(|request| match request.life() {
        Life::Pending { .. } => Some(Event::RequestSuperseded { request_id: request.id() }),
        Life::Authorized(authorization) if !stands(charter, next, request, authorization) => {
            Some(Event::IssuanceFailed { request_id: request.id(), reason: Failure::Superseded })
        }
        Life::Authorized(_) | Life::Issued { .. } => None,
    }));
    events
}

/// Whether the new version leaves an authorization standing, which is then finished under the charter of its grant.
fn stands(charter: &Charter, next: &Rules, request: &Request, authorization: &Authorization) -> bool {
    let approvers: Vec<Digest> =
        authorization.approvals.iter().map(|approval| approval.header().kid).collect();
    let grant = request.grant();
    let basis = Basis { grant, kid: &authorization.kid, approvers: &approvers, iat: authorization.iat };
    charter.version_named(&grant.charter).is_some_and(|earlier| next.honours(earlier, &basis).is_ok())
}
