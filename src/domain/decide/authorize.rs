//! Whether the approvals of a request complete its quorum, and what is authorized then.

use std::collections::BTreeSet;

use crate::{
    domain::{
        charter::{Charter, Permit},
        claims::{Claims, LogPosition},
        command::Context,
        event::Event,
        id::PersonId,
        quorum::Quorum,
        refusal::Refusal,
        request::Request,
        state::State,
        strict::MINT_WITHIN,
    },
    jose::{Digest, Signature},
};

/// The events that follow on the newest approval: none, or the authorization.
///
/// The context's index is that of the approval's entry; the authorization takes the next.
pub(super) fn decide(
    state: &State,
    request: &Request,
    approvals: &[Signature],
    denials: &[Signature],
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let now = context.now.seconds();
    let grant = request.grant();
    let charter = super::charter_in_force(state, context)?;
    let permit = charter.permits(grant)?;
    let Some(chosen) = quorum(charter, &permit, approvals, denials, now) else { return Ok(Vec::new()) };
    if is_too_old(&chosen, now) {
        return Ok(Vec::new());
    }
    let key = super::issuing_key(state, charter, &grant.profile, now);
    let (Some(key), Some(log)) = (key, charter.document().log_keys.first()) else {
        return Ok(Vec::new());
    };
    let position = LogPosition { origin: log.origin.clone(), index: context.index + 1 };
    let signed = request.with_signatures(&chosen);
    let status = match permit.lists {
        Some(_) => Some(state.places.choose(&signed).ok_or(Refusal::StatusListFull)?),
        None => None,
    };
    let claims = Claims::new(grant, &permit, signed, now, position, status);
    Ok(vec![Event::IssuanceAuthorized {
        request_id: request.id(),
        approvals: chosen.iter().map(|signature| signature.header().kid).collect(),
        iat: claims.iat,
        exp: claims.exp,
        kid: key.key.thumbprint(),
        claims: Digest::of(&claims.to_bytes()?),
        instance: context.instance.clone(),
        status,
    }])
}

/// Whether the quorum is complete, but too old to mint on.
pub(super) fn is_stale(
    charter: &Charter,
    request: &Request,
    approvals: &[Signature],
    denials: &[Signature],
    now: i64,
) -> bool {
    let Ok(permit) = charter.permits(request.grant()) else { return false };
    quorum(charter, &permit, approvals, denials, now).is_some_and(|chosen| is_too_old(&chosen, now))
}

/// The approvals that complete the quorum now.
fn quorum(
    charter: &Charter,
    permit: &Permit<'_>,
    approvals: &[Signature],
    denials: &[Signature],
    now: i64,
) -> Option<Vec<Signature>> {
    let quorums = charter.quorums(&permit.profile.id)?;
    choose(charter, &quorums.approve, counted(charter, permit, approvals, denials, now), now)
}

fn is_too_old(chosen: &[Signature], now: i64) -> bool {
    newest(chosen).is_none_or(|newest| now > newest + MINT_WITHIN)
}

/// The persons who signed.
pub(super) fn persons(charter: &Charter, signatures: &[Signature]) -> BTreeSet<PersonId> {
    let holders = signatures.iter().filter_map(|signature| charter.holder(&signature.header().kid));
    holders.flat_map(|holder| holder.persons.iter().cloned()).collect()
}

/// Approvals that count now: by custodians in term, not excluded, who have not denied.
fn counted(
    charter: &Charter,
    permit: &Permit<'_>,
    approvals: &[Signature],
    denials: &[Signature],
    now: i64,
) -> Vec<Signature> {
    let denied = persons(charter, denials);
    let counts = |signature: &&Signature| {
        let holder = charter.holder(&signature.header().kid);
        let person = holder.and_then(|holder| holder.custodian(now));
        person.is_some_and(|person| !permit.excluded.contains(&person) && !denied.contains(&person))
    };
    approvals.iter().filter(counts).cloned().collect()
}

/// Approvals that fill the quorum's seats, each its own: among all ways to do so, one with the newest approval that any has,
/// and as few as that allows. A token has no room for more, and is minted only while its newest approval is fresh.
fn choose(
    charter: &Charter,
    quorum: &Quorum,
    mut signatures: Vec<Signature>,
    now: i64,
) -> Option<Vec<Signature>> {
    signatures.sort_by_key(|signature| std::cmp::Reverse((signature.header().iat, signature.header().kid)));
    let person = |signature: &Signature| charter.holder(&signature.header().kid)?.custodian(now);
    let persons: Vec<PersonId> = signatures.iter().filter_map(person).collect();
    let places = quorum.choose(&persons)?;
    let mut chosen: Vec<Signature> =
        places.into_iter().filter_map(|place| signatures.get(place).cloned()).collect();
    chosen.reverse();
    Some(chosen)
}

fn newest(signatures: &[Signature]) -> Option<i64> {
    signatures.iter().map(|signature| signature.header().iat).max()
}
