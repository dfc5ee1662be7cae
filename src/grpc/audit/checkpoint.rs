//! `GetCheckpoint`: the newest signed tree head.

use tonic::{Request, Status};

use super::{Audit, v1};

impl Audit {
    /// Covers every entry that was durable when the call came in, so that whoever got an answer before finds it proven.
    pub(super) async fn checkpoint(
        &self,
        request: &Request<v1::GetCheckpointRequest>,
    ) -> Result<v1::GetCheckpointResponse, Status> {
        let entered = self.enter(request)?;
        let size = self.front.engine.store().size();
        let signed = self.front.engine.checkpoint(size).await;
        let signed = signed.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(v1::GetCheckpointResponse { checkpoint: signed.to_string().into_bytes() })
    }
}
