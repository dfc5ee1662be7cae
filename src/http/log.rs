//! The audit log from outside: its newest checkpoint.
//!
//! Entries are not served here: they name people and reasons, and only enrolled auditors read them (gRPC).
//!
//! Spec: C2SP tlog-tiles, tlog-checkpoint.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::Shared;

/// The newest checkpoint, as a signed note; 503 while none can be signed.
pub(super) async fn checkpoint(shared: &Shared) -> Response {
    match shared.engine.checkpoint(0).await {
        Ok(checkpoint) => {
            let headers =
                [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
            (headers, checkpoint.to_string()).into_response()
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "no checkpoint could be served");
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", error.reason())).into_response()
        }
    }
}
