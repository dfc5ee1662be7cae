//! Revocation hooks: verifiers that keep sessions of their own are told of kills, until they answer.
//!
//! Invariants: at least once, in the order of the log; each verifier has a task of its own, so that one that hangs delays
//! nobody; what is still to be told follows from the log, so a restart goes on where it was. The hook gets the kill under its
//! signature, and need not believe the daemon.

use std::{collections::HashMap, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use super::{Engine, EngineError, probes::cause, start::stopped};
use crate::{
    domain::{
        Command, State,
        hook::Sessions,
        id::{Endpoint, KillId, PrincipalId},
        probe::Answer,
    },
    fetch::Question,
};

/// How often it is looked whether there is somebody to tell.
const LOOK: Duration = Duration::from_millis(500);
/// How long a hook may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of its answer that are read.
const MOST_BYTES: usize = 1 << 16;
/// Pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What is to be told next.
struct Telling {
    place: Endpoint,
    kill: KillId,
    body: Vec<u8>,
}

/// Keeps a task for each verifier that has to be told something, until a stop is asked for.
pub(super) async fn run(engine: Engine, mut stop: watch::Receiver<bool>) {
    let mut tasks: HashMap<PrincipalId, JoinHandle<()>> = HashMap::new();
    let mut killed = engine.killed();
    loop {
        tasks.retain(|_, task| !task.is_finished());
        let waiting: Vec<PrincipalId> = engine.read(|state| {
            let due = state.sessions().filter(|sessions| hook(state, sessions).is_some());
            due.map(|sessions| sessions.verifier.clone()).collect()
        });
        for verifier in waiting {
            tasks.entry(verifier.clone()).or_insert_with(|| tokio::spawn(tell_all(engine.clone(), verifier)));
        }
        tokio::select! {
            () = stopped(&mut stop) => break,
            _ = killed.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    for (_, task) in tasks {
        task.abort();
    }
}

/// Where these sessions can be ended, if that is still to be told.
fn hook<'a>(state: &'a State, sessions: &Sessions) -> Option<&'a Endpoint> {
    let document = state.charter().filter(|_| !sessions.is_told())?.document();
    let verifier = document.verifiers.iter().find(|verifier| verifier.id == sessions.verifier)?;
    verifier.revocation_hook.as_ref()
}

/// Tells one verifier all there is, the oldest kill first.
async fn tell_all(engine: Engine, verifier: PrincipalId) {
    let mut pause = FIRST_PAUSE;
    while let Some(telling) = engine.read(|state| next(state, &verifier)) {
        let question = Question::post(&telling.place, "application/json", telling.body);
        let answer = match engine.fetcher().ask(question, PATIENCE, MOST_BYTES).await {
            Ok(answer) => Answer::of_status(answer.status.as_u16()),
            Err(error) => Answer::Unreachable { status: None, cause: cause(&error) },
        };
        let command = Command::HookTold { verifier: verifier.clone(), kill: telling.kill, answer };
        let recorded = match engine.submit(engine.daemon(), command).await {
            Ok(_) | Err(EngineError::Refused(_)) => true,
            Err(_) => false,
        };
        if matches!(answer, Answer::Accepted { .. }) && recorded {
            tracing::info!(name: "hook.told", %verifier, kill = %telling.kill, "the verifier's revocation hook has answered");
            pause = FIRST_PAUSE;
            continue;
        }
        tracing::error!(name: "hook.failed", %verifier, kill = %telling.kill, answer = answer.as_str(), "ALARM: a verifier's revocation hook does not take a kill: its sessions live on; it is told again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn next(state: &State, verifier: &PrincipalId) -> Option<Telling> {
    let own = state.sessions().filter(|sessions| sessions.verifier == *verifier);
    let due = own.filter_map(|sessions| {
        let recorded = state.kills().get(&sessions.kill)?;
        Some((recorded, sessions, hook(state, sessions)?))
    });
    let (recorded, sessions, place) = due.min_by_key(|(recorded, ..)| recorded.epoch)?;
    let kill: Value = serde_json::from_slice(&recorded.statement.to_json()).ok()?;
    let body =
        json!({"verifier": verifier, "epoch": recorded.epoch, "kill": kill, "requests": sessions.requests});
    Some(Telling { place: place.clone(), kill: sessions.kill, body: serde_json::to_vec(&body).ok()? })
}
