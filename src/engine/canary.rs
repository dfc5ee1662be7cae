//! Canaries: has those signed that the charter in force wants, as soon as it is adopted.
//!
//! Invariants: as for tokens, nothing is signed that is not in the log and under a signed checkpoint, and what was signed is
//! verified with the charter's key; in the clear a canary exists in this module's memory only. Nobody waits for one: a device that
//! is away is asked again later.

use std::time::Duration;

use tokio::sync::watch;

use super::{Engine, EngineError, issue, start::stopped};
use crate::{
    domain::{
        Command, Refusal, State,
        canary::{self, Canary, CanaryClaims},
        claims::LogPosition,
    },
    jose::{Digest, IssuingPublicKey, P256PublicKey, jwe},
};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Tends the canaries until a stop is asked for. They are encrypted to `seal`.
pub(super) async fn tend(engine: Engine, seal: P256PublicKey, mut stop: watch::Receiver<bool>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let done = tokio::select! {
            () = stopped(&mut stop) => return,
            done = round(&engine, seal) => done,
        };
        let wait = match done {
            Ok(()) => {
                pause = FIRST_PAUSE;
                // A lift is no new charter, and may make one due again.
                LONGEST_PAUSE
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "a canary could not be signed; trying again");
                pause = (pause * 2).min(LONGEST_PAUSE);
                pause
            }
        };
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = engine.shared.adopted.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Authorizes what is due, and has signed what is authorized.
async fn round(engine: &Engine, seal: P256PublicKey) -> Result<(), EngineError> {
    for (verifier, kid) in engine.read(canary::due) {
        match engine.submit(engine.daemon(), Command::Canary { verifier, kid }).await {
            // A killed key, a lockdown, an expired charter: there is nothing to try again.
            Ok(_) | Err(EngineError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let waiting: Vec<Canary> = engine.read(|state| {
        state.canaries().filter(|canary| canary.jwe.is_none() && is_live(state, canary)).cloned().collect()
    });
    for canary in waiting {
        let worker = engine.clone();
        let signed = engine.with_devices(move |turn| {
            let covered = worker.cover(worker.shared.store.size());
            drop(turn);
            covered?;
            sign(&worker, &canary, seal)
        });
        if let Some(command) = signed.await? {
            engine.submit(engine.daemon(), command).await?;
        }
    }
    Ok(())
}

/// Whether the canary is still to be signed: its charter is in force, its key active, and nothing of it was killed.
fn is_live(state: &State, canary: &Canary) -> bool {
    state.charter().is_some_and(|charter| charter.digest() == canary.charter)
        && canary::stopped_by(state, &canary.kid, state.last().seconds()).is_none()
        && !state.is_destroyed(&canary.kid)
}

/// Blocks. The command that records it; nothing where the charter has changed meanwhile.
fn sign(engine: &Engine, canary: &Canary, seal: P256PublicKey) -> Result<Option<Command>, EngineError> {
    let Some((key, claims)) = engine.read(|state| work(state, canary))? else { return Ok(None) };
    if Digest::of(&claims) != canary.claims {
        engine.shared.latch.close("the claims of a canary differ from those in the log");
        return Err(EngineError::Latched("claims differ".into()));
    }
    let Some(jwt) = issue::signed(engine, &key, &claims)? else { return Ok(None) };
    let jwe = jwe::encrypt(jwt.as_bytes(), &seal, &ring::rand::SystemRandom::new()).map_err(Refusal::from)?;
    let (verifier, kid) = (canary.verifier.clone(), canary.kid);
    Ok(Some(Command::CanaryIssued { verifier, kid, jwt: Digest::of(jwt.as_bytes()), jwe }))
}

/// The key that signs it, and the claims computed again.
fn work(state: &State, canary: &Canary) -> Result<Option<(IssuingPublicKey, Vec<u8>)>, EngineError> {
    let Some(charter) = state.charter().filter(|_| is_live(state, canary)) else { return Ok(None) };
    let pair = canary::pair(charter, &canary.verifier, &canary.kid);
    let (Some((verifier, key)), Some(log)) = (pair, charter.document().log_keys.first()) else {
        return Ok(None);
    };
    let position = LogPosition { origin: log.origin.clone(), index: canary.index };
    let claims = CanaryClaims::new(charter, verifier, &canary.kid, canary.iat, position);
    Ok(Some((key.key.clone(), claims.to_bytes().map_err(Refusal::from)?)))
}
