//! Whether a request may pass: a function of the request, the configuration, what is known, and the time.
//!
//! Invariants:
//! - Nothing passes without a token that strict verification accepts *now*, by the newest charter and the newest kills. What is
//!   remembered between two requests are signatures that verified ([`Memory`]), never a verdict.
//! - The one who shows the token has shown that he holds the key it is bound to.
//! - The token's details cover exactly what the request does.
//!
//! Nothing here does input or output or reads a clock, so it can be measured and tested without a socket.

mod cache;
mod proof;
mod refusal;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache::Cache;
pub use proof::{About, ProofError};
use proof::{Use, Used};
pub use refusal::{Kind, Refusal};

use super::{
    clock::Moment,
    config::GateConfig,
    map::{Map, Path},
    view::Known,
};
use crate::{
    domain::{
        detail::Need,
        grant::Confirmation,
        id::Audience,
        strict::{self, Accepted, Rejection, Seen},
    },
    jose::{Digest, DpopProof},
};

/// What does not change while a gate runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The only audience it serves.
    pub audience: Audience,
    /// Whether tokens under a development charter are accepted.
    pub development: bool,
    /// Milliseconds for which a view is relied on.
    pub max_stale: i64,
    /// Which requests need what.
    pub map: Map,
    /// When the process started.
    pub started: Moment,
}

impl Settings {
    /// Of this configuration, for a process that starts now.
    #[must_use]
    pub fn new(config: &GateConfig, started: Moment) -> Self {
        Self {
            audience: config.audience.clone(),
            development: config.development,
            max_stale: config.max_stale,
            map: config.map.clone(),
            started,
        }
    }
}

/// What a gate remembers of the requests before; bounded, whatever they were.
#[derive(Debug, Default)]
pub struct Memory {
    cache: Mutex<Cache>,
    seen: Mutex<Seen>,
    used: Mutex<Used>,
}

impl Memory {
    /// Tokens and proofs that are remembered.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (lock(&self.cache).len(), lock(&self.used).len())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An HTTP request, as a trusted proxy describes it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// `https` or `http`; only a DPoP proof needs it.
    pub scheme: Option<&'a str>,
    /// Host, and port if it is not the scheme's own.
    pub host: Option<&'a str>,
    /// The target as it was sent: path and query.
    pub target: &'a str,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The `DPoP` header.
    pub dpop: Option<&'a str>,
    /// SHA-256 of the client's certificate, where its connection showed one.
    pub certificate: Option<Digest>,
}

/// How the token was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: DPoP`.
    Dpop,
}

/// What was shown to prove that the token is in the right hands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Possession<'a> {
    /// SHA-256 of the client's certificate on a connection whose handshake it made.
    pub certificate: Option<Digest>,
    /// Thumbprint of the key of such a certificate, where the key itself is what a token may be bound to (tunnels).
    pub key: Option<Digest>,
    /// A DPoP proof and what it has to be about.
    pub dpop: Option<(&'a str, About<'a>)>,
}

/// What passes.
#[derive(Debug, Clone)]
pub struct Pass {
    /// The token.
    pub token: Arc<Accepted>,
    /// For what.
    pub need: Need,
}

/// Decides an HTTP request.
pub fn decide(
    settings: &Settings,
    request: &Request<'_>,
    known: &Known,
    memory: &Memory,
    now: Moment,
) -> Result<Pass, Refusal> {
    fresh(settings, known, now)?;
    let path = Path::parse(request.target)?;
    let (scheme, token) = authorization(request.authorization)?;
    let need = settings.map.need(request.method, request.host, &path).ok_or(Refusal::Unmapped)?;
    let dpop = match (request.dpop, scheme) {
        (Some(proof), Scheme::Dpop) => {
            let host = request.host.ok_or(Refusal::Unsaid("host"))?;
            let scheme = request.scheme.ok_or(Refusal::Unsaid("scheme"))?;
            let token = Digest::of(token.as_bytes());
            Some((proof, About { method: request.method, scheme, host, path: &path, token }))
        }
        _ => None,
    };
    let possession = Possession { certificate: request.certificate, key: None, dpop };
    judge(settings, token, Some(scheme), &possession, need, known, memory, now)
}

/// Decides whether a token, shown with this possession, allows this. `scheme` is none where no HTTP is spoken.
#[expect(
    clippy::too_many_arguments,
    reason = "a function of everything that it depends on, and of nothing else"
)]
pub fn judge(
    settings: &Settings,
    token: &str,
    scheme: Option<Scheme>,
    possession: &Possession<'_>,
    need: Need,
    known: &Known,
    memory: &Memory,
    now: Moment,
) -> Result<Pass, Refusal> {
    fresh(settings, known, now)?;
    let accepted = verify(settings, token, known, memory, now)?;
    bound(settings, &accepted, scheme, possession, memory, now)?;
    if !accepted.claims.authorization_details.iter().any(|detail| detail.covers(&need)) {
        return Err(Refusal::Details);
    }
    Ok(Pass { token: accepted, need })
}

