//! A request is filed.

use crate::domain::{
    charter::{MAX_TOKEN_BYTES, Permit, Rules},
    claims,
    command::Context,
    event::Event,
    grant::Grant,
    refusal::Refusal,
    state::State,
    statement::SignedGrant,
    time::SKEW,
};

/// Requests that may be open (pending or authorized) at once.
pub const MAX_OPEN: usize = 1_024;
/// Requests that one client may have open at once.
pub const MAX_OPEN_PER_REQUESTER: usize = 32;
/// Requests of one client that may be remembered though they came to nothing; each is, until its bytes are dead.
pub const MAX_ENDED_PER_REQUESTER: usize = 10_000;

pub(super) fn decide(state: &State, signed: &SignedGrant, context: &Context) -> Result<Vec<Event>, Refusal> {
    let charter = super::charter_in_force(state, context)?;
    let grant = signed.grant();
    let permit = charter.permits(grant)?;
    let now = context.now.seconds();
    permit.in_term(now)?;
    if signed.signed_at() != grant.requested_at {
        return Err(Refusal::TimesDiffer);
    }
    if grant.requested_at > now + SKEW {
        return Err(Refusal::ClockSkew { signed_at: grant.requested_at, now });
    }
    if grant.expires_at <= now {
        return Err(Refusal::DeadlinePassed);
    }
    let id = signed.id();
    if state.request(&id).is_some() || state.closed(&id).is_some() {
        return Err(Refusal::Duplicate(id));
    }
    super::not_killed(state, charter, grant, id, now)?;
    within_limits(state, grant, now)?;
    fresh_keys(state, grant)?;
    fits(&permit, charter, signed)?;
    reachable(&permit, charter, grant, now)?;
    Ok(vec![Event::RequestFiled { request: signed.jws().clone() }])
}

fn within_limits(state: &State, grant: &Grant, now: i64) -> Result<(), Refusal> {
    let (mine, all) = state.index.open(&grant.client_id);
    let who = grant.client_id.to_string();
    if mine >= MAX_OPEN_PER_REQUESTER {
        return Err(Refusal::TooManyOpen { who, open: mine, limit: MAX_OPEN_PER_REQUESTER });
    }
    if all >= MAX_OPEN {
        return Err(Refusal::TooManyOpen { who: "the daemon".into(), open: all, limit: MAX_OPEN });
    }
    let ended = state.index.fruitless(&grant.client_id);
    if ended >= MAX_ENDED_PER_REQUESTER {
        return Err(Refusal::TooManyEnded { who, ended, limit: MAX_ENDED_PER_REQUESTER });
    }
    match state.cooldowns.get(&(grant.sub.clone(), grant.profile.clone())) {
        Some(&until) if until > now => Err(Refusal::Cooldown { until }),
        _ => Ok(()),
    }
}

/// The keys a token is bound and delivered to are made for one grant: no live request uses them in either part.
fn fresh_keys(state: &State, grant: &Grant) -> Result<(), Refusal> {
    if grant.fresh_keys().any(|key| state.index.uses(&key)) { Err(Refusal::KeyReused) } else { Ok(()) }
}

fn fits(permit: &Permit<'_>, charter: &Rules, signed: &SignedGrant) -> Result<(), Refusal> {
    let seats = charter.quorums(&permit.profile.id).map_or(0, |quorums| quorums.approve.most_seats());
    let Some(log) = charter.document().log_keys.first() else { return Ok(()) };
    let signature = charter.longest_signature(&permit.profile.id);
    let size = claims::largest_token(signed.grant(), permit, signed.jws(), &log.origin, seats, signature)?;
    let limit = MAX_TOKEN_BYTES;
    if size > limit { Err(Refusal::TokenTooLarge { size, limit }) } else { Ok(()) }
}

/// Somebody could approve this: better said now than when the deadline passes.
fn reachable(permit: &Permit<'_>, charter: &Rules, grant: &Grant, now: i64) -> Result<(), Refusal> {
    let able = charter
        .holders()
        .filter_map(|holder| holder.custodian(now))
        .filter(|person| !permit.excluded.contains(person))
        .collect();
    let possible = charter.quorums(&grant.profile).is_some_and(|quorums| quorums.approve.satisfied_by(&able));
    if possible { Ok(()) } else { Err(Refusal::QuorumImpossible) }
}
