//! `FileRequest`: a signed grant becomes a request.

use tonic::{Request, Status};

use super::{Access, v1};

impl Access {
    pub(super) async fn file(
        &self,
        request: Request<v1::FileRequestRequest>,
    ) -> Result<v1::FileRequestResponse, Status> {
        let entered = self.front.enter(&request)?;
        let jws = request.into_inner().jws;
        let filed = self.front.engine.file(entered.caller.actor(), &jws).await;
        let (id, _) = filed.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(v1::FileRequestResponse { request: self.after(&entered, id) })
    }
}
