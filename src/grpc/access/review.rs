//! `Review`, `ListReviews`: what follows a use.

use tonic::{Request, Status};

use super::{Access, v1};
use crate::grpc::time::seconds;

impl Access {
    pub(super) async fn reviewed(
        &self,
        request: Request<v1::ReviewRequest>,
    ) -> Result<v1::ReviewResponse, Status> {
        let entered = self.front.enter(&request)?;
        let jws = request.into_inner().jws;
        let decided = self.front.engine.review(entered.caller.actor(), &jws).await;
        let decided = decided.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(v1::ReviewResponse { index: decided.index })
    }

    pub(super) fn open_reviews(
        &self,
        request: &Request<v1::ListReviewsRequest>,
    ) -> Result<v1::ListReviewsResponse, Status> {
        let entered = self.front.enter(request)?;
        if !entered.caller.sees_all() {
            let message = "only custodians and auditors see which uses wait for their review";
            return Err(self.front.denied(&entered.caller, "NOT_A_CUSTODIAN", message));
        }
        let reviews = self.front.engine.read(|state| {
            let open = state.reviews().iter();
            let shown = open.map(|open| v1::OpenReview {
                request_id: open.request_id.to_string(),
                jws: open.grant.to_json(),
                due: Some(seconds(open.due)),
                reviewed_by: open.said.keys().map(ToString::to_string).collect(),
                missing: open.missing(&entered.charter),
            });
            shown.collect()
        });
        Ok(v1::ListReviewsResponse { reviews })
    }
}
