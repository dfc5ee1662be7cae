//! A custodian shows that a device can be reached.

use crate::domain::{
    charter::{KeyKind, Role},
    check_in::{CHECK_IN_WITHIN, SignedCheckIn},
    command::Context,
    event::Event,
    refusal::Refusal,
    state::State,
    time::SKEW,
};

/// Recovery custodians may, when they inspect a sealed device; nobody reminds them. Whose term is still to begin may check in: that is how he finds out whether his key will work.
pub(super) fn decide(
    state: &State,
    signed: &SignedCheckIn,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let charter = super::charter_in_force(state, context)?;
    let about = signed.about();
    if about.charter != charter.digest() || about.iss != charter.document().iss {
        return Err(Refusal::CharterMismatch);
    }
    let (now, signed_at) = (context.now.seconds(), signed.signed_at());
    let holder = charter.holder(&signed.kid()).ok_or(Refusal::KeyUnknown)?;
    let is_device = matches!(holder.kind, KeyKind::Piv { .. });
    let has_left = holder.term.until.is_some_and(|until| until <= now);
    let keeps = [Role::Custodian, Role::Recovery].iter().any(|role| holder.roles.contains(role));
    if !is_device || has_left || !keeps {
        return Err(Refusal::NotACustodian);
    }
    if signed_at > now + SKEW || signed_at + CHECK_IN_WITHIN <= now {
        return Err(Refusal::ClockSkew { signed_at, now });
    }
    // Times of one device only grow, so nothing needs to be remembered to refuse a replay.
    let newest = state.sightings().of(&signed.kid()).and_then(|seen| seen.checked_in);
    match newest.filter(|newest| signed_at <= *newest) {
        Some(newest) => Err(Refusal::CheckInKnown { newest }),
        None => Ok(vec![Event::CheckedIn { check_in: signed.jws().clone() }]),
    }
}
