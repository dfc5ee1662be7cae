//! Introspection: a verifier asks whether a token counts.
//!
//! Invariants: only a verifier that shows its secret is answered; what does not count is `{"active":false}` and nothing
//! beside it, whatever the reason, which only the metrics know; no answer may be stored by anybody on the way.
//!
//! Spec: RFC 7662.

use axum::{
    Json,
    body::Body,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{
    Shared,
    desk::{Caller, Unanswered},
    form,
};

pub(super) async fn answer(shared: &Shared, headers: &HeaderMap, body: Body) -> Response {
    told(shared, headers, body).await.unwrap_or_else(Unanswered::response)
}

async fn told(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<Response, Unanswered> {
    let form = form::read(headers, body).await.map_err(Unanswered::Invalid)?;
    let verifier = match shared.desk.caller(&shared.engine, headers, &form)? {
        Caller::Verifier(verifier) => verifier,
        Caller::Nobody => {
            shared.desk.stranger()?;
            return Err(Unanswered::Credentials);
        }
    };
    let token = form.get("token").ok_or(Unanswered::Invalid(StatusCode::BAD_REQUEST))?;
    let told = shared.engine.introspect(&verifier, token);
    shared.metrics.introspected(told.as_ref().err().copied());
    Ok(match told {
        Ok(told) => Json(told).into_response(),
        Err(_) => Json(json!({"active": false})).into_response(),
    })
}
