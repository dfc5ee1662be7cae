//! Which path is answered by what, and what every answer has in common.
//!
//! Invariants: GET and HEAD only, but for what verifiers ask and hand in, which are POST; every answer says `nosniff`, is counted by its route's pattern, and is made within
//! [`Settings::answer`](super::Settings::answer).

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

use super::{
    Shared,
    discovery::{Document, INTROSPECTION_PATH, JWKS_PATH, OAUTH, OPENID, REVOCATION_PATH},
    health, introspect, log, operational,
    operational::Part,
    poll, revoke,
};
use crate::{
    domain::request::Life,
    telemetry::{CONTENT_TYPE, Moment},
    tlog::Tile,
};

/// Keys and discovery change with the charter only; a verifier that is to forget a key is told so, not left to expire.
const CACHED: &str = "public, max-age=300";

pub(super) fn router(shared: Arc<Shared>) -> Router {
    // One handler finds the route, because an issuer's path, which the charter may change, is part of it.
    Router::new().fallback(answer).layer(middleware::from_fn(common)).with_state(shared)
}

/// What a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Discovery,
    Jwks,
    Introspection,
    Revocation,
    Operational(Part),
    Health,
    Ready,
    Metrics,
    Checkpoint,
    Tile(Tile),
    Unknown,
}

