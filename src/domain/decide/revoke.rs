//! A token that somebody handed in ends.
//!
//! That he had it, only the daemon has seen: it is the one change of state by a client without a signed statement. So it takes
//! one issued token away, and can do nothing else. RFC 7009.

use crate::domain::{
    event::Event,
    id::{PrincipalId, RequestId},
    refusal::Refusal,
    request::Life,
    state::State,
};

pub(super) fn decide(state: &State, id: &RequestId, by: Option<&PrincipalId>) -> Result<Vec<Event>, Refusal> {
    let request = super::live(state, id)?;
    let Life::Issued { .. } = request.life() else { return Err(Refusal::WrongState(request.state())) };
    if let Some(by) = by {
        let verifiers = &state.charter().ok_or(Refusal::NoCharter)?.document().verifiers;
        let serves =
            |one: &&crate::domain::charter::Verifier| one.id == *by && one.aud == request.grant().aud;
        verifiers.iter().find(serves).ok_or(Refusal::KeyUnknown)?;
    }
    Ok(vec![Event::TokenRevoked { request_id: *id, by: by.cloned() }])
}
