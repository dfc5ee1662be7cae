//! What a verifier needs to know of the issuer: discovery and keys.
//!
//! Invariants: `issuer` is byte for byte the `iss` of the charter; only keys that may have signed, or are about to, are
//! listed, active ones first, ES256 before others (some verifiers ignore `kid` and take the first); nothing is named that does not exist.
//! A key that is killed is listed no more from that moment, and in a lockdown none is: whoever fetches the keys anew then
//! accepts no token. A lift of a lockdown brings them back; what was destroyed stays away. Discovery is a function of the charter
//! alone: some verifiers refuse one without algorithms, and would go on with what they have.
//!
//! Spec: `OpenID` Connect Discovery 1.0; RFC 8414; RFC 7517.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{body::Bytes, http::HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value};

use super::operational;
use crate::{
    domain::{
        charter::{Charter, IssuingKey, KeyState, OperationalKey},
        id::Issuer,
        kill::{Kill, Target},
    },
    engine::Engine,
    jose::{Digest, TokenAlg},
};

/// Where the keys are, below the issuer.
pub(super) const JWKS_PATH: &str = "/jwks.json";

pub(super) const OPENID: &str = "/.well-known/openid-configuration";
pub(super) const OAUTH: &str = "/.well-known/oauth-authorization-server";
/// Where a verifier asks about a token, below the issuer.
pub(super) const INTROSPECTION_PATH: &str = "/introspect";
/// Where a token is handed in, below the issuer.
pub(super) const REVOCATION_PATH: &str = "/revoke";
/// How verifiers show their secret there.
const SECRETS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// A document that clients may cache, with its `ETag`.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) bytes: Bytes,
    pub(super) etag: HeaderValue,
}

impl Document {
    /// The tag is the digest of the bytes.
    pub(super) fn new(bytes: Vec<u8>) -> Option<Self> {
        let etag = HeaderValue::try_from(format!("\"{}\"", Digest::of(&bytes))).ok()?;
        Some(Self { bytes: bytes.into(), etag })
    }
}

/// The documents of one charter, while these of its keys are believed.
#[derive(Debug)]
pub(super) struct Documents {
    charter: Digest,
    believed: Vec<Digest>,
    /// What follows the issuer's authority: empty, or a path that begins with a slash.
    pub(super) path: String,
    pub(super) discovery: Document,
    pub(super) jwks: Document,
    /// Those of the issuer of what is said about tokens.
    pub(super) operational: Option<operational::Documents>,
}

/// The newest documents that were asked for.
#[derive(Debug, Default)]
pub(super) struct Cache(RwLock<Option<Arc<Documents>>>);

impl Cache {
    /// The documents of the charter in force; `None` if there is none.
    pub(super) fn current(&self, engine: &Engine) -> Option<Arc<Documents>> {
        let (charter, believed) = believed(engine)?;
        let cached = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(cached) = cached.filter(|cached| cached.charter == charter && cached.believed == believed)
        {
            return Some(cached);
        }
        let parts = engine.read(|state| state.charter().map(parts))?;
        let documents = Arc::new(Documents::new(parts, believed)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&documents));
        Some(documents)
    }
}

/// The charter in force, and those of its keys that nobody has killed: in the log, or as yet in memory only.
fn believed(engine: &Engine) -> Option<(Digest, Vec<Digest>)> {
    let unrecorded: Vec<Target> = if engine.has_unrecorded() {
        let kills = engine.unrecorded();
        kills.iter().filter_map(|jws| Kill::parse(&jws.payload).ok()).map(|kill| kill.target).collect()
    } else {
        Vec::new()
    };
    let stands = |kid: &Digest| !unrecorded.iter().any(|it| *it == Target::All || *it == Target::Key(*kid));
    engine.read(|state| {
        let charter = state.charter()?;
        let kids = charter.document().issuing_keys.iter().map(|key| key.key.thumbprint());
        Some((charter.digest(), kids.filter(|kid| state.is_believed(kid) && stands(kid)).collect()))
    })
}

/// Of the charter, what the documents follow from.
struct Parts {
    charter: Digest,
    issuer: Issuer,
    keys: Vec<IssuingKey>,
    operational: Vec<OperationalKey>,
}

fn parts(charter: &Charter) -> Parts {
    let document = charter.document();
    Parts {
        charter: charter.digest(),
        issuer: document.iss.clone(),
        keys: document.issuing_keys.clone(),
        operational: document.operational_keys.clone(),
    }
}

/// Both documents are the same object: neither spec forbids the other's members.
#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    jwks_uri: String,
    /// There is no authorization endpoint. Both specs demand the member and forbid an empty list; `id_token` is what
    /// issuers say that only have keys to publish, and what verifiers expect of them.
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: Vec<TokenAlg>,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    revocation_endpoint: String,
    /// Whoever has a token may end it, known or not.
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
}

#[derive(Serialize)]
struct Jwks {
    keys: Vec<Map<String, Value>>,
}

impl Documents {
    fn new(parts: Parts, believed: Vec<Digest>) -> Option<Self> {
        let Parts { charter, issuer, mut keys, operational } = parts;
        let issuer = issuer.as_str();
        keys.retain(|key| rank(key.state).is_some());
        // ES256 first: some verifiers ignore `kid`, and know no other. Stable: else the charter's order.
        keys.sort_by_key(|key| (rank(key.state), key.key.alg() != TokenAlg::Es256));
        let algorithms: BTreeSet<TokenAlg> = keys.iter().map(|key| key.key.alg()).collect();
        let metadata = Metadata {
            issuer,
            jwks_uri: format!("{issuer}{JWKS_PATH}"),
            response_types_supported: ["id_token"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: algorithms.into_iter().collect(),
            introspection_endpoint: format!("{issuer}{INTROSPECTION_PATH}"),
            introspection_endpoint_auth_methods_supported: SECRETS,
            revocation_endpoint: format!("{issuer}{REVOCATION_PATH}"),
            revocation_endpoint_auth_methods_supported: ["none", "client_secret_basic", "client_secret_post"],
        };
        let published = keys.iter().filter(|key| believed.contains(&key.key.thumbprint()));
        let jwks = Jwks { keys: published.map(|key| key.key.published()).collect() };
        Some(Self {
            charter,
            path: path_of(issuer).to_owned(),
            discovery: Document::new(serde_json::to_vec(&metadata).ok()?)?,
            jwks: Document::new(serde_json::to_vec(&jwks).ok()?)?,
            operational: operational::Documents::new(&operational),
            believed,
        })
    }
}

/// What follows the authority of a URL without query and fragment.
pub(super) fn path_of(issuer: &str) -> &str {
    let authority = issuer.split_once("://").map_or("", |(_, rest)| rest);
    authority.find('/').and_then(|slash| authority.get(slash..)).unwrap_or_default()
}

/// The place of a key in the list; `None` for those that must not be believed.
fn rank(state: KeyState) -> Option<u8> {
    match state {
        KeyState::Active => Some(0),
        // Until its last token has expired.
        KeyState::Deactivated => Some(1),
        // Announced, so that verifiers have it before its first token.
        KeyState::PreActive => Some(2),
        KeyState::Suspended | KeyState::Compromised | KeyState::Destroyed => None,
    }
}
