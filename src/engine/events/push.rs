//! Security events pushed to the verifiers that the charter gives a place for.
//!
//! Invariants: each verifier has a task and a pause of its own; what is not taken is sent again, ever more rarely, for as long
//! as it matters; an event that its receiver refuses keeps no other from it.
//!
//! Spec: RFC 8935.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    domain::{
        charter::Verifier,
        id::{Endpoint, PrincipalId},
    },
    engine::{Engine, EngineError, start::stopped},
    fetch::Question,
};

/// How often it is looked whether there is something to push, besides when something has ended.
const LOOK: Duration = Duration::from_millis(500);
/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that are read of its answer.
const MAX_ANSWER: usize = 8 * 1024;
/// Events of one round.
const ROUND: usize = 64;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const MEDIA_TYPE: &str = "application/secevent+jwt";

/// A verifier that has failed to take an event.
#[derive(Debug, Clone, Copy)]
struct Waits {
    pause: Duration,
    due: Instant,
}

/// Pushes until a stop is asked for.
pub(in crate::engine) async fn run(engine: Engine, mut stop: watch::Receiver<bool>) {
    let (mut killed, mut ended) = (engine.killed(), engine.shared.ended.subscribe());
    let mut waits: BTreeMap<PrincipalId, Waits> = BTreeMap::new();
    let mut busy: BTreeMap<PrincipalId, Endpoint> = BTreeMap::new();
    let mut rounds = JoinSet::new();
    loop {
        for (verifier, place) in places(&engine) {
            let rests = waits.get(&verifier.id).is_some_and(|waits| waits.due > now());
            if rests || busy.contains_key(&verifier.id) || engine.untaken(&verifier).is_empty() {
                continue;
            }
            busy.insert(verifier.id.clone(), place.clone());
            let engine = engine.clone();
            rounds.spawn(async move {
                let done = round(&engine, &verifier, &place).await;
                (verifier.id, done)
            });
        }
        tokio::select! {
            () = stopped(&mut stop) => return,
            Some(ended) = rounds.join_next() => {
                let Ok((verifier, done)) = ended else { continue };
                busy.remove(&verifier);
                note(&mut waits, verifier, done);
            }
            () = tokio::time::sleep(LOOK) => {}
            Ok(()) = killed.changed() => {}
            Ok(()) = ended.changed() => {}
        }
    }
}

fn note(waits: &mut BTreeMap<PrincipalId, Waits>, verifier: PrincipalId, done: Result<(), NotTaken>) {
    match done {
        Ok(()) => {
            waits.remove(&verifier);
        }
        Err(why) => {
            let pause = waits.get(&verifier).map_or(FIRST_PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
            tracing::warn!(name: "security_event.not_taken", %verifier, reason = why.reason, status = why.status, "a verifier has not taken a security event; it is sent again");
            waits.insert(verifier, Waits { pause, due: now() + pause });
        }
    }
}

/// Pauses are measured by a clock that nobody sets.
fn now() -> Instant {
    Instant::now()
}

/// Why something was not taken.
#[derive(Debug, Clone, Copy)]
struct NotTaken {
    reason: &'static str,
    status: u16,
}

impl From<EngineError> for NotTaken {
    fn from(error: EngineError) -> Self {
        Self { reason: error.reason(), status: 0 }
    }
}

fn places(engine: &Engine) -> Vec<(Verifier, Endpoint)> {
    let Ok(charter) = engine.charter() else { return Vec::new() };
    let verifiers = charter.document().verifiers.iter();
    verifiers.filter_map(|verifier| Some((verifier.clone(), verifier.events.clone()?))).collect()
}

/// Sends what waits, until the receiver cannot be reached; what it refuses is passed over and sent again later.
async fn round(engine: &Engine, verifier: &Verifier, place: &Endpoint) -> Result<(), NotTaken> {
    let mut refused = Ok(());
    for due in engine.untaken(verifier).into_iter().take(ROUND) {
        let set = engine.signed_event(verifier, &due).await?;
        let question = Question::post(place, MEDIA_TYPE, set);
        match engine.fetcher().ask(question, PATIENCE, MAX_ANSWER).await {
            Ok(answer) if matches!(answer.status.as_u16(), 200 | 202) => {
                engine.take_events(verifier, &[due.id]).await;
            }
            // RFC 8935 section 2.3: this SET is refused; others may be taken.
            Ok(answer) if answer.status.as_u16() == 400 => {
                refused = Err(NotTaken { reason: "SET_REFUSED", status: 400 });
            }
            Ok(answer) => return Err(NotTaken { reason: "NOT_ACCEPTED", status: answer.status.as_u16() }),
            Err(error) => return Err(NotTaken { reason: error.reason(), status: 0 }),
        }
    }
    refused
}