/// Whether what passed still may, for connections that stay open.
pub fn still_stands(
    settings: &Settings,
    token: &Accepted,
    known: &Known,
    memory: &Memory,
    now: Moment,
) -> Result<(), Refusal> {
    fresh(settings, known, now)?;
    stands(settings, token, known, memory, now)
}

/// Whether the view can be relied on: a daemon was heard lately, and the clocks agree.
pub fn fresh(settings: &Settings, known: &Known, now: Moment) -> Result<(), Refusal> {
    let age = known.age(now).ok_or(Refusal::Unheard)?;
    if age > settings.max_stale {
        return Err(Refusal::Stale { age: age / 1000, max_stale: settings.max_stale / 1000 });
    }
    if known.is_clock_right() { Ok(()) } else { Err(Refusal::Clock(known.ahead() / 1000)) }
}

/// Exactly one token, by one of the two schemes.
pub(super) fn authorization(header: Option<&str>) -> Result<(Scheme, &str), Refusal> {
    let header = header.filter(|header| !header.is_empty()).ok_or(Refusal::NoToken)?;
    let (scheme, token) = header.split_once(' ').ok_or(Refusal::Authorization)?;
    let token = token.trim_start_matches(' ');
    // The characters of RFC 6750's b64token that a JWT has.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if token.is_empty() || !token.bytes().all(plain) {
        return Err(Refusal::Authorization);
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok((Scheme::Bearer, token))
    } else if scheme.eq_ignore_ascii_case("dpop") {
        Ok((Scheme::Dpop, token))
    } else {
        Err(Refusal::Authorization)
    }
}

/// The token, if it is accepted now.
fn verify(
    settings: &Settings,
    token: &str,
    known: &Known,
    memory: &Memory,
    now: Moment,
) -> Result<Arc<Accepted>, Refusal> {
    let digest = Digest::of(token.as_bytes());
    let remembered = lock(&memory.cache).get(&digest);
    let accepted = match &remembered {
        Some(accepted) => Arc::clone(accepted),
        None => Arc::new(strict::read(token, &known.charter, &settings.audience)?),
    };
    stands(settings, &accepted, known, memory, now)?;
    if remembered.is_none() {
        lock(&memory.cache).put(digest, Arc::clone(&accepted));
    }
    Ok(accepted)
}

fn stands(
    settings: &Settings,
    token: &Accepted,
    known: &Known,
    memory: &Memory,
    now: Moment,
) -> Result<(), Refusal> {
    stands_within(settings, token, known, memory, now, settings.max_stale)
}

/// Whether the token stands by what was heard within so many milliseconds.
pub(super) fn stands_within(
    settings: &Settings,
    token: &Accepted,
    known: &Known,
    memory: &Memory,
    now: Moment,
    within: i64,
) -> Result<(), Refusal> {
    let view = strict::View {
        charter: &known.charter,
        audience: &settings.audience,
        now: now.seconds(),
        allow_development: settings.development,
        // What was killed is judged below, by several views, whose age the forward clock tells.
        killed: None,
    };
    token.stands(&view, &mut lock(&memory.seen))?;
    match known.stopped_by(&token.subject(), token.claims.iat, now, within) {
        None => Ok(()),
        Some(target) => Err(Rejection::Killed(target).into()),
    }
}

/// Whether the token is in the hands that it is bound to.
fn bound(
    settings: &Settings,
    accepted: &Accepted,
    scheme: Option<Scheme>,
    possession: &Possession<'_>,
    memory: &Memory,
    now: Moment,
) -> Result<(), Refusal> {
    let jkt = match accepted.claims.cnf {
        Confirmation::Certificate(_) if scheme == Some(Scheme::Dpop) => {
            return Err(Refusal::Scheme("it is bound to a certificate: show it as Bearer"));
        }
        Confirmation::Certificate(expected) => {
            let shown = possession.certificate.ok_or(Refusal::NoCertificate)?;
            return if shown == expected { Ok(()) } else { Err(Refusal::OtherCertificate) };
        }
        Confirmation::Jkt(jkt) if possession.key == Some(jkt) => return Ok(()),
        // No HTTP, so no proof: the key of the connection is all that can be shown.
        Confirmation::Jkt(_) if scheme.is_none() && possession.dpop.is_none() => {
            return Err(Refusal::OtherTlsKey);
        }
        Confirmation::Jkt(_) if scheme == Some(Scheme::Bearer) => {
            return Err(Refusal::Scheme("it is bound to a key: show it as DPoP, with a proof"));
        }
        Confirmation::Jkt(jkt) => jkt,
    };
    let (text, about) = possession.dpop.ok_or(Refusal::NoProof)?;
    let proof = DpopProof::parse(text).map_err(ProofError::Malformed)?;
    if proof.jkt() != jkt {
        return Err(Refusal::OtherKey);
    }
    about.check(&proof, now, settings.started)?;
    proof.verify().map_err(|_| ProofError::Signature)?;
    match lock(&memory.used).admit(&jkt, &proof.claims.jti, now) {
        Use::First => Ok(()),
        Use::Again => Err(Refusal::Replayed),
        Use::Full => Err(Refusal::TooManyProofs),
    }
}
