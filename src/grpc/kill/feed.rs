//! What all watches of kills are told, prepared once for all of them.
//!
//! Invariants: a tail is made from what is in force at the time of the call, so a kill that was acknowledged is in the next one;
//! whoever asks while nothing has changed gets the same one. Ten thousand watches cost one preparation for each change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{v1, view};
use crate::domain::kill::{Head, Kills};
use crate::engine::Engine;
use crate::jose::{Digest, GeneralJws};
use v1::watch_kills_response::Event;

/// Heads for which what follows stays prepared: watches that have followed so far all stand at the same one.
const MOST_HEADS: usize = 64;

/// Messages that many watches send.
pub(super) type Messages = Arc<[v1::WatchKillsResponse]>;

/// All that can be told at one moment.
pub(super) struct Tail {
    /// What is in force, by the log.
    kills: Arc<Kills>,
    /// In force without being recorded.
    waiting: Arc<Vec<GeneralJws>>,
    unrecorded: Vec<(Digest, v1::WatchKillsResponse)>,
    snapshot: OnceLock<Messages>,
    after: Mutex<BTreeMap<(u64, Digest), Option<Messages>>>,
}

impl Tail {
    fn new(kills: Arc<Kills>, waiting: Arc<Vec<GeneralJws>>) -> Self {
        let tell = |statement: &GeneralJws| {
            (Digest::of(&statement.payload), message(Event::Kill(view::unrecorded(statement))))
        };
        let unrecorded = waiting.iter().map(tell).collect();
        Self { kills, waiting, unrecorded, snapshot: OnceLock::new(), after: Mutex::default() }
    }

    /// Where the chain stands.
    pub(super) fn head(&self) -> Head {
        self.kills.head()
    }

    /// The kill epoch.
    pub(super) fn epoch(&self) -> u64 {
        self.kills.epoch()
    }

    /// What follows on a head; none where only a snapshot helps.
    pub(super) fn since(&self, head: Head) -> Option<Messages> {
        let key = (head.step, head.digest);
        let mut after = self.after.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = after.get(&key) {
            return prepared.clone();
        }
        let steps = self.kills.since(head);
        let messages = steps.map(|steps| steps.iter().map(|step| message(view::step(step))).collect());
        if after.len() < MOST_HEADS {
            after.insert(key, messages.clone());
        }
        messages
    }

    /// All that is in force and all that still matters.
    pub(super) fn snapshot(&self) -> Messages {
        let all = || {
            let lifts = self.kills.lifts().iter().map(|lifted| Event::Lift(view::lift(lifted)));
            let kills = self.kills.standing().map(|recorded| Event::Kill(view::kill(recorded)));
            let begin = [Event::Snapshot(v1::KillSnapshot {})];
            begin.into_iter().chain(lifts).chain(kills).map(message).collect()
        };
        Arc::clone(self.snapshot.get_or_init(all))
    }

    /// Kills in force that the log does not have, by the digest of what was signed.
    pub(super) fn unrecorded(&self) -> &[(Digest, v1::WatchKillsResponse)] {
        &self.unrecorded
    }
}

/// Keeps the newest tail.
#[derive(Default)]
pub(super) struct Feed {
    newest: Mutex<Option<Arc<Tail>>>,
}

impl Feed {
    /// What is to be told now.
    pub(super) fn tail(&self, engine: &Engine) -> Arc<Tail> {
        let (kills, waiting) = (engine.kills(), engine.unrecorded());
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some(tail) if Arc::ptr_eq(&tail.kills, &kills) && Arc::ptr_eq(&tail.waiting, &waiting) => {
                Arc::clone(tail)
            }
            _ => Arc::clone(newest.insert(Arc::new(Tail::new(kills, waiting)))),
        }
    }
}

pub(super) fn message(event: Event) -> v1::WatchKillsResponse {
    v1::WatchKillsResponse { event: Some(event) }
}
