//! Genesis: the first charter, with evidence that its devices are what it says they are.

use crate::domain::{
    charter::Charter, command::Context, event::Event, evidence::Evidence, refusal::Refusal, state::State,
};

pub(super) fn decide(
    state: &State,
    charter: &Charter,
    evidence: &[Evidence],
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    if state.charter().is_some() {
        return Err(Refusal::CharterInForce);
    }
    if !charter.is_in_force(context.now.seconds()) {
        return Err(Refusal::CharterExpired);
    }
    let mut events = super::attest::judge(state, charter, evidence, context.now.seconds())?;
    events.push(Event::CharterAdopted { charter: charter.statement().clone() });
    Ok(events)
}
