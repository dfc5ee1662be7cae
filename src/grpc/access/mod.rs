//! `AccessService`: one file per operation.
//!
//! Handlers turn messages into commands and views into messages; every decision is the engine's.

mod file;
mod get;
mod list;
mod redeem;
mod review;
mod submit;
mod view;
mod watch;
mod withdraw;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::front::{Entered, Front};
use super::status::{Kind, ServiceError};
use super::v1::{self, access_service_server::AccessService};
use crate::domain::id::RequestId;
use crate::domain::request::Life;
use crate::domain::state::State;

/// The service.
pub(super) struct Access {
    front: Arc<Front>,
}

impl Access {
    pub(super) fn new(front: Arc<Front>) -> Self {
        Self { front }
    }

    /// A request as this caller may see it; `None` if there is none, or none for him.
    fn view(&self, entered: &Entered, id: RequestId) -> Option<v1::Request> {
        let found = self.front.engine.read(|state| Found::new(state, id));
        found.filter(|found| found.visible_to(entered)).map(|found| self.shown(&found, id, entered))
    }

    /// As [`Self::view`], where the caller has just changed the request: then he knows of it.
    fn after(&self, entered: &Entered, id: RequestId) -> Option<v1::Request> {
        let found = self.front.engine.read(|state| Found::new(state, id));
        found.map(|found| self.shown(&found, id, entered))
    }

    fn shown(&self, found: &Found, id: RequestId, entered: &Entered) -> v1::Request {
        let mut shown = match found {
            Found::Live(request) => {
                let mut shown = view::live(request, &entered.charter, entered.now.seconds());
                if matches!(request.life(), Life::Authorized(_)) {
                    shown.failure = self.front.engine.setback(&id).map(view::setback);
                }
                shown
            }
            Found::Closed(closed) => view::closed(id, closed),
        };
        if let Some(uses) = self.front.engine.read(|state| state.gates().uses(&id).cloned()) {
            view::used(&mut shown, &uses);
        }
        shown
    }
}

/// A request copied out of the state, so that it is not held up.
enum Found {
    Live(Box<crate::domain::request::Request>),
    Closed(Box<crate::domain::request::Closed>),
}

impl Found {
    fn new(state: &State, id: RequestId) -> Option<Self> {
        let live = state.request(&id).map(|request| Self::Live(Box::new(request.clone())));
        live.or_else(|| state.closed(&id).map(|closed| Self::Closed(Box::new(closed.clone()))))
    }

    fn visible_to(&self, entered: &Entered) -> bool {
        let (sub, client_id) = match self {
            Self::Live(request) => (&request.grant().sub, &request.grant().client_id),
            Self::Closed(closed) => (&closed.sub, &closed.client_id),
        };
        entered.caller.sees_all() || entered.caller.owns(sub, client_id)
    }
}

pub(super) fn parse_id(text: &str) -> Result<RequestId, ServiceError> {
    text.parse().map_err(|_| {
        let message = "a request id is 43 characters of base64url: the SHA-256 of the grant";
        ServiceError::new(Kind::InvalidArgument, "REQUEST_ID_INVALID", message)
    })
}

fn unknown(id: &str) -> ServiceError {
    let message = "there is no such request, or it is not the caller's: the audit log keeps those that ended";
    ServiceError::new(Kind::NotFound, "REQUEST_UNKNOWN", message).with("request_id", id)
}

#[tonic::async_trait]
impl AccessService for Access {
    async fn file_request(
        &self,
        request: Request<v1::FileRequestRequest>,
    ) -> Result<Response<v1::FileRequestResponse>, Status> {
        self.file(request).await.map(Response::new)
    }

    async fn get_request(
        &self,
        request: Request<v1::GetRequestRequest>,
    ) -> Result<Response<v1::GetRequestResponse>, Status> {
        self.get(&request).map(Response::new)
    }

    async fn list_requests(
        &self,
        request: Request<v1::ListRequestsRequest>,
    ) -> Result<Response<v1::ListRequestsResponse>, Status> {
        self.list(&request).map(Response::new)
    }

    type WatchRequestsStream = watch::Watch;

    async fn watch_requests(
        &self,
        request: Request<v1::WatchRequestsRequest>,
    ) -> Result<Response<watch::Watch>, Status> {
        self.watch(&request).map(Response::new)
    }

    async fn submit_signature(
        &self,
        request: Request<v1::SubmitSignatureRequest>,
    ) -> Result<Response<v1::SubmitSignatureResponse>, Status> {
        self.submit(request).await.map(Response::new)
    }

    async fn withdraw(
        &self,
        request: Request<v1::WithdrawRequest>,
    ) -> Result<Response<v1::WithdrawResponse>, Status> {
        self.take_back(request).await.map(Response::new)
    }

    async fn review(
        &self,
        request: Request<v1::ReviewRequest>,
    ) -> Result<Response<v1::ReviewResponse>, Status> {
        self.reviewed(request).await.map(Response::new)
    }

    async fn list_reviews(
        &self,
        request: Request<v1::ListReviewsRequest>,
    ) -> Result<Response<v1::ListReviewsResponse>, Status> {
        self.open_reviews(&request).map(Response::new)
    }

    async fn redeem(
        &self,
        request: Request<v1::RedeemRequest>,
    ) -> Result<Response<v1::RedeemResponse>, Status> {
        self.hand_out(request).await.map(Response::new)
    }
}
