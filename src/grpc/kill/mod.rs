//! `KillService`: kills and lifts, and what they leave.
//!
//! Invariant: no quota of other calls keeps a kill out; it has one of its own.

mod feed;
mod view;
mod watch;

pub(crate) use view::parse_head;

use std::collections::BTreeSet;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use self::feed::Feed;
use super::front::Front;
use super::status::{Kind, ServiceError};
use super::time::instant;
use super::v1::{self, kill_service_server::KillService};
use crate::domain::id::RequestId;
use crate::domain::kill::Recorded;

/// Request ids that can be named.
const MAX_IDS: usize = 64;
/// Kills of single tokens and requests that are sent where none is named.
const MAX_SINGLES: usize = 200;

/// The service.
pub(super) struct KillSwitch {
    front: Arc<Front>,
    feed: Arc<Feed>,
}

impl KillSwitch {
    pub(super) fn new(front: Arc<Front>) -> Self {
        Self { front, feed: Arc::default() }
    }

    fn kills(&self, request: &Request<v1::GetKillsRequest>) -> Result<v1::GetKillsResponse, Status> {
        let entered = self.front.enter(request)?;
        let ids = &request.get_ref().request_ids;
        if ids.len() > MAX_IDS {
            let text = "at most 64 requests can be named";
            return Err(ServiceError::new(Kind::InvalidArgument, "TOO_MANY_IDS", text).into());
        }
        let ids = ids.iter().map(|id| super::access::parse_id(id)).collect::<Result<BTreeSet<_>, _>>()?;
        let kills = self.front.engine.kills();
        let single = |recorded: &&Recorded| recorded.kill.target.request().is_some();
        let count = kills.standing().filter(single).count();
        let oldest = if ids.is_empty() { count.saturating_sub(MAX_SINGLES) } else { 0 };
        let named = |id: &RequestId| ids.is_empty() || ids.contains(id);
        let mut passed = 0;
        let wanted = kills.standing().filter(|recorded| {
            let Some(id) = recorded.kill.target.request() else { return true };
            passed += 1;
            passed > oldest && named(id)
        });
        let mut shown: Vec<v1::Kill> = wanted.map(view::kill).collect();
        shown.extend(self.front.engine.unrecorded().iter().map(view::unrecorded));
        Ok(v1::GetKillsResponse {
            epoch: kills.epoch(),
            at: Some(instant(entered.now)),
            kills: shown,
            lifts: kills.lifts().iter().map(view::lift).collect(),
            single_kills: count as u64,
            charter_digest: entered.charter.digest().to_string(),
            head: Some(view::head(kills.head())),
        })
    }
}

#[tonic::async_trait]
impl KillService for KillSwitch {
    async fn kill(&self, request: Request<v1::KillRequest>) -> Result<Response<v1::KillResponse>, Status> {
        let entered = self.front.enter_to_kill(&request)?;
        let jws = request.into_inner().jws;
        let killed = self.front.engine.kill(entered.caller.actor(), &jws).await;
        let killed = killed.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(Response::new(v1::KillResponse {
            id: killed.id.to_string(),
            epoch: killed.epoch,
            recorded: killed.decided.recorded,
            index: killed.decided.index,
        }))
    }

    async fn lift(&self, request: Request<v1::LiftRequest>) -> Result<Response<v1::LiftResponse>, Status> {
        let entered = self.front.enter_to_kill(&request)?;
        let jws = request.into_inner().jws;
        let lifted = self.front.engine.lift(entered.caller.actor(), &jws).await;
        let lifted = lifted.map_err(|error| self.front.refused(&entered.caller, &error))?;
        let epoch = self.front.engine.read(|state| state.kills().epoch());
        Ok(Response::new(v1::LiftResponse { epoch, index: lifted.index }))
    }

    async fn get_kills(
        &self,
        request: Request<v1::GetKillsRequest>,
    ) -> Result<Response<v1::GetKillsResponse>, Status> {
        self.kills(&request).map(Response::new)
    }

    type WatchKillsStream = watch::Watch;

    async fn watch_kills(
        &self,
        request: Request<v1::WatchKillsRequest>,
    ) -> Result<Response<watch::Watch>, Status> {
        self.watch(&request).map(Response::new)
    }
}
