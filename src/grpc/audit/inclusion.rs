//! `GetInclusionProof`: that an entry is in a tree (RFC 6962, section 2.1.1).

use tonic::{Request, Status};

use super::{Audit, out_of_range, v1};

impl Audit {
    pub(super) async fn inclusion(
        &self,
        request: &Request<v1::GetInclusionProofRequest>,
    ) -> Result<v1::GetInclusionProofResponse, Status> {
        let entered = self.enter(request)?;
        let index = request.get_ref().index;
        let size = self.size(&entered, request.get_ref().size).await?;
        if index >= size {
            return Err(out_of_range(format!("entry {index} is not in a tree of {size} entries")));
        }
        let hashes = self.front.engine.store().inclusion_proof(index, size).await;
        let hashes = hashes.map_err(|error| self.front.refused(&entered.caller, &error.into()))?;
        Ok(v1::GetInclusionProofResponse {
            index,
            size,
            hashes: hashes.iter().map(|hash| hash.as_bytes().to_vec()).collect(),
        })
    }
}
