//! What is said about tokens, under an issuer of its own: its keys, the status list, and where security events are fetched.
//!
//! Invariants: the issuer of tokens and this one share no path, no document and no key; nothing is signed because somebody
//! asked; a list that has expired is served to nobody.
//!
//! Spec: OAuth Token Status List, section 8; RFC 8414.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{
    Shared,
    discovery::{Document, JWKS_PATH, OAUTH, OPENID, path_of},
};
use crate::{
    domain::{charter::OperationalKey, status},
    engine::STATUS_LIST_TTL,
    jose::IssuingPublicKey,
};

/// Where all of it is as well, whatever the issuer's path: for a proxy that serves it at another host.
const ALWAYS: &str = "/ops";

/// Where security events are fetched.
const EVENTS_PATH: &str = "/events";

/// One thing of this issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Discovery,
    Jwks,
    StatusList,
    Events,
}

impl Part {
    /// The pattern, for the metrics.
    pub(super) const fn pattern(self) -> &'static str {
        match self {
            Self::Discovery => "/ops/.well-known/",
            Self::Jwks => "/ops/jwks.json",
            Self::StatusList => "/ops/statuslist",
            Self::Events => "/ops/events",
        }
    }

    /// The part that a path means, which no route of the tokens' issuer has. `operational` is this issuer's path.
    pub(super) fn of(path: &str, issuer: &str, operational: &str) -> Option<Self> {
        let short = operational.strip_prefix(issuer).unwrap_or(operational);
        let prefixes = || [operational, short, ALWAYS].into_iter().filter(|prefix| !prefix.is_empty());
        let inserted = path.strip_prefix(OAUTH).or_else(|| path.strip_prefix(OPENID));
        if inserted.is_some_and(|rest| prefixes().any(|prefix| prefix == rest)) {
            return Some(Self::Discovery);
        }
        prefixes().filter_map(|prefix| path.strip_prefix(prefix)).find_map(|rest| match rest {
            OPENID | OAUTH => Some(Self::Discovery),
            JWKS_PATH => Some(Self::Jwks),
            status::PATH => Some(Self::StatusList),
            EVENTS_PATH => Some(Self::Events),
            _ => None,
        })
    }
}

/// The documents of this issuer.
#[derive(Debug)]
pub(super) struct Documents {
    /// What follows its authority.
    pub(super) path: String,
    pub(super) discovery: Document,
    pub(super) jwks: Document,
}

impl Documents {
    /// `None` if the charter has no such keys.
    pub(super) fn new(keys: &[OperationalKey]) -> Option<Self> {
        let issuer = keys.first()?.iss.as_str();
        let discovery = json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}{JWKS_PATH}"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        let keys: Vec<_> = keys.iter().map(|one| IssuingPublicKey::from(one.key).published()).collect();
        Some(Self {
            path: path_of(issuer).to_owned(),
            discovery: Document::new(serde_json::to_vec(&discovery).ok()?)?,
            jwks: Document::new(serde_json::to_vec(&json!({"keys": keys})).ok()?)?,
        })
    }
}

/// The newest status list token. Lists of other times are not kept.
pub(super) fn status_list(shared: &Shared, query: Option<&str>) -> Response {
    let asks_for_time = |pair: &str| pair.split('=').next() == Some("time");
    if query.is_some_and(|query| query.split('&').any(asks_for_time)) {
        return (StatusCode::NOT_IMPLEMENTED, "only the newest list is kept\n").into_response();
    }
    let Some(list) = shared.engine.status_list() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "NO_STATUS_LIST\n").into_response();
    };
    let kept = HeaderValue::try_from(format!("public, max-age={STATUS_LIST_TTL}"));
    let kept = kept.unwrap_or(HeaderValue::from_static("no-store"));
    let media_type = HeaderValue::from_static("application/statuslist+jwt");
    let headers = [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, kept)];
    (headers, list.jwt.clone()).into_response()
}
