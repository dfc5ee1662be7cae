//! What becomes of an authorized request: issued, failed, or taken over by another process.

use crate::{
    domain::{
        charter::{KeyState, Rules},
        command::Context,
        event::{Event, Failure},
        id::{InstanceId, RequestId},
        refusal::Refusal,
        request::{Authorization, Life},
        state::State,
    },
    jose::Digest,
};

/// Seconds after which another daemon may work on an authorized request.
pub const TAKE_OVER_AFTER: i64 = 30;

fn authorization<'a>(state: &'a State, id: &RequestId) -> Result<&'a Authorization, Refusal> {
    let request = super::live(state, id)?;
    match request.life() {
        Life::Authorized(authorization) => Ok(authorization),
        _ => Err(Refusal::WrongState(request.state())),
    }
}

fn own<'a>(state: &'a State, id: &RequestId, context: &Context) -> Result<&'a Authorization, Refusal> {
    let authorization = authorization(state, id)?;
    if authorization.instance == context.instance { Ok(authorization) } else { Err(Refusal::AnotherInstance) }
}

pub(super) fn issued(
    state: &State,
    id: &RequestId,
    jwt: Digest,
    jwe: &str,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let authorization = own(state, id, context)?;
    if authorization.exp <= context.now.seconds() {
        return Err(Refusal::DeadlinePassed);
    }
    Ok(vec![Event::TokenIssued { request_id: *id, jwt, jwe: jwe.to_owned() }])
}

pub(super) fn failed(
    state: &State,
    id: &RequestId,
    reason: Failure,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let authorization = own(state, id, context)?;
    let founded = match reason {
        Failure::Expired => authorization.exp <= context.now.seconds(),
        Failure::NoKey => !has_key(state, id, authorization),
        // Decided with the new charter, or not at all.
        Failure::Superseded => false,
        // Only the daemon has seen the signature.
        Failure::SignatureInvalid => true,
    };
    if !founded {
        return Err(Refusal::FailureUnfounded);
    }
    Ok(vec![Event::IssuanceFailed { request_id: *id, reason }])
}

/// Whether verifiers would still accept what the authorized key signs.
fn has_key(state: &State, id: &RequestId, authorization: &Authorization) -> bool {
    let Some(grant) = state.request(id).map(crate::domain::request::Request::grant) else { return false };
    let charter = state.charter_named(&grant.charter);
    charter.is_some_and(|charter| charter.accepted_key(&authorization.kid, &grant.profile).is_some())
}

/// The other keys that may sign for an authorized request, in the charter's order: active ones of its profile, by the charter
/// of its grant and by the one in force, which nobody has killed.
#[must_use]
pub fn standby_keys(state: &State, id: &RequestId) -> Vec<Digest> {
    let Some((grant, Life::Authorized(authorization))) =
        state.request(id).map(|request| (request.grant(), request.life()))
    else {
        return Vec::new();
    };
    let (Some(granted), Some(newest)) = (state.charter_named(&grant.charter), state.charter()) else {
        return Vec::new();
    };
    let signs = |rules: &Rules, kid: &Digest| {
        let mut keys = rules.document().issuing_keys.iter();
        let profile = &grant.profile;
        keys.any(|key| {
            key.state == KeyState::Active && key.key.thumbprint() == *kid && key.profiles.contains(profile)
        })
    };
    let killed = |kid: &Digest| super::is_gone(state, kid, authorization.iat);
    let keys = granted.document().issuing_keys.iter().map(|key| key.key.thumbprint());
    keys.filter(|kid| *kid != authorization.kid && signs(granted, kid) && signs(newest, kid) && !killed(kid))
        .collect()
}

pub(super) fn moved(
    state: &State,
    id: &RequestId,
    kid: Digest,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    if own(state, id, context)?.exp <= context.now.seconds() {
        return Err(Refusal::DeadlinePassed);
    }
    if standby_keys(state, id).contains(&kid) {
        Ok(vec![Event::IssuanceMoved { request_id: *id, kid }])
    } else {
        Err(Refusal::NoStandby(kid))
    }
}

pub(super) fn take_over(state: &State, id: &RequestId, context: &Context) -> Result<Vec<Event>, Refusal> {
    let authorization = authorization(state, id)?;
    let waited = context.now.seconds() - authorization.since.seconds();
    let other = authorization.instance != context.instance;
    if other && (same_daemon(&authorization.instance, &context.instance) || waited >= TAKE_OVER_AFTER) {
        Ok(vec![Event::IssuanceTakenOver { request_id: *id, instance: context.instance.clone() }])
    } else {
        Err(Refusal::AnotherInstance)
    }
}

/// An earlier process of this very daemon is gone: no need to wait for it.
fn same_daemon(one: &InstanceId, other: &InstanceId) -> bool {
    let daemon =
        |instance: &InstanceId| instance.as_str().rsplit_once('.').map(|(daemon, _)| daemon.to_owned());
    daemon(one).is_some() && daemon(one) == daemon(other)
}
