//! `Redeem`: the encrypted JWT, to whoever proves to be its requester.

use std::time::Duration;

use tonic::{Request, Status};

use super::{Access, v1};
use crate::engine::EngineError;

/// The longest wait, in milliseconds.
const MAX_WAIT_MS: u32 = 30_000;

impl Access {
    pub(super) async fn hand_out(
        &self,
        request: Request<v1::RedeemRequest>,
    ) -> Result<v1::RedeemResponse, Status> {
        let entered = self.front.enter(&request)?;
        let message = request.into_inner();
        let wait = Duration::from_millis(message.wait_ms.min(MAX_WAIT_MS).into());
        let redeemed = tokio::select! {
            redeemed = self.front.engine.redeem(entered.caller.actor(), &message.jws, wait) => redeemed,
            // A release that is under way when the server stops may be in the log without being answered: redeeming
            // again is what the requester does then, and it is counted.
            () = self.front.stopped(), if wait > Duration::ZERO => Err(EngineError::Stopping),
        };
        let (id, jwe) = redeemed.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(v1::RedeemResponse { jwe, request: self.after(&entered, id) })
    }
}
