//! `VerifierService`: what verifiers did with their canaries, and asking them again.
//!
//! Invariant: at most a few are asked at a time on somebody's wish, so that nobody makes the daemon hammer them.

mod view;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::front::Front;
use super::status::{Kind, ServiceError};
use super::time::instant;
use super::v1::{self, verifier_service_server::VerifierService};
use crate::domain::id::PrincipalId;

/// Verifiers that are asked at a time because somebody wished it.
const MOST_ASKED: usize = 4;

/// The service.
pub(super) struct Verifiers {
    front: Arc<Front>,
    asked: Semaphore,
}

impl Verifiers {
    pub(super) fn new(front: Arc<Front>) -> Self {
        Self { front, asked: Semaphore::new(MOST_ASKED) }
    }
}

fn unknown() -> Status {
    ServiceError::new(Kind::NotFound, "VERIFIER_UNKNOWN", "the charter in force names no such verifier")
        .into()
}

#[tonic::async_trait]
impl VerifierService for Verifiers {
    async fn list_verifiers(
        &self,
        request: Request<v1::ListVerifiersRequest>,
    ) -> Result<Response<v1::ListVerifiersResponse>, Status> {
        let entered = self.front.enter(&request)?;
        let verifiers = entered.charter.document().verifiers.iter();
        let verifiers = verifiers.map(|verifier| view::standing(&self.front.engine, &verifier.id)).collect();
        Ok(Response::new(v1::ListVerifiersResponse { verifiers, at: Some(instant(entered.now)) }))
    }

    async fn probe_verifier(
        &self,
        request: Request<v1::ProbeVerifierRequest>,
    ) -> Result<Response<v1::ProbeVerifierResponse>, Status> {
        let entered = self.front.enter(&request)?;
        let id: PrincipalId = request.get_ref().verifier.parse().map_err(|_| unknown())?;
        if !entered.charter.document().verifiers.iter().any(|verifier| verifier.id == id) {
            return Err(unknown());
        }
        let _place = self.asked.try_acquire().map_err(|_| {
            let message = "other verifiers are being asked; try again in some seconds";
            Status::from(ServiceError::new(Kind::ResourceExhausted, "PROBES_BUSY", message))
        })?;
        let asked = self.front.engine.probe(&id).await;
        asked.map_err(|error| self.front.refused(&entered.caller, &error))?;
        let verifier = Some(view::standing(&self.front.engine, &id));
        Ok(Response::new(v1::ProbeVerifierResponse { verifier }))
    }
}
