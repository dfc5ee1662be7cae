//! Showing a verifier something: the canary, and before it a token that nobody has signed.
//!
//! Invariants: the canary is in the clear in this module's memory and on its way to the verifier only; nothing of what is sent or
//! answered is logged; an answer is read up to a limit and under a deadline.

use std::{sync::Arc, time::Duration};

use p256::SecretKey;
use zeroize::Zeroizing;

use crate::{
    domain::{
        Refusal,
        canary::Canary,
        charter::Probe,
        probe::{Answer, Cause, POKE_RANDOM, poke},
    },
    engine::{Engine, EngineError},
    fetch::{FetchError, Fetcher, Question},
    jose::{P256PublicKey, TokenAlg, jwe},
};

/// How long a verifier may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read: only its status matters.
const MOST_BYTES: usize = 1 << 20;
/// Where a body takes the token.
const PLACE: &str = "{jwt}";

/// The daemon's own key, to which canaries are encrypted.
#[derive(Clone)]
pub struct CanaryKey(Arc<SecretKey>);

impl std::fmt::Debug for CanaryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CanaryKey(…)")
    }
}

impl CanaryKey {
    /// Takes the key over; it is wiped when the last copy is dropped.
    #[must_use]
    pub fn new(secret: SecretKey) -> Self {
        Self(Arc::new(secret))
    }

    pub(in crate::engine) fn public(&self) -> Result<P256PublicKey, EngineError> {
        Ok(P256PublicKey::try_from(&self.0.public_key()).map_err(Refusal::from)?)
    }

    fn open(&self, jwe: &str) -> Option<Zeroizing<String>> {
        let bytes = jwe::decrypt(jwe, &self.0).ok()?;
        std::str::from_utf8(&bytes).ok().map(|jwt| Zeroizing::new(jwt.to_owned()))
    }
}

/// What is shown to whom.
struct Showing {
    probe: Probe,
    alg: TokenAlg,
    jwt: Zeroizing<String>,
}

/// Shows a verifier what nobody signed, and then its canary. `None` where that cannot be: the charter says no more how, or the
/// canary was made by another daemon.
pub(super) async fn show(engine: &Engine, key: &CanaryKey, canary: &Canary) -> Option<Answer> {
    let fetcher = engine.fetcher();
    let showing = showing(engine, key, canary)?;
    let mut random = [0; POKE_RANDOM];
    getrandom::fill(&mut random).ok()?;
    let poke = poke(&showing.jwt, showing.alg, &random).ok()?;
    let poked = ask(fetcher, &showing.probe, &poke).await;
    Some(match (poked, ask(fetcher, &showing.probe, &showing.jwt).await) {
        (Answer::Accepted { .. }, Answer::Accepted { status }) => Answer::Indiscriminate { status },
        (_, answer) => answer,
    })
}

fn showing(engine: &Engine, key: &CanaryKey, canary: &Canary) -> Option<Showing> {
    let (probe, alg, jwe) = engine.read(|state| {
        let document = state.charter()?.document();
        let verifier = document.verifiers.iter().find(|verifier| verifier.id == canary.verifier)?;
        let issuing = document.issuing_keys.iter().find(|key| key.key.thumbprint() == canary.kid)?;
        Some((verifier.probe.clone()?, issuing.key.alg(), canary.jwe.clone()?))
    })?;
    Some(Showing { probe, alg, jwt: key.open(&jwe)? })
}

async fn ask(fetcher: &Fetcher, probe: &Probe, jwt: &str) -> Answer {
    let question = match &probe.body {
        Some(body) => Question::post(&probe.url, "application/json", body.replace(PLACE, jwt)),
        None => Question::get(&probe.url).bearer(jwt),
    };
    match fetcher.ask(question, PATIENCE, MOST_BYTES).await {
        Ok(answer) => Answer::of_status(answer.status.as_u16()),
        Err(error) => Answer::Unreachable { status: None, cause: cause(&error) },
    }
}

/// Why there is no answer.
pub(in crate::engine) const fn cause(error: &FetchError) -> Cause {
    match error {
        FetchError::Unreachable { .. } => Cause::Connection,
        FetchError::Late { .. } => Cause::Late,
        FetchError::TooLong { .. } => Cause::TooLong,
        FetchError::Question { .. } => Cause::Request,
    }
}
