//! The status list, signed and ready: whoever asks gets the one that is there.
//!
//! Invariants: nothing is signed because somebody asked; the list is made anew at once when a token has ended before its time,
//! and otherwise once in [`TTL`]; a list past its `exp` is served to nobody, so that a verifier whose daemon cannot sign
//! refuses.
//!
//! Spec: OAuth Token Status List, sections 4.2 and 5.1.

use std::{io::Write as _, sync::Arc, time::Duration};

use flate2::{Compression, write::ZlibEncoder};
use serde::Serialize;
use tokio::sync::watch;

use super::{Engine, EngineError, start::stopped};
use crate::{
    domain::{
        Refusal, State,
        id::Issuer,
        kill::{Kill, Target},
        status,
    },
    jose::{Said, b64, json},
};

/// Seconds for which a verifier may keep a list.
pub const TTL: i64 = 15;
/// Seconds for which a list counts at all: one that could not be renewed for so long is no longer to be relied on.
const LIFE: i64 = 3 * TTL;
/// Between two lists at least, however many tokens end.
const PAUSE: Duration = Duration::from_millis(100);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// A signed list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusList {
    /// The status list token.
    pub jwt: String,
    /// Unix seconds from which on it does not count.
    pub exp: i64,
}

#[derive(Serialize)]
struct Payload {
    exp: i64,
    iat: i64,
    iss: Issuer,
    status_list: Bits,
    sub: String,
    ttl: i64,
}

#[derive(Serialize)]
struct Bits {
    bits: u8,
    lst: String,
}

impl Engine {
    /// The newest status list, if there is one that still counts.
    #[must_use]
    pub fn status_list(&self) -> Option<Arc<StatusList>> {
        let now = self.now().seconds();
        self.shared.operational.list.borrow().clone().filter(|list| now < list.exp)
    }

    /// What kills hit that are in force and that the log has not taken.
    pub(super) fn unrecorded_targets(&self) -> Vec<Target> {
        let kills = self.unrecorded();
        kills.iter().filter_map(|jws| Kill::parse(&jws.payload).ok()).map(|kill| kill.target).collect()
    }
}

/// Keeps a list ready until a stop is asked for.
pub(super) async fn run(engine: Engine, mut stop: watch::Receiver<bool>) {
    let (mut killed, mut ended) = (engine.killed(), engine.shared.ended.subscribe());
    loop {
        killed.mark_unchanged();
        ended.mark_unchanged();
        let wait = match renew(&engine).await {
            Ok(()) => Duration::from_secs(TTL.unsigned_abs()),
            Err(error) => {
                let reason = error.reason();
                let error = &error as &dyn std::error::Error;
                tracing::warn!(name: "status_list.failed", reason, error, "the status list could not be signed; trying again");
                AGAIN
            }
        };
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(wait) => {}
            Ok(()) = killed.changed() => {}
            Ok(()) = ended.changed() => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn renew(engine: &Engine) -> Result<(), EngineError> {
    let now = engine.now().seconds();
    let unrecorded = engine.unrecorded_targets();
    let Some((iss, bits)) = engine.read(|state| bits(state, &unrecorded, now)) else {
        engine.shared.operational.list.send_replace(None);
        return Ok(());
    };
    let (sub, exp) = (status::uri(&iss), now.saturating_add(LIFE));
    let status_list = Bits { bits: 1, lst: b64::encode(&compressed(&bits)?) };
    let payload = Payload { exp, iat: now, iss, status_list, sub, ttl: TTL };
    let payload = json::canonical(&payload).map_err(Refusal::from)?;
    let jwt = engine.say(Said::StatusList, payload).await?;
    engine.shared.operational.list.send_replace(Some(Arc::new(StatusList { jwt, exp })));
    Ok(())
}

/// Who says it, and what; nothing where no profile wants it and no token has a place.
fn bits(state: &State, unrecorded: &[Target], now: i64) -> Option<(Issuer, Vec<u8>)> {
    let document = state.charter()?.document();
    let issuer = document.operational_keys.first()?.iss.clone();
    let is_wanted = document.profiles.iter().any(|profile| profile.status) || !state.places().is_empty();
    is_wanted.then(|| (issuer, status::list(state, unrecorded, now)))
}

fn compressed(bits: &[u8]) -> Result<Vec<u8>, EngineError> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(bits).and_then(|()| encoder.finish());
    // Writing into memory does not fail.
    written.map_err(|error| EngineError::Start(error.to_string()))
}
