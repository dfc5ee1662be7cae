//! `GetConsistencyProof`: that an older tree is a prefix of a newer one (RFC 6962, section 2.1.2).

use tonic::{Request, Status};

use super::{Audit, out_of_range, v1};

impl Audit {
    pub(super) async fn consistency(
        &self,
        request: &Request<v1::GetConsistencyProofRequest>,
    ) -> Result<v1::GetConsistencyProofResponse, Status> {
        let entered = self.enter(request)?;
        let from = request.get_ref().from;
        let to = self.size(&entered, request.get_ref().to).await?;
        if from == 0 || from > to {
            return Err(out_of_range(format!("no tree of {from} entries is older than one of {to}")));
        }
        let hashes = self.front.engine.store().consistency_proof(from, to).await;
        let hashes = hashes.map_err(|error| self.front.refused(&entered.caller, &error.into()))?;
        Ok(v1::GetConsistencyProofResponse {
            from,
            to,
            hashes: hashes.iter().map(|hash| hash.as_bytes().to_vec()).collect(),
        })
    }
}
