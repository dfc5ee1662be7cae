//! `GenesisService`: a new chain in place of one that nobody can continue.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::front::Front;
use super::time::{instant, seconds};
use super::v1::{self, genesis_service_server::GenesisService};
use crate::domain::genesis::Announcement;

/// The service.
pub(super) struct Genesis {
    front: Arc<Front>,
}

impl Genesis {
    pub(super) fn new(front: Arc<Front>) -> Self {
        Self { front }
    }
}

#[tonic::async_trait]
impl GenesisService for Genesis {
    async fn announce_genesis(
        &self,
        request: Request<v1::AnnounceGenesisRequest>,
    ) -> Result<Response<v1::AnnounceGenesisResponse>, Status> {
        let entered = self.front.enter(&request)?;
        let v1::AnnounceGenesisRequest { jws, charter } = request.into_inner();
        let announced = self.front.engine.announce_genesis(entered.caller.actor(), &jws, &charter).await;
        let announced = announced.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(Response::new(v1::AnnounceGenesisResponse { announcement: Some(view(&announced)) }))
    }

    async fn cancel_genesis(
        &self,
        request: Request<v1::CancelGenesisRequest>,
    ) -> Result<Response<v1::CancelGenesisResponse>, Status> {
        let entered = self.front.enter(&request)?;
        let jws = request.into_inner().jws;
        let cancelled = self.front.engine.cancel_genesis(entered.caller.actor(), &jws).await;
        cancelled.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(Response::new(v1::CancelGenesisResponse {}))
    }

    async fn get_genesis(
        &self,
        request: Request<v1::GetGenesisRequest>,
    ) -> Result<Response<v1::GetGenesisResponse>, Status> {
        self.front.enter(&request)?;
        let replacement = self.front.engine.read(|state| state.replacement().clone());
        let ended = replacement.ended();
        Ok(Response::new(v1::GetGenesisResponse {
            announcements: replacement.announced().iter().map(view).collect(),
            replaced_by: ended.map(|ended| ended.genesis.to_string()).unwrap_or_default(),
            ended_at: ended.map(|ended| instant(ended.at)),
        }))
    }
}

fn view(announcement: &Announcement) -> v1::Announcement {
    v1::Announcement {
        digest: announcement.digest.to_string(),
        genesis: announcement.genesis.to_string(),
        by: announcement.by.to_string(),
        announced_at: Some(instant(announcement.at)),
        days: announcement.days,
        ends_at: Some(seconds(announcement.ends())),
    }
}
