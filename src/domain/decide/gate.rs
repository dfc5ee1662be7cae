//! Gates report uses, and a kill turns out to be enforced.
//!
//! Invariants: what a gate has seen is recorded whatever state things are in, since nothing of it can be done again: under an
//! expired charter, in a lockdown, for a token that the log does not know, which is an alarm. The same report again changes
//! nothing.

use crate::{
    domain::{
        command::Context,
        event::Event,
        gate::{Enforced, GateRefusal, SignedUses, Use},
        refusal::Refusal,
        state::State,
        time::SKEW,
    },
    jose::Digest,
};

/// Seconds for which a gate that hears nothing may go on: what is used later, after its end, was not refused.
const GRACE: i64 = 10 + SKEW;

pub(super) fn report(state: &State, signed: &SignedUses, context: &Context) -> Result<Vec<Event>, Refusal> {
    let charter = state.charter().ok_or(Refusal::NoCharter)?;
    let (report, now) = (signed.about(), context.now.seconds());
    // A gate may not have the newest charter; but it is the one in force that says whose key this is.
    let named = state.versions().iter().any(|version| version.digest == report.charter);
    if !named || report.iss != charter.document().iss {
        return Err(Refusal::CharterMismatch);
    }
    charter.verifier_of(&signed.kid())?;
    let digest = Digest::of(&signed.jws().payload);
    if !state.gates().is_new(signed.kid(), report, digest, now)? {
        return Ok(Vec::new());
    }
    if signed.signed_at().abs_diff(now) > crate::domain::gate::REPORT_WITHIN.unsigned_abs() {
        return Err(GateRefusal::Clock.into());
    }
    let of = |is: fn(&State, &Use) -> bool| {
        let mut ids: Vec<_> = report.uses.iter().filter(|one| is(state, one)).map(|one| one.jti).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let (unknown, ended) = (of(is_unknown), of(is_after_its_end));
    Ok(vec![Event::UsesReported { report: signed.jws().clone(), unknown, ended }])
}

/// Neither live nor closed: forged, or forgotten long ago.
fn is_unknown(state: &State, one: &Use) -> bool {
    state.request(&one.jti).is_none() && state.closed(&one.jti).is_none()
}

fn is_after_its_end(state: &State, one: &Use) -> bool {
    state.closed(&one.jti).is_some_and(|closed| one.until > closed.at.seconds().saturating_add(GRACE))
}

pub(super) fn enforced(state: &State, enforced: &Enforced) -> Result<Vec<Event>, Refusal> {
    enforced.judge(state)?;
    Ok(vec![Event::KillEnforced { enforced: enforced.clone() }])
}
