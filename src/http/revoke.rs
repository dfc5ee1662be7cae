//! Revocation: whoever has a token can end it.
//!
//! Invariants: having the token is all the authority there is, so it ends that one token and nothing else; a verifier that
//! shows its secret is named in the log; the answer says nothing of tokens that had ended, or never were.
//!
//! Spec: RFC 7009. The requester and whoever finds a token have no credentials here, and need none.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};

use super::{
    Shared,
    desk::{Caller, Unanswered},
    form,
};

pub(super) async fn answer(shared: &Shared, headers: &HeaderMap, body: Body) -> Response {
    ended(shared, headers, body).await.unwrap_or_else(Unanswered::response)
}

async fn ended(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<Response, Unanswered> {
    let form = form::read(headers, body).await.map_err(Unanswered::Invalid)?;
    let verifier = match shared.desk.caller(&shared.engine, headers, &form)? {
        Caller::Verifier(verifier) => Some(verifier),
        Caller::Nobody => {
            shared.desk.stranger()?;
            None
        }
    };
    let token = form.get("token").ok_or(Unanswered::Invalid(StatusCode::BAD_REQUEST))?;
    let revoked = shared.engine.revoke(verifier.as_deref(), token).await;
    let revoked = revoked.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "a token that was handed in has not ended");
        Unanswered::Unable(error.reason())
    })?;
    shared.metrics.revoked(revoked.err());
    Ok(StatusCode::OK.into_response())
}
