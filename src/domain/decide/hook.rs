//! What a verifier's revocation hook answered when it was told of a kill.

use crate::domain::{
    command::Context,
    event::Event,
    id::{KillId, PrincipalId},
    probe::{Answer, REPEAT_AFTER},
    refusal::Refusal,
    state::State,
};

pub(super) fn decide(
    state: &State,
    verifier: &PrincipalId,
    kill: KillId,
    answer: Answer,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let sessions = state.sessions_of(verifier, &kill).filter(|sessions| !sessions.is_told());
    let sessions = sessions.ok_or_else(|| Refusal::HookNotDue { verifier: verifier.clone(), kill })?;
    let repeats = sessions.hook.is_some_and(|last| {
        last.answer == answer && context.now.millis().saturating_sub(last.at.millis()) < REPEAT_AFTER
    });
    if repeats {
        return Ok(Vec::new());
    }
    Ok(vec![Event::HookAnswered { verifier: verifier.clone(), kill, answer }])
}
