//! `AuditService`: one file per operation.
//!
//! Everything served here proves itself or is checked by whoever reads it: the bytes of entries, hashes, and a
//! checkpoint under the log's own signature. Auditors and custodians may read it.

mod checkpoint;
mod consistency;
mod entries;
mod inclusion;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::front::{Entered, Front};
use super::status::{Kind, ServiceError};
use super::v1::{self, audit_service_server::AuditService};

/// The service.
pub(super) struct Audit {
    front: Arc<Front>,
}

impl Audit {
    pub(super) fn new(front: Arc<Front>) -> Self {
        Self { front }
    }

    /// Lets in whoever may read the whole log.
    fn enter<T>(&self, request: &Request<T>) -> Result<Entered, Status> {
        let entered = self.front.enter(request)?;
        if entered.caller.sees_all() {
            return Ok(entered);
        }
        let message =
            "the audit log is for auditors and custodians: the charter gives the caller neither role";
        Err(self.front.denied(&entered.caller, "NOT_AN_AUDITOR", message))
    }

    /// The size of a tree as a client names it: 0 is that of the newest checkpoint.
    async fn size(&self, entered: &Entered, named: u64) -> Result<u64, Status> {
        if named != 0 {
            return self.existing(named).map_err(Into::into);
        }
        let newest = self.front.engine.checkpoint(0).await;
        let newest = newest.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(newest.unverified().size)
    }

    fn existing(&self, size: u64) -> Result<u64, ServiceError> {
        let newest = self.front.engine.store().size();
        if size <= newest {
            return Ok(size);
        }
        let message = format!("the log has {newest} entries: there is no tree of {size}");
        Err(ServiceError::new(Kind::InvalidArgument, "LOG_INDEX_OUT_OF_RANGE", message).with("size", newest))
    }
}

fn out_of_range(message: String) -> Status {
    ServiceError::new(Kind::InvalidArgument, "LOG_INDEX_OUT_OF_RANGE", message).into()
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        self.checkpoint(&request).await.map(Response::new)
    }

    type StreamEntriesStream = entries::Entries;

    async fn stream_entries(
        &self,
        request: Request<v1::StreamEntriesRequest>,
    ) -> Result<Response<entries::Entries>, Status> {
        self.entries(&request).map(Response::new)
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        self.inclusion(&request).await.map(Response::new)
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        self.consistency(&request).await.map(Response::new)
    }
}
