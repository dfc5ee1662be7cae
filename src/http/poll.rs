//! Security events for verifiers that fetch them.
//!
//! Invariants: a verifier that shows its secret gets its own events and no others; what it has not said to have taken it gets
//! again; it waits for a bounded time, and what it sends is bounded.
//!
//! Spec: RFC 8936.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    body::Body,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Shared,
    desk::{Caller, Unanswered},
    form::Form,
};
use crate::jose::Digest;

/// A request at most, bytes.
const MAX_BODY: usize = 64 * 1024;
/// Events of one answer.
const MOST: usize = 64;
/// How often it is looked whether something has come, while a verifier waits for it.
const LOOK: Duration = Duration::from_millis(250);

/// What a verifier asks. Members that this program does not know are passed over, as section 2.2 says.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Asked {
    max_events: Option<usize>,
    return_immediately: bool,
    ack: Vec<String>,
    set_errs: BTreeMap<String, Value>,
}

pub(super) async fn answer(shared: &Shared, headers: &HeaderMap, body: Body) -> Response {
    told(shared, headers, body).await.unwrap_or_else(Unanswered::response)
}

async fn told(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<Response, Unanswered> {
    let bytes = axum::body::to_bytes(body, MAX_BODY).await;
    let bytes = bytes.map_err(|_| Unanswered::Invalid(StatusCode::PAYLOAD_TOO_LARGE))?;
    let Caller::Verifier(verifier) = shared.desk.caller(&shared.engine, headers, &Form::new())? else {
        shared.desk.stranger()?;
        return Err(Unanswered::Credentials);
    };
    let invalid = |_| Unanswered::Invalid(StatusCode::BAD_REQUEST);
    // An object, and not the list of its members that a struct could be read from as well.
    let object: Map<String, Value> = serde_json::from_slice(&bytes).map_err(invalid)?;
    let asked: Asked = serde_json::from_value(object.into()).map_err(invalid)?;
    if !asked.set_errs.is_empty() {
        let count = asked.set_errs.len();
        tracing::warn!(verifier = %verifier.id, count, "a verifier could not read security events that it fetched");
    }
    // What it cannot read it will not read the next time: it is told to the operator, and not again to the verifier.
    let taken: Vec<Digest> =
        asked.ack.iter().chain(asked.set_errs.keys()).filter_map(|id| id.parse().ok()).collect();
    let most = asked.max_events.unwrap_or(MOST).min(MOST);
    let patience = if asked.return_immediately { Duration::ZERO } else { shared.settings.answer / 2 };
    let begun = tokio::time::Instant::now();
    loop {
        let found = shared.engine.poll_events(&verifier, &taken, most).await;
        let (sets, more) = found.map_err(|error| Unanswered::Unable(error.reason()))?;
        if sets.is_empty() && !more && most > 0 && begun.elapsed() < patience {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let sets: Map<String, Value> =
            sets.into_iter().map(|(id, set)| (id.to_string(), Value::from(set))).collect();
        return Ok(Json(json!({"sets": sets, "moreAvailable": more})).into_response());
    }
}