impl Route {
    /// The pattern, for the metrics.
    const fn pattern(self) -> &'static str {
        match self {
            Self::Discovery => "/.well-known/",
            Self::Jwks => JWKS_PATH,
            Self::Introspection => INTROSPECTION_PATH,
            Self::Revocation => REVOCATION_PATH,
            Self::Operational(part) => part.pattern(),
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
            Self::Checkpoint => "/checkpoint",
            Self::Tile(_) => "/tile/",
            Self::Unknown => "unknown",
        }
    }

    /// The methods that it takes.
    const fn methods(self) -> &'static str {
        match self {
            Self::Introspection | Self::Revocation | Self::Operational(Part::Events) => "POST",
            _ => "GET, HEAD",
        }
    }

    fn takes(self, method: &Method) -> bool {
        self == Self::Unknown || self.methods().split(", ").any(|one| one == method.as_str())
    }

    /// `issuer_path` is what the issuer's URL has after its authority: a proxy in front may leave it on or take it off;
    /// `operational` the same of the issuer of what is said about tokens, if there is one.
    fn of(path: &str, issuer_path: &str, operational: Option<&str>) -> Self {
        // RFC 8414 section 3.1 puts the issuer's path behind the well-known one.
        let inserted = path.strip_prefix(OAUTH).or_else(|| path.strip_prefix(OPENID));
        if inserted.is_some_and(|rest| rest.is_empty() || rest == issuer_path) {
            return Self::Discovery;
        }
        // With the issuer's path or without: a proxy may take it off.
        match path.strip_prefix(issuer_path).unwrap_or(path) {
            OPENID | OAUTH => return Self::Discovery,
            JWKS_PATH => return Self::Jwks,
            INTROSPECTION_PATH => return Self::Introspection,
            REVOCATION_PATH => return Self::Revocation,
            _ => {}
        }
        if let Some(part) = operational.and_then(|operational| Part::of(path, issuer_path, operational)) {
            return Self::Operational(part);
        }
        match path {
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/checkpoint" => Self::Checkpoint,
            _ => path.strip_prefix('/').and_then(|tile| tile.parse().ok()).map_or(Self::Unknown, Self::Tile),
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let headers = head.headers;
    let documents = shared.documents.current(&shared.engine);
    let issuer_path = documents.as_ref().map_or("", |documents| documents.path.as_str());
    let operational = documents.as_ref().and_then(|documents| documents.operational.as_ref());
    let route = Route::of(head.uri.path(), issuer_path, operational.map(|found| found.path.as_str()));
    let making = async {
        if !route.takes(&head.method) {
            let allow = [(header::ALLOW, route.methods())];
            let text = format!("only {}\n", route.methods());
            return (StatusCode::METHOD_NOT_ALLOWED, allow, text).into_response();
        }
        match (route, &documents) {
            (Route::Discovery, Some(documents)) => cacheable(&documents.discovery, &headers),
            (Route::Jwks, Some(documents)) => cacheable(&documents.jwks, &headers),
            (Route::Discovery | Route::Jwks, None) => {
                (StatusCode::SERVICE_UNAVAILABLE, "NO_CHARTER\n").into_response()
            }
            (Route::Operational(part), _) => match (part, operational) {
                (Part::Discovery, Some(found)) => cacheable(&found.discovery, &headers),
                (Part::Jwks, Some(found)) => cacheable(&found.jwks, &headers),
                (Part::StatusList, Some(_)) => operational::status_list(&shared, head.uri.query()),
                (Part::Events, Some(_)) => poll::answer(&shared, &headers, body).await,
                (_, None) => StatusCode::NOT_FOUND.into_response(),
            },
            (Route::Introspection, _) => introspect::answer(&shared, &headers, body).await,
            (Route::Revocation, _) => revoke::answer(&shared, &headers, body).await,
            (Route::Health, _) => "alive\n".into_response(),
            (Route::Ready, _) => health::ready(&shared),
            (Route::Metrics, _) => metrics(&shared).await,
            (Route::Checkpoint, _) => log::checkpoint(&shared).await,
            (Route::Tile(tile), _) => log::tile(&shared, tile).await,
            (Route::Unknown, _) => (StatusCode::NOT_FOUND, "there is nothing here\n").into_response(),
        }
    };
    let late = || (StatusCode::SERVICE_UNAVAILABLE, "TIMEOUT\n").into_response();
    let response = tokio::time::timeout(shared.settings.answer, making).await.unwrap_or_else(|_| late());
    shared.metrics.http(route.pattern(), response.status().as_u16());
    response
}

/// A document with its tag, or 304 if the client has it already.
fn cacheable(document: &Document, headers: &HeaderMap) -> Response {
    let common = [
        (header::ETAG, document.etag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static(CACHED)),
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ];
    if has(headers, &document.etag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, document.bytes.clone()).into_response()
}

/// Whether `If-None-Match` names this tag; compared weakly, as RFC 9110 section 13.1.2 says.
fn has(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

/// Gauges are read when they are asked for: a number that is served is true.
async fn metrics(shared: &Shared) -> Response {
    let engine = &shared.engine;
    let mut moment = Moment {
        log_size: engine.store().size(),
        latched: engine.latch().reason().is_some(),
        ..Moment::default()
    };
    // From memory: a scrape does not sign.
    if *shared.published.borrow()
        && let Ok(checkpoint) = engine.checkpoint(0).await
    {
        moment.checkpoint_size = checkpoint.unverified().size;
    }
    let now = engine.now().seconds();
    moment.events_waiting = engine.events_waiting();
    engine.read(|state| {
        for request in state.requests() {
            match request.life() {
                Life::Pending { .. } => moment.pending += 1,
                Life::Authorized(_) => moment.authorized += 1,
                Life::Issued { .. } => moment.issued += 1,
            }
        }
        if let Some(charter) = state.charter() {
            moment.charter_version = charter.document().version;
            moment.charter_expires = charter.document().expires_at;
            moment.recovered = charter.document().by_recovery;
            let due = state.sightings().watched(charter, now).iter().filter(|key| key.is_due(now)).count();
            moment.keys_to_destroy = state.keys_to_destroy().count().try_into().unwrap_or(u64::MAX);
            moment.keys_due = u32::try_from(due).unwrap_or(u32::MAX);
        }
        moment.still_accepting = state.still_accepting().count() as u64;
        moment.reviews_overdue = u32::try_from(state.reviews().overdue(now)).unwrap_or(u32::MAX);
        moment.announced = state.replacement().announced().len() as u64;
        moment.ended = state.replacement().ended().is_some();
        moment.recoveries =
            state.proposals().filter(|proposal| proposal.rules().document().by_recovery).count() as u64;
    });
    shared.metrics.set(&moment);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], shared.metrics.encode()).into_response()
}

/// Headers of every answer.
async fn common(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
