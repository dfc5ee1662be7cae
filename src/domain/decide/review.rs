//! A custodian says what he found about a use.

use crate::domain::{
    charter::{KeyKind, Role},
    command::Context,
    event::Event,
    refusal::Refusal,
    review::SignedReview,
    state::State,
};

pub(super) fn decide(state: &State, signed: &SignedReview, context: &Context) -> Result<Vec<Event>, Refusal> {
    let charter = super::charter_in_force(state, context)?;
    let about = signed.about();
    if about.charter != charter.digest() || about.iss != charter.document().iss {
        return Err(Refusal::CharterMismatch);
    }
    super::about_now(signed.signed_at(), context)?;
    let holder = charter.holder(&signed.kid()).ok_or(Refusal::KeyUnknown)?;
    let is_device = matches!(holder.kind, KeyKind::Piv { .. });
    if !is_device || !holder.has(Role::Custodian, context.now.seconds()) {
        return Err(Refusal::NotACustodian);
    }
    let person = holder.principal.as_person();
    let open = state.reviews().of(&about.request_id).ok_or(Refusal::NoReviewOpen(about.request_id))?;
    let has_seat = charter
        .quorums(&open.profile)
        .and_then(|quorums| quorums.review.as_ref())
        .is_some_and(|formula| formula.persons().contains(&person));
    if open.excluded.contains(&person) {
        return Err(Refusal::SelfReview(person.to_string()));
    }
    if !has_seat {
        return Err(Refusal::NoSeat(person.to_string()));
    }
    if open.said.contains_key(&person) {
        return Err(Refusal::AlreadySigned(person.to_string()));
    }
    Ok(vec![Event::ReviewRecorded { review: signed.jws().clone() }])
}
