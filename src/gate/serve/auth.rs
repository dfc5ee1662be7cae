//! `GET /auth`: may this request pass?
//!
//! 200 with headers for the application; 401 with a challenge (RFC 6750 section 3, RFC 9449 section 7.1) where another token or
//! proof could help; 403 where none could. nginx knows only these three, and takes any other status for its own error: so a
//! gate that cannot judge answers 403, with the reason. The body repeats the reason, for people.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use super::described;
use crate::{
    gate::{
        Gate,
        decide::{Kind, Pass, Refusal},
    },
    http::connection::Peer,
};

/// The algorithms that a proof may have.
const ALGORITHMS: &str = "ES256 ES384 EdDSA PS256 RS256";

/// What serves this peer. Nobody but a trusted proxy is answered, or could keep others waiting: all that anybody else says
/// could be made up.
pub(super) fn router(gate: &Arc<Gate>, peer: Peer) -> Option<Router> {
    match peer {
        Peer::Ip(ip) if !gate.config.proxy.trusted.contains(&ip) => {
            gate.refused(Refusal::Untrusted);
            tracing::debug!(%ip, "somebody asks who is not a trusted proxy");
            None
        }
        _ => Some(Router::new().fallback(answer).with_state(Arc::clone(gate))),
    }
}

async fn answer(State(gate): State<Arc<Gate>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if uri.path() != "/auth" {
        return (StatusCode::NOT_FOUND, "there is nothing here but /auth\n").into_response();
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        let allow = [(header::ALLOW, "GET, HEAD")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow, "ask with GET\n").into_response();
    }
    let decided = match described::request(&headers, &gate.config.proxy) {
        Ok(request) => gate.ask(&request),
        Err(refusal) => Err(gate.refused(refusal)),
    };
    match decided {
        Ok(pass) => passed(&gate, &pass),
        Err(refusal) => refused(&gate, &refusal),
    }
}

/// The headers that are handed to the application, for whatever protocol.
pub(in crate::gate) fn handed(gate: &Gate, pass: &Pass) -> Vec<(String, String)> {
    let (names, claims) = (&gate.config.headers, &pass.token.claims);
    [
        (&names.subject, claims.sub.to_string()),
        (&names.client, claims.client_id.to_string()),
        (&names.request, claims.jti.to_string()),
        (&names.incident, claims.txn.to_string()),
        (&names.profile, claims.breakglass.profile.to_string()),
        (&names.drill, claims.breakglass.drill.to_string()),
        (&names.expires, claims.exp.to_string()),
        (&names.action, format!("{}:{}", pass.need.kind, pass.need.action)),
        (&names.resource, pass.need.location.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.clone(), value))
    .collect()
}

fn passed(gate: &Gate, pass: &Pass) -> Response {
    let mut response = StatusCode::OK.into_response();
    for (name, value) in handed(gate, pass) {
        put(&mut response, &name, &value);
    }
    put(&mut response, "cache-control", "no-store");
    response
}

/// The status and the `WWW-Authenticate` values of a refusal, for whatever protocol.
pub(in crate::gate) fn challenge(refusal: &Refusal) -> (StatusCode, Vec<String>) {
    let reason = refusal.reason();
    let bearer = |error: &str| format!("Bearer error=\"{error}\", error_description=\"{reason}\"");
    let dpop = |error: &str| {
        format!("DPoP algs=\"{ALGORITHMS}\", error=\"{error}\", error_description=\"{reason}\"")
    };
    match refusal.kind() {
        Kind::Challenge => {
            let plain = vec!["Bearer".to_owned(), format!("DPoP algs=\"{ALGORITHMS}\"")];
            (StatusCode::UNAUTHORIZED, plain)
        }
        Kind::Token => (StatusCode::UNAUTHORIZED, vec![bearer("invalid_token"), dpop("invalid_token")]),
        Kind::Proof => (StatusCode::UNAUTHORIZED, vec![dpop("invalid_dpop_proof")]),
        Kind::Scope => (StatusCode::FORBIDDEN, vec![bearer("insufficient_scope")]),
        Kind::Forbidden => (StatusCode::FORBIDDEN, Vec::new()),
    }
}

fn refused(gate: &Gate, refusal: &Refusal) -> Response {
    let (status, challenges) = challenge(refusal);
    let mut response = (status, format!("{}: {refusal}\n", refusal.reason())).into_response();
    for challenge in challenges {
        if let Ok(value) = HeaderValue::try_from(challenge) {
            response.headers_mut().append(header::WWW_AUTHENTICATE, value);
        }
    }
    put(&mut response, &gate.config.headers.reason, refusal.reason());
    put(&mut response, "cache-control", "no-store");
    response
}

/// Names were checked with the configuration, and values are of types that hold visible ASCII only.
fn put(response: &mut Response, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        response.headers_mut().insert(name, value);
    }
}
