//! `GateService`: what gates say, and which of them enforce what.
//!
//! Invariant: no acknowledgement reaches anybody that the charter in force does not bear out, and those who are shown one get it
//! under its signature.

use std::sync::Arc;
use std::time::Duration;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::front::{Entered, Front};
use super::status::{Kind, ServiceError};
use super::time::instant;
use super::v1::{self, gate_service_server::GateService};
use crate::domain::gate::SignedAck;
use crate::domain::id::KillId;
use crate::domain::time::Timestamp;
use crate::engine::{GateView, SpreadView};

/// Gates in one answer.
const CHUNK: usize = 256;

/// The service.
pub(super) struct Gates {
    front: Arc<Front>,
}

impl Gates {
    pub(super) fn new(front: Arc<Front>) -> Self {
        Self { front }
    }

    fn list(&self, request: &Request<v1::ListGatesRequest>) -> Result<Vec<v1::ListGatesResponse>, Status> {
        let entered = self.front.enter(request)?;
        if !entered.caller.sees_all() {
            let message = "only custodians and auditors are told of gates";
            return Err(self.front.denied(&entered.caller, "NOT_A_CUSTODIAN", message));
        }
        let id = request.get_ref().kill_id.as_str();
        let id = (!id.is_empty()).then(|| parse_kill(id)).transpose()?;
        let (gates, spread) = self.front.engine.gates(id.as_ref());
        let mut shown: Vec<v1::ListGatesResponse> = gates
            .chunks(CHUNK)
            .map(|some| v1::ListGatesResponse {
                spread: None,
                gates: some.iter().map(|gate| view(gate, &entered)).collect(),
            })
            .collect();
        if shown.is_empty() {
            shown.push(v1::ListGatesResponse::default());
        }
        if let Some(first) = shown.first_mut() {
            first.spread = spread.as_ref().map(spread_view);
        }
        Ok(shown)
    }
}

fn parse_kill(id: &str) -> Result<KillId, ServiceError> {
    id.parse().map_err(|_| {
        let message = "a kill's id is 22 characters of base64url: see breakglass kill status";
        ServiceError::new(Kind::InvalidArgument, "KILL_ID_INVALID", message)
    })
}

fn spread_view(spread: &SpreadView) -> v1::KillSpread {
    v1::KillSpread {
        gates: spread.standing.gates,
        enforced: spread.standing.enforced,
        p50_ms: spread.standing.p50,
        p99_ms: spread.standing.p99,
        recorded: spread.recorded,
    }
}

fn view(gate: &GateView, entered: &Entered) -> v1::Gate {
    let ago = |millis: u64| {
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        Some(instant(Timestamp::from_millis(entered.now.millis().saturating_sub(millis))))
    };
    let bytes = |ack: &Arc<SignedAck>| ack.jws().to_json();
    v1::Gate {
        verifier: gate.verifier.to_string(),
        name: gate.key.1.to_string(),
        kid: gate.key.0.to_string(),
        connected: gate.watches > 0,
        since: ago(gate.since),
        newest: gate.newest.as_ref().map(|(ack, _)| bytes(ack)).unwrap_or_default(),
        newest_at: gate.newest.as_ref().and_then(|(_, since)| ago(*since)),
        ack: gate.ack.as_ref().map(|(ack, _)| bytes(ack)).unwrap_or_default(),
        after_ms: gate.ack.as_ref().and_then(|(_, after)| *after),
        expected: gate.expected,
    }
}

#[tonic::async_trait]
impl GateService for Gates {
    async fn acknowledge_kills(
        &self,
        request: Request<v1::AcknowledgeKillsRequest>,
    ) -> Result<Response<v1::AcknowledgeKillsResponse>, Status> {
        let entered = self.front.enter(&request)?;
        let taken = self.front.engine.acknowledge(&request.get_ref().jws).await;
        taken.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(Response::new(v1::AcknowledgeKillsResponse {}))
    }

    async fn report_uses(
        &self,
        request: Request<v1::ReportUsesRequest>,
    ) -> Result<Response<v1::ReportUsesResponse>, Status> {
        let entered = self.front.enter_to_report(&request)?;
        let reported = self.front.engine.report_uses(entered.caller.actor(), &request.get_ref().jws).await;
        let (_, seq) = reported.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(Response::new(v1::ReportUsesResponse { seq }))
    }

    type ListGatesStream = ReceiverStream<Result<v1::ListGatesResponse, Status>>;

    async fn list_gates(
        &self,
        request: Request<v1::ListGatesRequest>,
    ) -> Result<Response<Self::ListGatesStream>, Status> {
        let answers = self.list(&request)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for answer in answers {
                // Whoever does not read is not waited for.
                let sent = tokio::time::timeout(PATIENCE, sender.send(Ok(answer))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// How long an answer waits for its reader.
const PATIENCE: Duration = Duration::from_secs(20);
