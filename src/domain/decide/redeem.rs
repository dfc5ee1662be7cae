//! The requester fetches the encrypted token.

use crate::{
    domain::{
        command::Context, event::Event, refusal::Refusal, request::Life, state::State,
        statement::SignedAboutRequest,
    },
    jose::Digest,
};

/// Each release is an entry; a client that loses its connection more often than this has another problem.
pub const MAX_RELEASES: u32 = 32;

pub(super) fn decide(
    state: &State,
    signed: &SignedAboutRequest,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let charter = super::charter_in_force(state, context)?;
    let request = super::live(state, &signed.about().request_id)?;
    super::by_requester(charter, request.grant(), signed, context)?;
    state.kills.refuse_key(&signed.kid(), context.now.seconds())?;
    let Life::Issued { authorization, releases, redemptions, .. } = request.life() else {
        return Err(Refusal::WrongState(request.state()));
    };
    if authorization.exp <= context.now.seconds() {
        return Err(Refusal::WrongState("expired"));
    }
    if *releases >= MAX_RELEASES {
        return Err(Refusal::RedeemedTooOften(*releases));
    }
    // Signed statements can be seen by others: whoever sends one again must not use up the releases.
    if redemptions.contains(&Digest::of(&signed.jws().payload)) {
        return Err(Refusal::RedemptionUsed);
    }
    Ok(vec![Event::TokenReleased { redemption: signed.jws().clone() }])
}
