//! `CharterService`: the rules, those that are proposed, and what the daemon says of itself.

mod devices;
mod proposals;
mod versions;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::front::Front;
use super::time::{instant, seconds};
use super::v1::{self, charter_service_server::CharterService};

/// The service.
pub(super) struct Charters {
    front: Arc<Front>,
}

impl Charters {
    pub(super) fn new(front: Arc<Front>) -> Self {
        Self { front }
    }

    fn daemon(&self, request: &Request<v1::GetDaemonRequest>) -> Result<v1::GetDaemonResponse, Status> {
        let entered = self.front.enter_to_sign(request)?;
        let engine = &self.front.engine;
        let document = entered.charter.document();
        Ok(v1::GetDaemonResponse {
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: engine.instance().to_string(),
            issuer: document.iss.to_string(),
            charter_version: document.version.into(),
            charter_digest: entered.charter.digest().to_string(),
            development: document.development,
            log_origin: engine.verifier_key().name().as_str().to_owned(),
            log_size: engine.store().size(),
            caller: entered.caller.principal.to_string(),
            latched: engine.latch().reason().unwrap_or_default().to_owned(),
            now: Some(instant(entered.now)),
            charter_expires_at: Some(seconds(document.expires_at)),
            to_destroy: engine
                .keys_to_destroy()
                .into_iter()
                .map(|(kid, reason)| v1::PendingDestruction {
                    kid: kid.to_string(),
                    reason: reason.unwrap_or_default().to_owned(),
                })
                .collect(),
        })
    }
}

#[tonic::async_trait]
impl CharterService for Charters {
    async fn get_charter(
        &self,
        request: Request<v1::GetCharterRequest>,
    ) -> Result<Response<v1::GetCharterResponse>, Status> {
        self.get(request).await.map(Response::new)
    }

    async fn list_charters(
        &self,
        request: Request<v1::ListChartersRequest>,
    ) -> Result<Response<v1::ListChartersResponse>, Status> {
        self.list(request).await.map(Response::new)
    }

    async fn propose_charter(
        &self,
        request: Request<v1::ProposeCharterRequest>,
    ) -> Result<Response<v1::ProposeCharterResponse>, Status> {
        self.propose(request).await.map(Response::new)
    }

    async fn sign_charter(
        &self,
        request: Request<v1::SignCharterRequest>,
    ) -> Result<Response<v1::SignCharterResponse>, Status> {
        self.sign(request).await.map(Response::new)
    }

    async fn retract_charter(
        &self,
        request: Request<v1::RetractCharterRequest>,
    ) -> Result<Response<v1::RetractCharterResponse>, Status> {
        self.retract(request).await.map(Response::new)
    }

    async fn list_proposals(
        &self,
        request: Request<v1::ListProposalsRequest>,
    ) -> Result<Response<v1::ListProposalsResponse>, Status> {
        self.proposals(&request).map(Response::new)
    }

    async fn record_transcript(
        &self,
        request: Request<v1::RecordTranscriptRequest>,
    ) -> Result<Response<v1::RecordTranscriptResponse>, Status> {
        let entered = self.front.enter(&request)?;
        let jws = request.into_inner().jws;
        let recorded = self.front.engine.record(entered.caller.actor(), &jws).await;
        let (digest, decided) = recorded.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(Response::new(v1::RecordTranscriptResponse { digest: digest.to_string(), index: decided.index }))
    }

    async fn check_in(
        &self,
        request: Request<v1::CheckInRequest>,
    ) -> Result<Response<v1::CheckInResponse>, Status> {
        self.seen(request).await.map(Response::new)
    }

    async fn list_devices(
        &self,
        request: Request<v1::ListDevicesRequest>,
    ) -> Result<Response<v1::ListDevicesResponse>, Status> {
        self.devices(&request).map(Response::new)
    }

    async fn get_daemon(
        &self,
        request: Request<v1::GetDaemonRequest>,
    ) -> Result<Response<v1::GetDaemonResponse>, Status> {
        self.daemon(&request).map(Response::new)
    }
}
