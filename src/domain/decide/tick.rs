//! Time passes: what has reached its deadline ends.

use crate::domain::{
    command::Context,
    event::{Event, Failure},
    request::Life,
    state::State,
};

/// Events of one tick at most, so that none holds up the queue for long; the next tick goes on.
const MAX_EVENTS: usize = 256;

pub(super) fn decide(state: &State, context: &Context) -> Vec<Event> {
    let now = context.now.seconds();
    // The end of a chain is a decision of its own, since much ends with it.
    if let Some(events) = super::genesis::ended(state, now) {
        return events;
    }
    let due = state.index.deadlines.iter().take_while(|(deadline, _)| *deadline <= now);
    let requests = due.filter_map(|(_, id)| state.request(id));
    let proposals = state.proposals().filter(|proposal| proposal.deadline() <= now);
    let lapsed = proposals.map(|proposal| Event::CharterLapsed { charter: proposal.rules().digest() });
    requests
        .map(|request| match request.life() {
            Life::Pending { .. } => Event::RequestLapsed { request_id: request.id() },
            Life::Authorized(_) => {
                Event::IssuanceFailed { request_id: request.id(), reason: Failure::Expired }
            }
            Life::Issued { .. } => Event::TokenExpired { request_id: request.id() },
        })
        .chain(lapsed)
        .chain(super::genesis::alarms(state, now))
        .take(MAX_EVENTS)
        .collect()
}
