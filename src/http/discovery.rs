//! What a verifier needs to know of the issuer: discovery and keys.
//!
//! Invariants: `issuer` is byte for byte the `iss` of the charter; only keys that may have signed, or are about to, are
//! listed, active ones first, ES256 before others (some verifiers ignore `kid` and take the first); nothing is named that does not exist.
//! A function of the charter alone, made once for each charter.
//!
//! Spec: `OpenID` Connect Discovery 1.0; RFC 8414; RFC 7517.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{body::Bytes, http::HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    domain::{
        charter::{Charter, IssuingKey, KeyState},
        id::Issuer,
    },
    engine::Engine,
    jose::{Digest, TokenAlg},
};

/// Where the keys are, below the issuer.
pub(super) const JWKS_PATH: &str = "/jwks.json";

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

/// The documents of one charter.
#[derive(Debug)]
pub(super) struct Documents {
    charter: Digest,
    /// What follows the issuer's authority: empty, or a path that begins with a slash.
    pub(super) path: String,
    pub(super) discovery: Document,
    pub(super) jwks: Document,
}

/// The documents of the newest charter that was asked for.
#[derive(Debug, Default)]
pub(super) struct Cache(RwLock<Option<Arc<Documents>>>);

impl Cache {
    /// The documents of the charter in force; `None` if there is none.
    pub(super) fn current(&self, engine: &Engine) -> Option<Arc<Documents>> {
        let charter = engine.read(|state| state.charter().map(|charter| charter.digest()))?;
        let cached = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(cached) = cached.filter(|cached| cached.charter == charter) {
            return Some(cached);
        }
        let parts = engine.read(|state| state.charter().map(parts))?;
        let documents = Arc::new(Documents::new(parts)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&documents));
        Some(documents)
    }
}

fn parts(charter: &Charter) -> (Digest, Issuer, Vec<IssuingKey>) {
    let document = charter.document();
    (charter.digest(), document.iss.clone(), document.issuing_keys.clone())
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
}

#[derive(Serialize)]
struct Jwks {
    keys: Vec<Map<String, Value>>,
}

impl Documents {
    fn new((charter, issuer, mut keys): (Digest, Issuer, Vec<IssuingKey>)) -> Option<Self> {
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
        };
        Some(Self {
            charter,
            path: path_of(issuer).to_owned(),
            discovery: Document::new(serde_json::to_vec(&metadata).ok()?)?,
            jwks: Document::new(
                serde_json::to_vec(&Jwks { keys: keys.iter().map(|key| key.key.published()).collect() })
                    .ok()?,
            )?,
        })
    }
}

/// What follows the authority of a URL without query and fragment.
fn path_of(issuer: &str) -> &str {
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
