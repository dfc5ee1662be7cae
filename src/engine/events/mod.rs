//! Security events on their way to verifiers: pushed to those that the charter gives a place for it, fetched by the others.
//!
//! Invariants: what is to be told follows from the state; kept beside it is only what was taken already, for each verifier,
//! in a file that may be lost: then events are told again, under the same id. An event is signed once and kept until it is
//! taken; one verifier that hangs or refuses delays no other, and nothing else the daemon does.
//!
//! Specs: RFC 8417, RFC 8935 (push), RFC 8936 (poll).

mod push;
mod taken;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use super::{Engine, EngineError};
use crate::{
    domain::{
        Refusal,
        charter::Verifier,
        id::PrincipalId,
        security_event::{Due, due},
    },
    jose::{Digest, Said},
};
pub(super) use push::run;

/// What is known of each verifier's events.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Where it is kept what was taken; in memory alone without.
    folder: Option<PathBuf>,
    books: Mutex<BTreeMap<PrincipalId, Book>>,
}

/// One verifier's.
#[derive(Debug, Clone, Default)]
struct Book {
    taken: taken::Taken,
    /// Those that were signed and not taken yet.
    signed: BTreeMap<Digest, String>,
}

impl Events {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, books: Mutex::default() }
    }

    fn with<T>(&self, verifier: &PrincipalId, work: impl FnOnce(&mut Book) -> T) -> T {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh =
            || Book { taken: taken::Taken::read(self.folder.as_deref(), verifier), ..Book::default() };
        work(books.entry(verifier.clone()).or_insert_with(fresh))
    }
}

impl Engine {
    /// The events that this verifier has not taken, the oldest first.
    fn untaken(&self, verifier: &Verifier) -> Vec<Due> {
        let all = self.read(|state| due(state, verifier));
        self.shared.operational.events.with(&verifier.id, |book| {
            book.taken.keep(&all);
            book.signed.retain(|id, _| all.iter().any(|due| due.id == *id));
            all.into_iter().filter(|due| !book.taken.has(&due.id)).collect()
        })
    }

    /// How many events wait to be pushed: those that verifiers fetch are theirs to fetch.
    #[must_use]
    pub fn events_waiting(&self) -> u64 {
        let Ok(charter) = self.charter() else { return 0 };
        if charter.document().operational_keys.is_empty() {
            return 0;
        }
        let verifiers = charter.document().verifiers.iter();
        let told = verifiers.filter(|verifier| verifier.events.is_some());
        told.map(|verifier| self.untaken(verifier).len() as u64).sum()
    }

    /// At most so many events for a verifier that fetches them, each as a signed SET under its id, and whether there are
    /// more. What it says that it has taken is not given again.
    pub async fn poll_events(
        &self,
        verifier: &Verifier,
        taken: &[Digest],
        most: usize,
    ) -> Result<(Vec<(Digest, String)>, bool), EngineError> {
        self.take_events(verifier, taken).await;
        let waiting = self.untaken(verifier);
        let mut found = Vec::new();
        for due in waiting.iter().take(most) {
            found.push((due.id, self.signed_event(verifier, due).await?));
        }
        Ok((found, waiting.len() > most))
    }

    /// The SET of an event, signed at most once.
    async fn signed_event(&self, verifier: &Verifier, due: &Due) -> Result<String, EngineError> {
        let known =
            self.shared.operational.events.with(&verifier.id, |book| book.signed.get(&due.id).cloned());
        if let Some(set) = known {
            return Ok(set);
        }
        let issuer = self.operational_issuer().ok_or(EngineError::NoOperationalKey)?;
        let payload = due.to_bytes(&issuer, self.now().seconds()).map_err(Refusal::from)?;
        let set = self.say(Said::SecurityEvent, payload).await?;
        self.shared.operational.events.with(&verifier.id, |book| book.signed.insert(due.id, set.clone()));
        Ok(set)
    }

    /// Notes that a verifier has taken these, and keeps that in its file.
    async fn take_events(&self, verifier: &Verifier, ids: &[Digest]) {
        if ids.is_empty() {
            return;
        }
        let all = self.read(|state| due(state, verifier));
        let text = self.shared.operational.events.with(&verifier.id, |book| {
            let known = all.iter().map(|due| due.id).filter(|id| ids.contains(id));
            let known: Vec<Digest> = known.collect();
            for id in &known {
                book.signed.remove(id);
            }
            book.taken.note(&known)
        });
        let (Some(text), Some(folder)) = (text, self.shared.operational.events.folder.clone()) else {
            return;
        };
        let verifier = verifier.id.clone();
        let written = super::blocking(move || taken::write(&folder, &verifier, &text)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "which security events were taken could not be kept: after a restart they are told again");
        }
    }
}
