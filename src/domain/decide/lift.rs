//! A quorum ends kills.
//!
//! Invariants: a lift ends the kills that it names, and only those; who signed it knew of every kill that there was, since
//! it names the epoch. An expired charter does not stand in the way, nor does a lockdown.

use crate::domain::{
    command::Context,
    event::Event,
    kill::{KillRefusal, LIFT_WITHIN, SignedLift},
    refusal::Refusal,
    state::State,
    time::SKEW,
};

pub(super) fn decide(state: &State, signed: &SignedLift, context: &Context) -> Result<Vec<Event>, Refusal> {
    judge(state, signed, context.now.seconds())?;
    Ok(vec![Event::LiftRecorded { lift: signed.jws().clone() }])
}

/// Whether this lift may be recorded. `now`: Unix seconds.
pub(in crate::domain) fn judge(state: &State, signed: &SignedLift, now: i64) -> Result<(), Refusal> {
    let charter = state.charter().ok_or(Refusal::NoCharter)?;
    let lift = signed.lift();
    let own = charter.digest();
    if lift.charter != own || signed.base() != own || lift.iss != charter.document().iss {
        return Err(Refusal::CharterMismatch);
    }
    let mut killed_at = 0;
    for id in &lift.kills {
        if state.kills.was_lifted(id) {
            return Err(KillRefusal::AlreadyLifted(*id).into());
        }
        let recorded = state.kills.get(id).ok_or(KillRefusal::Unknown(*id))?;
        if recorded.kill.target.request().is_some() {
            return Err(KillRefusal::Final(*id).into());
        }
        killed_at = recorded.at.seconds().max(killed_at);
    }
    let epoch = state.kills.epoch();
    if lift.epoch != epoch {
        return Err(KillRefusal::Epoch { signed: lift.epoch, now: epoch }.into());
    }
    if let Some(stranger) = lift.suspend.iter().find(|kid| charter.holder(kid).is_none()) {
        let (level, name) = (crate::domain::charter::KillLevel::Key, stranger.to_string());
        return Err(KillRefusal::TargetUnknown { level, name }.into());
    }
    in_time(signed, killed_at, now)?;
    charter.may_lift(signed, state.kills.ends_lockdown_only(lift))
}

/// Signed after the kills, within a day, and not in the future.
fn in_time(signed: &SignedLift, killed_at: i64, now: i64) -> Result<(), Refusal> {
    let Some((oldest, newest)) = signed.times() else { return Ok(()) };
    if newest > now.saturating_add(SKEW) {
        return Err(Refusal::ClockSkew { signed_at: newest, now });
    }
    if oldest < killed_at.saturating_sub(SKEW) || oldest < now.saturating_sub(LIFT_WITHIN) {
        return Err(KillRefusal::LiftStale.into());
    }
    Ok(())
}
