//! The audit log from outside: its newest checkpoint, and the hashes that prove it.
//!
//! Invariants: nothing is signed because somebody asked; tiles are read one at a time, so that strangers leave the
//! store's readers to auditors. Bundles of entries are not served: they name people and reasons, and only enrolled
//! auditors read them (gRPC).
//!
//! Spec: C2SP tlog-tiles, tlog-checkpoint.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::Shared;
use crate::tlog::Tile;

/// A tile never changes: another width is another path.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// The newest checkpoint, as a signed note; 503 until there is one.
pub(super) async fn checkpoint(shared: &Shared) -> Response {
    // The engine answers from memory once it has one, however old; making newer ones is the monitor's.
    let has_one = *shared.published.borrow();
    let newest = if has_one { shared.engine.checkpoint(0).await.ok() } else { None };
    match newest {
        Some(checkpoint) => {
            let headers =
                [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
            (headers, checkpoint.to_string()).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "NO_CHECKPOINT_YET\n").into_response(),
    }
}

/// A hash tile of the durable log, full or partial.
pub(super) async fn tile(shared: &Shared, tile: Tile) -> Response {
    if tile.level().is_none() {
        return (StatusCode::NOT_FOUND, "entries are not public; enrolled auditors read them by gRPC\n")
            .into_response();
    }
    let Ok(_turn) = shared.tiles.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    match shared.engine.store().hash_tile(tile).await {
        Ok(Some(bytes)) => {
            let headers =
                [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, FOREVER)];
            (headers, bytes).into_response()
        }
        Ok(None) => (StatusCode::NOT_FOUND, "the log is not that long\n").into_response(),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a tile could not be read");
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", error.reason())).into_response()
        }
    }
}
