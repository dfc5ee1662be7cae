//! The requester takes a request back.

use crate::domain::{
    command::Context, event::Event, refusal::Refusal, request::Life, state::State,
    statement::SignedAboutRequest,
};

pub(super) fn decide(
    state: &State,
    signed: &SignedAboutRequest,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let charter = super::charter_in_force(state, context)?;
    let request = super::live(state, &signed.about().request_id)?;
    super::by_requester(charter, request.grant(), signed, context)?;
    match request.life() {
        Life::Pending { .. } => Ok(vec![Event::RequestWithdrawn { withdrawal: signed.jws().clone() }]),
        _ => Err(Refusal::WrongState(request.state())),
    }
}
