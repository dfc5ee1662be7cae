//! The whole API over one engine: services, health, and the housekeeping beside them.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::access::Access;
use super::audit::Audit;
use super::charter::Charters;
use super::front::{Front, Rates};
use super::gate::Gates;
use super::genesis::Genesis;
use super::kill::KillSwitch;
use super::server::{Limits, MAX_MESSAGE, Server, ServerError, routes};
use super::tls::{Identity, server_config};
use super::v1::access_service_server::{AccessServiceServer, SERVICE_NAME as ACCESS};
use super::v1::audit_service_server::{AuditServiceServer, SERVICE_NAME as AUDIT};
use super::v1::charter_service_server::{CharterServiceServer, SERVICE_NAME as CHARTER};
use super::v1::gate_service_server::{GateServiceServer, SERVICE_NAME as GATE};
use super::v1::genesis_service_server::{GenesisServiceServer, SERVICE_NAME as GENESIS};
use super::v1::kill_service_server::{KillServiceServer, SERVICE_NAME as KILL};
use super::v1::verifier_service_server::{SERVICE_NAME as VERIFIER, VerifierServiceServer};
use super::verifier::Verifiers;
use crate::engine::Engine;
use crate::telemetry::Metrics;

/// How often health is looked at and refusals are recorded.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How the API is served.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What a peer may hold at most.
    pub limits: Limits,
    /// How often a client may call.
    pub rates: Rates,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
}

/// Serves the API until `stop` turns true, then drains: see [`Server::serve`]. What was refused until then is recorded
/// in the log before this returns, so the engine has to outlive it.
pub async fn serve(
    engine: Engine,
    listener: TcpListener,
    identity: &Identity,
    options: Options,
    stop: watch::Receiver<bool>,
) -> Result<(), ServerError> {
    let tls = server_config(identity)?;
    let front = Arc::new(Front::new(engine, options.rates, stop));
    let (mut routes, health) = routes()?;
    routes
        .add_service(
            AccessServiceServer::new(Access::new(Arc::clone(&front))).max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            AuditServiceServer::new(Audit::new(Arc::clone(&front))).max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            CharterServiceServer::new(Charters::new(Arc::clone(&front)))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            GenesisServiceServer::new(Genesis::new(Arc::clone(&front)))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            GateServiceServer::new(Gates::new(Arc::clone(&front))).max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            KillServiceServer::new(KillSwitch::new(Arc::clone(&front)))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            VerifierServiceServer::new(Verifiers::new(Arc::clone(&front)))
                .max_decoding_message_size(MAX_MESSAGE),
        );
    let rank = {
        let front = Arc::clone(&front);
        Arc::new(move |key: &crate::jose::Digest| front.rank(key))
    };
    let server = Server { listener, tls, limits: options.limits, metrics: options.metrics, rank };
    let ended = tokio::select! {
        ended = server.serve(routes.routes(), front.stopped()) => ended,
        () = keep_house(&front, &health) => Ok(()),
    };
    front.record(true).await;
    ended
}

/// Never returns.
async fn keep_house(front: &Front, health: &HealthReporter) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A latched daemon still answers questions, but does nothing that is asked of it.
        let latched = front.engine.latch().reason().is_some();
        let access = if latched { ServingStatus::NotServing } else { ServingStatus::Serving };
        health.set_service_status("", access).await;
        health.set_service_status(ACCESS, access).await;
        for service in [AUDIT, CHARTER, GATE, GENESIS, KILL, VERIFIER] {
            health.set_service_status(service, ServingStatus::Serving).await;
        }
        front.record(false).await;
    }
}
