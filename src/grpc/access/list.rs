//! `ListRequests`: what the daemon holds, newest first, in pages.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tonic::{Request, Status};

use super::{Access, v1};
use crate::domain::id::{PrincipalId, RequestId};
use crate::domain::request::{Life, Outcome};
use crate::grpc::front::Entered;
use crate::grpc::status::{Kind, ServiceError};
use crate::jose::{Digest, b64};

const DEFAULT_PAGE: u32 = 20;
const MAX_PAGE: u32 = 50;

/// Where a request stands in the order: when it was filed, or ended.
type Place = (i64, RequestId);

impl Access {
    pub(super) fn list(
        &self,
        request: &Request<v1::ListRequestsRequest>,
    ) -> Result<v1::ListRequestsResponse, Status> {
        let entered = self.front.enter(request)?;
        let message = request.get_ref();
        let size = match message.page_size {
            0 => DEFAULT_PAGE,
            size @ 1..=MAX_PAGE => size,
            _ => return Err(invalid("PAGE_SIZE_INVALID", "page_size is 1 to 50, or 0 for 20").into()),
        };
        let after = token(&message.page_token)?;
        // One more than the page, to know whether there is another.
        let mut places = self.places(&entered, message, after, size as usize + 1);
        let more = places.len() > size as usize;
        places.truncate(size as usize);
        let next = places.last().filter(|_| more).map(encode).unwrap_or_default();
        // What ended between the two looks is shown as it is now; what was forgotten is left out.
        let requests = places.into_iter().filter_map(|(_, id)| self.view(&entered, id)).collect();
        Ok(v1::ListRequestsResponse { requests, next_page_token: next })
    }

    /// The newest `most` places after `after` that the filter lets through.
    fn places(
        &self,
        entered: &Entered,
        filter: &v1::ListRequestsRequest,
        after: Option<Place>,
        most: usize,
    ) -> Vec<Place> {
        let mut newest: BinaryHeap<Reverse<Place>> = BinaryHeap::with_capacity(most + 1);
        let mut consider =
            |place: Place, state: v1::RequestState, sub: &PrincipalId, client: &PrincipalId| {
                let own = entered.caller.owns(sub, client);
                let visible = own || (entered.caller.sees_all() && !filter.only_mine);
                let wanted = filter.states.is_empty() || filter.states.contains(&state.into());
                if visible && wanted && after.is_none_or(|after| place < after) {
                    newest.push(Reverse(place));
                    if newest.len() > most {
                        newest.pop();
                    }
                }
            };
        self.front.engine.read(|state| {
            for request in state.requests() {
                let place = (request.filed_at().millis(), request.id());
                consider(place, live_state(request.life()), &request.grant().sub, &request.grant().client_id);
            }
            for (id, closed) in state.all_closed() {
                consider(
                    (closed.at.millis(), *id),
                    closed_state(closed.outcome),
                    &closed.sub,
                    &closed.client_id,
                );
            }
        });
        newest.into_sorted_vec().into_iter().map(|Reverse(place)| place).collect()
    }
}

pub(super) fn live_state(life: &Life) -> v1::RequestState {
    match life {
        Life::Pending { .. } => v1::RequestState::Pending,
        Life::Authorized(_) => v1::RequestState::Authorized,
        Life::Issued { .. } => v1::RequestState::Issued,
    }
}

pub(super) fn closed_state(outcome: Outcome) -> v1::RequestState {
    match outcome {
        Outcome::Denied => v1::RequestState::Denied,
        Outcome::Withdrawn => v1::RequestState::Withdrawn,
        Outcome::Lapsed => v1::RequestState::Lapsed,
        Outcome::Superseded => v1::RequestState::Superseded,
        Outcome::Expired => v1::RequestState::Expired,
        Outcome::Failed(_) => v1::RequestState::Failed,
        Outcome::Killed => v1::RequestState::Killed,
        Outcome::Revoked => v1::RequestState::Revoked,
    }
}

fn encode((at, id): &Place) -> String {
    let mut bytes = at.to_be_bytes().to_vec();
    bytes.extend_from_slice(id.0.as_bytes());
    b64::encode(&bytes)
}

fn token(text: &str) -> Result<Option<Place>, ServiceError> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes: [u8; 40] = b64::decode_array(text)
        .map_err(|_| invalid("PAGE_TOKEN_INVALID", "page_token is next_page_token of an earlier answer"))?;
    let (mut at, mut id) = ([0; 8], [0; 32]);
    at.copy_from_slice(bytes.first_chunk::<8>().unwrap_or(&[0; 8]));
    id.copy_from_slice(bytes.last_chunk::<32>().unwrap_or(&[0; 32]));
    Ok(Some((i64::from_be_bytes(at), RequestId(Digest::from_bytes(id)))))
}

fn invalid(reason: &'static str, message: &str) -> ServiceError {
    ServiceError::new(Kind::InvalidArgument, reason, message)
}
