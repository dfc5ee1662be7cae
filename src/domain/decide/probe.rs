//! What a verifier answered to its canary.

use crate::{
    domain::{
        command::Context,
        event::Event,
        id::{KillId, PrincipalId},
        probe::{Answer, Probed, REPEAT_AFTER},
        refusal::Refusal,
        state::State,
    },
    jose::Digest,
};

pub(super) fn decide(
    state: &State,
    (verifier, kid): (&PrincipalId, &Digest),
    answer: Answer,
    asked_under: Option<KillId>,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let shown = state.canary(verifier, kid).filter(|canary| canary.jwe.is_some());
    let shown = shown.ok_or_else(|| Refusal::CanaryUnknown { verifier: verifier.clone(), kid: *kid })?;
    let known = state.probes(verifier, kid);
    let repeats = |last: Probed| {
        last.answer == answer && context.now.millis().saturating_sub(last.at.millis()) < REPEAT_AFTER
    };
    let (kill, last) = if let Some(kill) = state.killed_by(kid) {
        let last = known.and_then(|known| known.aftermath).filter(|last| last.kill == kill.kill.id);
        let after = context.now.millis().saturating_sub(kill.at.millis());
        (Some((kill.kill.id, after.try_into().unwrap_or(0))), last.map(|last| last.probed))
    } else {
        let last = known.and_then(|known| known.baseline).filter(|last| last.canary == shown.index);
        (None, last.map(|last| last.probed))
    };
    let (kill, after_ms) = kill.unzip();
    // What was answered before a kill or a lift says nothing of the time after it.
    if kill != asked_under || last.is_some_and(repeats) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::VerifierProbed { verifier: verifier.clone(), kid: *kid, answer, kill, after_ms }])
}
