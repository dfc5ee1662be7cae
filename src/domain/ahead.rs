//! What of a replay can be done before its turn, and on another thread: hashing an entry, and verifying its signatures.
//!
//! A [`Scout`] walks the log in order and is cheap. A [`Job`] is the dear part, and needs nothing but itself. What comes
//! of it, a [`Prepared`] entry, is replayed in order again by [`super::replay::Replay::next_prepared`].
//!
//! Invariant: nothing here judges an entry. A statement that was verified counts only if the charter in force at its
//! turn is the one it was verified under; all else, and whatever could not be verified, is verified in turn.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    charter::Rules,
    command::Command,
    decide::MAX_OPEN,
    event::{Entry, Event},
    grant::{Grant, MAX_GRANT_BYTES},
    id::RequestId,
    state::State,
    statement::{SignedAboutRequest, SignedGrant, SignedVerdict},
    time::Timestamp,
};
use crate::{
    jose::{Digest, JoseError, Typ},
    tlog::{Hash, leaf_hash},
};

/// Grants remembered for the verdicts on them: more than can be open at once.
const MAX_GRANTS: usize = 2 * MAX_OPEN;

/// Walks ahead of a replay and notes what verifying an entry's signatures takes.
#[derive(Debug, Default)]
pub struct Scout {
    /// By the newest charter on the way, whether or not it will turn out to be in force.
    rules: Option<Arc<Rules>>,
    grants: BTreeMap<RequestId, Arc<[u8]>>,
    /// In the order in which they were filed.
    filed: VecDeque<RequestId>,
}

/// An entry with all that it takes to verify its signatures.
#[derive(Debug)]
pub struct Job {
    bytes: Vec<u8>,
    entry: Result<Entry, JoseError>,
    rules: Option<Arc<Rules>>,
    /// What a verdict is about.
    grant: Option<Arc<[u8]>>,
}

/// An entry whose turn has come, or will.
#[derive(Debug)]
pub struct Prepared {
    pub(super) entry: Result<Entry, JoseError>,
    pub(super) leaf: Hash,
    pub(super) verified: Option<Verified>,
}

/// The command that an entry's statement is, verified under the charter of this digest.
#[derive(Debug)]
pub(super) struct Verified {
    charter: Digest,
    command: Command,
}

impl Scout {
    /// The next entry of the log.
    pub fn next(&mut self, bytes: Vec<u8>) -> Job {
        let entry = Entry::parse(&bytes);
        let mut grant = None;
        match entry.as_ref().map(|entry| &entry.event) {
            Ok(Event::CharterAdopted { charter }) => {
                self.rules = Rules::parse(&charter.payload).ok().map(Arc::new);
            }
            Ok(Event::RequestFiled { request }) => self.remember(&request.payload),
            Ok(Event::ApprovalRecorded { request_id, .. } | Event::DenialRecorded { request_id, .. }) => {
                grant = self.grants.get(request_id).cloned();
            }
            _ => {}
        }
        Job { bytes, entry, rules: self.rules.clone(), grant }
    }

    fn remember(&mut self, grant: &[u8]) {
        let id = Grant::id_of(grant);
        if grant.len() > MAX_GRANT_BYTES || self.grants.insert(id, grant.into()).is_some() {
            return;
        }
        self.filed.push_back(id);
        if self.filed.len() > MAX_GRANTS
            && let Some(oldest) = self.filed.pop_front()
        {
            self.grants.remove(&oldest);
        }
    }
}

impl Job {
    /// Hashes the entry, and verifies its signatures if that can be done already.
    #[must_use]
    pub fn verify(self) -> Prepared {
        let verified = match (&self.entry, &self.rules) {
            (Ok(entry), Some(rules)) => {
                let command = command(&entry.event, rules, self.grant.as_deref());
                command.map(|command| Verified { charter: rules.digest(), command })
            }
            _ => None,
        };
        Prepared { entry: self.entry, leaf: leaf_hash(&self.bytes), verified }
    }
}

/// The command that the event's statement is, if its signature verifies. Why one does not is said in its turn.
fn command(event: &Event, rules: &Rules, grant: Option<&[u8]>) -> Option<Command> {
    let about = |jws: &crate::jose::GeneralJws, typ| SignedAboutRequest::verify(jws.clone(), rules, typ);
    match event {
        Event::RequestFiled { request } => {
            SignedGrant::verify(request.clone(), rules).ok().map(|signed| Command::File(Box::new(signed)))
        }
        Event::ApprovalRecorded { signature, .. } | Event::DenialRecorded { signature, .. } => {
            let signed = SignedVerdict::verify(grant?, signature.clone(), rules).ok()?;
            Some(Command::Judge(Box::new(signed)))
        }
        Event::RequestWithdrawn { withdrawal } => {
            about(withdrawal, Typ::Withdrawal).ok().map(|signed| Command::Withdraw(Box::new(signed)))
        }
        Event::TokenReleased { redemption } => {
            about(redemption, Typ::Redeem).ok().map(|signed| Command::Redeem(Box::new(signed)))
        }
        _ => None,
    }
}

impl Prepared {
    /// The time of the entry, if it is one.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        self.entry.as_ref().ok().map(|entry| entry.at)
    }

    /// The size at which the entry says that a snapshot was taken.
    #[must_use]
    pub fn snapshot(&self) -> Option<u64> {
        match self.entry.as_ref().ok()?.event {
            Event::SnapshotTaken { size, .. } => Some(size),
            _ => None,
        }
    }
}

impl Verified {
    /// The command, if what it was verified by holds in this state, too.
    pub(super) fn holds(self, state: &State) -> Option<Command> {
        let in_force = state.charter().is_some_and(|charter| charter.digest() == self.charter);
        // A verdict counts only on a request that is open; its id is the digest of the grant that was signed.
        let open = match &self.command {
            Command::Judge(verdict) => state.request(&verdict.request()).is_some(),
            _ => true,
        };
        (in_force && open).then_some(self.command)
    }
}
