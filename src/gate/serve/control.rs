//! For operators and monitors: `/healthz`, `/readyz`, `/status`, `/metrics`; and for custodians, `POST /kill`.
//!
//! Nothing here is secret. Nothing changes anything but a kill, which is under the signature of somebody who may.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;

use crate::{
    domain::statement::MAX_STATEMENT_BYTES,
    gate::{Gate, clock::Moment, direct::DirectError},
    telemetry::CONTENT_TYPE,
};

pub(super) fn router(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/kill", post(kill))
        .layer(DefaultBodyLimit::max(MAX_STATEMENT_BYTES))
        .with_state(gate)
}

/// Ready to accept something: the view can be relied on.
async fn ready(State(gate): State<Arc<Gate>>) -> Response {
    match gate.is_fresh() {
        Ok(()) => "ready\n".into_response(),
        Err(refusal) => {
            let text = format!("{}: {refusal}\n", refusal.reason());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn status(State(gate): State<Arc<Gate>>) -> Response {
    let (known, now) = (gate.view.known(), Moment::now());
    let document = known.charter.document();
    let in_force: Vec<_> = known.in_force(now, gate.settings.max_stale).collect();
    let status = json!({
        "name": gate.config.name,
        "audience": gate.config.audience,
        "version": env!("CARGO_PKG_VERSION"),
        "charter": {
            "version": document.version,
            "digest": known.charter.digest(),
            "expires_at": document.expires_at,
        },
        "kills": {
            "epoch": known.epoch(),
            "lockdown": in_force.iter().any(|kills| kills.is_lockdown()),
            "unrecorded": known.unrecorded.standing().count(),
        },
        "view": {
            "age_ms": known.age(now),
            "max_stale_ms": gate.settings.max_stale,
            "clock_ahead_ms": known.newest().map(|source| source.ahead),
            "refuses": gate.is_fresh().err().map(|refusal| refusal.reason()),
        },
        "daemons": gate.config.daemons,
        "connected": gate.metrics.daemons(),
    });
    Json(status).into_response()
}

/// Takes a signed kill from whoever brings it, and answers with the gate's signed acknowledgement.
async fn kill(State(gate): State<Arc<Gate>>, body: Bytes) -> Response {
    // It may have to be written to the disk.
    let taken = tokio::task::spawn_blocking(move || gate.take_kill(&body)).await;
    match taken {
        Ok(Ok(ack)) => ([(header::CONTENT_TYPE, "application/jose+json")], ack.to_json()).into_response(),
        Ok(Err(error)) => {
            let reason = error.reason();
            let status = match &error {
                DirectError::Unkept(_) => StatusCode::INSUFFICIENT_STORAGE,
                _ => StatusCode::BAD_REQUEST,
            };
            tracing::info!(reason, "a kill that was brought to this gate is refused");
            (status, format!("{reason}: {error}\n")).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn metrics(State(gate): State<Arc<Gate>>) -> Response {
    gate.metrics.uses_waiting(gate.uses.waiting());
    gate.metrics.set(&gate.view.known(), &gate.memory, gate.settings.max_stale, Moment::now());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], gate.metrics.encode()).into_response()
}
