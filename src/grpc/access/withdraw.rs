//! `Withdraw`: the requester takes his request back.

use tonic::{Request, Status};

use super::{Access, v1};

impl Access {
    pub(super) async fn take_back(
        &self,
        request: Request<v1::WithdrawRequest>,
    ) -> Result<v1::WithdrawResponse, Status> {
        let entered = self.front.enter(&request)?;
        let jws = request.into_inner().jws;
        let withdrawn = self.front.engine.withdraw(entered.caller.actor(), &jws).await;
        let id = withdrawn.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(v1::WithdrawResponse { request: self.after(&entered, id) })
    }
}
