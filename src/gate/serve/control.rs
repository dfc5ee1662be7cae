//! For operators and monitors: `/healthz`, `/readyz`, `/status`, `/metrics`.
//!
//! Nothing here is secret, and nothing changes anything.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::{
    gate::{Gate, clock::Moment},
    telemetry::CONTENT_TYPE,
};

pub(super) fn router(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
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

async fn metrics(State(gate): State<Arc<Gate>>) -> Response {
    gate.metrics.set(&gate.view.known(), &gate.memory, gate.settings.max_stale, Moment::now());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], gate.metrics.encode()).into_response()
}
