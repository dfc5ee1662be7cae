//! `CharterService`: the rules in force, and what the daemon says of itself. Read-only in this version.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::front::Front;
use super::status::{Kind, ServiceError};
use super::time::instant;
use super::v1::{self, charter_service_server::CharterService};

/// The service.
pub(super) struct Charters {
    front: Arc<Front>,
}

impl Charters {
    pub(super) fn new(front: Arc<Front>) -> Self {
        Self { front }
    }

    fn charter(&self, request: &Request<v1::GetCharterRequest>) -> Result<v1::GetCharterResponse, Status> {
        let charter = self.front.enter(request)?.charter;
        let version = u64::from(charter.document().version);
        let wanted = request.get_ref().version;
        if wanted != 0 && wanted != version {
            let message = format!("version {version} is in force: others are in the audit log, if anywhere");
            let error = ServiceError::new(Kind::NotFound, "CHARTER_VERSION_UNKNOWN", message);
            return Err(error.with("version", version).into());
        }
        Ok(v1::GetCharterResponse { version, jws: charter.statement().to_json() })
    }

    fn daemon(&self, request: &Request<v1::GetDaemonRequest>) -> Result<v1::GetDaemonResponse, Status> {
        let entered = self.front.enter(request)?;
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
        })
    }
}

#[tonic::async_trait]
impl CharterService for Charters {
    async fn get_charter(
        &self,
        request: Request<v1::GetCharterRequest>,
    ) -> Result<Response<v1::GetCharterResponse>, Status> {
        self.charter(&request).map(Response::new)
    }

    async fn get_daemon(
        &self,
        request: Request<v1::GetDaemonRequest>,
    ) -> Result<Response<v1::GetDaemonResponse>, Status> {
        self.daemon(&request).map(Response::new)
    }
}
