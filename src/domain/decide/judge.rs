//! A custodian approves or denies.

use super::authorize;
use crate::{
    domain::{
        charter::Charter,
        command::Context,
        event::Event,
        id::PersonId,
        refusal::Refusal,
        request::{Life, Request},
        state::State,
        statement::{SignedVerdict, Verdict},
        time::SKEW,
    },
    jose::Signature,
};

pub(super) fn decide(
    state: &State,
    signed: &SignedVerdict,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let charter = super::charter_in_force(state, context)?;
    let request = super::live(state, &signed.request())?;
    let Life::Pending { approvals, denials } = request.life() else {
        return Err(Refusal::WrongState(request.state()));
    };
    let now = context.now.seconds();
    if request.grant().expires_at <= now {
        return Err(Refusal::DeadlinePassed);
    }
    if request.grant().charter != charter.digest() {
        return Err(Refusal::CharterMismatch);
    }
    let person = signer(charter, request, signed.signature(), now)?;
    state.kills.refuse_key(&signed.signature().header().kid, now)?;
    if person_in(charter, denials, &person) {
        return Err(Refusal::AlreadySigned(person.to_string()));
    }
    let request_id = request.id();
    let signature = signed.signature().clone();
    match signed.verdict() {
        Verdict::Deny => {
            let mut all = denials.clone();
            all.push(signature.clone());
            let mut events = vec![Event::DenialRecorded { request_id, signature }];
            if enough_denials(charter, request, &all) {
                events.push(Event::RequestDenied { request_id });
            }
            Ok(events)
        }
        Verdict::Approve => {
            super::not_killed(state, charter, request.grant(), request_id, now)?;
            may_approve(charter, request, &person, &signature, now)?;
            let mut all: Vec<Signature> = approvals.clone();
            if person_in(charter, approvals, &person) {
                // The one reason to sign again: the quorum is there, but its newest approval is too old to mint on.
                let too_old = authorize::is_stale(charter, request, approvals, denials, now);
                let renews = all.iter().any(|old| {
                    old.header().kid == signature.header().kid && old.header().iat < signature.header().iat
                });
                if !(too_old && renews) {
                    return Err(Refusal::AlreadySigned(person.to_string()));
                }
                all.retain(|old| old.header().kid != signature.header().kid);
            }
            all.push(signature.clone());
            let mut events = vec![Event::ApprovalRecorded { request_id, signature }];
            events.extend(authorize::decide(state, request, &all, denials, context)?);
            Ok(events)
        }
    }
}

/// The custodian whose signature this is; its time must fit the request's.
fn signer(
    charter: &Charter,
    request: &Request,
    signature: &Signature,
    now: i64,
) -> Result<PersonId, Refusal> {
    let header = signature.header();
    let holder = charter.holder(&header.kid).ok_or(Refusal::KeyUnknown)?;
    let person = holder.custodian(now).ok_or(Refusal::NotACustodian)?;
    let window = request.grant().requested_at - SKEW..=now + SKEW;
    if !window.contains(&header.iat) {
        return Err(Refusal::ClockSkew { signed_at: header.iat, now });
    }
    Ok(person)
}

fn may_approve(
    charter: &Charter,
    request: &Request,
    person: &PersonId,
    signature: &Signature,
    now: i64,
) -> Result<(), Refusal> {
    let permit = charter.permits(request.grant())?;
    permit.in_term(now)?;
    if permit.excluded.contains(person) {
        return Err(Refusal::SelfApproval(person.to_string()));
    }
    if signature.header().station.is_some() && !permit.profile.stations {
        return Err(Refusal::StationForbidden);
    }
    let seats = charter.quorums(&permit.profile.id).map(|quorums| quorums.approve.persons());
    if seats.is_some_and(|persons| persons.contains(person)) {
        Ok(())
    } else {
        Err(Refusal::NoSeat(person.to_string()))
    }
}

fn person_in(charter: &Charter, signatures: &[Signature], person: &PersonId) -> bool {
    signatures
        .iter()
        .filter_map(|signature| charter.holder(&signature.header().kid))
        .any(|holder| holder.persons.contains(person))
}

/// One denial suffices, unless the profile has a formula for them.
fn enough_denials(charter: &Charter, request: &Request, denials: &[Signature]) -> bool {
    let formula = charter.quorums(&request.grant().profile).and_then(|quorums| quorums.deny.as_ref());
    formula.is_none_or(|formula| formula.satisfied_by(&authorize::persons(charter, denials)))
}
