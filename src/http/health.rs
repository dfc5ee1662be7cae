//! Whether the daemon is alive, and whether it could issue a token now.
//!
//! Invariant: an answer names stable reasons only; what is behind them is in the daemon's log, because anybody can ask.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::Shared;
use crate::telemetry::{Canary, Device};

/// Something that keeps a token from being issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Obstacle {
    reason: &'static str,
    /// The stable reason of the part that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    obstacles: Vec<Obstacle>,
}

/// 200 if nothing is known that keeps a token from being issued, else 503 with the reasons.
pub(super) fn ready(shared: &Shared) -> Response {
    let obstacles = obstacles(shared);
    let ready = obstacles.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, obstacles })).into_response()
}

fn obstacles(shared: &Shared) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let mut add = |reason, cause| found.push(Obstacle { reason, cause });
    if shared.engine.latch().reason().is_some() {
        add("LATCHED", None);
    }
    let now = shared.engine.now().seconds();
    match shared.engine.read(|state| state.charter().map(|charter| charter.is_in_force(now))) {
        Some(true) => {}
        Some(false) => add("CHARTER_NOT_IN_FORCE", None),
        None => add("NO_CHARTER", None),
    }
    if let Some(cause) = *shared.log_fault.borrow() {
        add("LOG_NOT_WRITABLE", Some(cause));
    }
    for (device, reason) in [(Device::Issuing, "ISSUING_DEVICE"), (Device::Log, "LOG_DEVICE")] {
        match shared.metrics.last_canary(device) {
            Canary::Healthy { .. } => {}
            Canary::Unknown => add(reason, Some("NOT_EXAMINED_YET")),
            Canary::Failed { reason: cause } => add(reason, Some(cause)),
        }
    }
    found
}
