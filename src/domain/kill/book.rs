//! The kills and lifts of a log, and what they stop: one value for the daemon's state and for a verifier's view.
//!
//! Invariants: the index equals what `Index::of` makes of the rest; a kill of one token or request is forgotten once
//! nothing it names can be alive, any other stays until it is lifted; a lift is remembered for as long as a token minted
//! before it could live, and the ids it names for ever. The head is that of the chain over all of them, the forgotten ones
//! included. A copy is cheap: it shares the statements.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    Head, Kill, KillRefusal, Lift, SignedKill, SignedLift, Subject, Target,
    index::{Index, floors},
    stored::{Stored, StoredKill},
};
use crate::{
    domain::{
        grant::MAX_TTL,
        id::KillId,
        time::{SKEW, Timestamp},
    },
    jose::{Digest, GeneralJws},
};

/// Kills of single tokens and requests in force at most.
pub const MAX_SINGLE: usize = 16_384;
/// Kills of one target in force at most: it is stopped by the first.
pub const MAX_PER_TARGET: usize = 64;
/// Seconds for which a kill of an unknown request is kept: none that was signed before could be alive after them, with a
/// week for approvals, a day for the token, and clocks that differ.
pub const UNKNOWN_FOR: i64 = 8 * 86_400 + 4 * SKEW;

/// What has been killed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Kills {
    pub(super) epoch: u64,
    pub(super) head: Head,
    pub(super) standing: BTreeMap<KillId, Arc<Recorded>>,
    pub(super) lifts: Vec<Lifted>,
    pub(super) dead: BTreeSet<KillId>,
    pub(super) suspended: BTreeSet<Digest>,
    pub(super) index: Index,
}

/// A kill in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredKill", into = "StoredKill")]
pub struct Recorded {
    /// What was signed.
    pub kill: Kill,
    /// Under its signature.
    pub statement: GeneralJws,
    /// The epoch that it began.
    pub epoch: u64,
    /// Its place in the chain; the beginning where that is not known.
    pub head: Head,
    /// When it was recorded.
    pub at: Timestamp,
    /// Unix seconds after which it is forgotten: for one token or request.
    pub until: Option<i64>,
}

/// A lift, for as long as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifted {
    /// Under its signatures.
    pub statement: GeneralJws,
    /// The kills it ended.
    pub kills: Vec<Arc<Recorded>>,
    /// The epoch in which it was recorded.
    pub epoch: u64,
    /// Its place in the chain; the beginning where that is not known.
    pub head: Head,
    /// When it was recorded.
    pub at: Timestamp,
    /// Tokens of what was killed count if minted after this second (Unix).
    pub since: i64,
}

/// One step of the chain.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// A kill.
    Kill(&'a Recorded),
    /// A lift.
    Lift(&'a Lifted),
}

impl Step<'_> {
    /// The head after it.
    #[must_use]
    pub const fn head(&self) -> Head {
        match self {
            Self::Kill(recorded) => recorded.head,
            Self::Lift(lifted) => lifted.head,
        }
    }

    fn follows(&self, head: Head) -> bool {
        let next = match self {
            Self::Kill(recorded) => head.kill(&recorded.statement, recorded.epoch, recorded.at),
            Self::Lift(lifted) => head.lift(&lifted.statement, lifted.epoch, lifted.at),
        };
        next == self.head()
    }
}

impl Kills {
    /// The kill epoch: how many kills there have been.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Where the chain over all kills and lifts stands.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Every step after this head, in order; none where the head is not one of this chain, or a step is forgotten.
    #[must_use]
    pub fn since(&self, head: Head) -> Option<Vec<Step<'_>>> {
        let missing = usize::try_from(self.head.step.checked_sub(head.step)?).ok()?;
        if missing == 0 {
            return (head == self.head).then(Vec::new);
        }
        let standing = self.standing.values().map(Arc::as_ref);
        let ended = self.lifts.iter().flat_map(|lifted| &lifted.kills).map(Arc::as_ref);
        let all = standing.chain(ended).map(Step::Kill).chain(self.lifts.iter().map(Step::Lift));
        let mut later: Vec<Step<'_>> = all.filter(|one| one.head().step > head.step).collect();
        later.sort_unstable_by_key(|one| one.head().step);
        let leads = later.first().is_some_and(|first| first.follows(head));
        (leads && later.len() == missing).then_some(later)
    }

    /// Whether this can have been a head of this chain: false only where another one is known for its step.
    #[must_use]
    pub fn may_have(&self, head: Head) -> bool {
        if head.step >= self.head.step {
            return head == self.head;
        }
        let standing = self.standing.values().map(|recorded| recorded.head);
        let ended = self.lifts.iter().flat_map(|lifted| &lifted.kills).map(|recorded| recorded.head);
        let mut known = standing.chain(ended).chain(self.lifts.iter().map(|lifted| lifted.head));
        known.find(|known| known.step == head.step).is_none_or(|known| known == head)
    }

    /// Kills in force, the oldest first.
    pub fn standing(&self) -> impl Iterator<Item = &Recorded> {
        let mut all: Vec<&Recorded> = self.standing.values().map(Arc::as_ref).collect();
        all.sort_unstable_by_key(|recorded| recorded.epoch);
        all.into_iter()
    }

    /// A kill in force.
    #[must_use]
    pub fn get(&self, id: &KillId) -> Option<&Recorded> {
        self.standing.get(id).map(Arc::as_ref)
    }

    /// Lifts after which a token minted before could still be alive.
    #[must_use]
    pub fn lifts(&self) -> &[Lifted] {
        &self.lifts
    }

    /// Whether a kill of this id was lifted.
    #[must_use]
    pub fn was_lifted(&self, id: &KillId) -> bool {
        self.dead.contains(id)
    }

    /// Whether a lift has taken the right to kill from this key.
    #[must_use]
    pub fn is_suspended(&self, kid: &Digest) -> bool {
        self.suspended.contains(kid)
    }

    /// Whether everything is stopped.
    #[must_use]
    pub fn is_lockdown(&self) -> bool {
        self.stands(&Target::All)
    }

    /// Whether nothing was ever killed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.epoch == 0
    }

    /// Whether a kill of exactly this target is in force.
    #[must_use]
    pub fn stands(&self, target: &Target) -> bool {
        self.index.targets.contains_key(target)
    }

    /// Whether what happens at this second, or was minted at it, is stopped by a kill of this target, one that was lifted
    /// later included.
    #[must_use]
    pub fn stops(&self, target: &Target, at: i64) -> bool {
        self.stands(target) || self.index.floors.get(target).is_some_and(|since| at <= *since)
    }

    /// The widest target by which this is stopped.
    #[must_use]
    pub fn stopped_by(&self, subject: &Subject<'_>, at: i64) -> Option<Target> {
        if self.index.is_empty() {
            return None;
        }
        subject.targets().find(|target| self.stops(target, at))
    }

    /// Refuses what is stopped.
    pub fn refuse(&self, subject: &Subject<'_>, at: i64) -> Result<(), KillRefusal> {
        self.stopped_by(subject, at).map_or(Ok(()), |target| Err(KillRefusal::killed(&target)))
    }

    /// Refuses a key that is stopped.
    pub fn refuse_key(&self, kid: &Digest, at: i64) -> Result<(), KillRefusal> {
        let target = Target::Key(*kid);
        if self.stops(&target, at) { Err(KillRefusal::killed(&target)) } else { Ok(()) }
    }

    /// Whether the lift ends lockdowns and nothing else.
    pub(in crate::domain) fn ends_lockdown_only(&self, lift: &Lift) -> bool {
        let target = |id| self.get(id).map(|recorded| &recorded.kill.target);
        lift.suspend.is_empty() && lift.kills.iter().all(|id| target(id) == Some(&Target::All))
    }

    /// Whether there is room for one more of this target. Half of the room for single ones is custodians' alone, so that
    /// no automation that runs wild keeps them out.
    pub(in crate::domain) fn has_room(&self, target: &Target, by_custodian: bool) -> bool {
        let same = self.index.targets.get(target).copied().unwrap_or(0);
        let singles = if by_custodian { MAX_SINGLE } else { MAX_SINGLE / 2 };
        same < MAX_PER_TARGET && (target.request().is_none() || self.index.singles < singles)
    }

    /// Takes in a kill whose authority was checked.
    pub(in crate::domain) fn record(&mut self, signed: &SignedKill, at: Timestamp, until: Option<i64>) {
        self.epoch += 1;
        self.head = self.head.kill(signed.jws(), self.epoch, at);
        let (kill, statement) = (signed.about().clone(), signed.jws().clone());
        self.insert(Recorded { kill, statement, epoch: self.epoch, head: self.head, at, until });
    }

    pub(super) fn insert(&mut self, recorded: Recorded) {
        if let Some(old) = self.standing.remove(&recorded.kill.id) {
            self.index.leave(&old);
        }
        self.index.enter(&recorded);
        self.standing.insert(recorded.kill.id, Arc::new(recorded));
    }

    /// Takes in a lift whose authority was checked.
    pub(in crate::domain) fn lift(&mut self, signed: &SignedLift, at: Timestamp) {
        self.head = self.head.lift(signed.jws(), self.epoch, at);
        self.end(signed, self.head, at);
    }

    pub(super) fn end(&mut self, signed: &SignedLift, head: Head, at: Timestamp) {
        let lift: &Lift = signed.lift();
        let mut kills = Vec::new();
        for id in &lift.kills {
            if let Some(recorded) = self.standing.remove(id) {
                self.index.leave(&recorded);
                kills.push(recorded);
            }
            self.dead.insert(*id);
        }
        self.suspended.extend(&lift.suspend);
        let newest_kill = kills.iter().map(|recorded| recorded.at.seconds()).max().unwrap_or(0);
        let since = signed.times().map_or(0, |(_, newest)| newest).max(newest_kill);
        let (statement, epoch) = (signed.jws().clone(), self.epoch);
        self.lifts.push(Lifted { statement, kills, epoch, head, at, since });
        self.index.floors = floors(&self.lifts);
    }

    pub(in crate::domain) fn has_suspended(&self) -> bool {
        !self.suspended.is_empty()
    }

    /// A new charter: whoever it lists has the rights it gives.
    pub(in crate::domain) fn charter_changed(&mut self) {
        self.suspended.clear();
    }

    /// Whether [`Self::forget`] would drop anything.
    #[must_use]
    pub fn has_forgettable(&self, now: i64) -> bool {
        self.index.ends.first().is_some_and(|(until, _)| *until < now)
            || self.lifts.iter().any(|lifted| is_over(lifted, now))
    }

    /// Drops what cannot matter at or after `now`, Unix seconds.
    pub fn forget(&mut self, now: i64) {
        while let Some((until, id)) = self.index.ends.first().copied().filter(|(until, _)| *until < now) {
            self.index.ends.remove(&(until, id));
            if let Some(recorded) = self.standing.remove(&id) {
                self.index.leave(&recorded);
            }
        }
        let before = self.lifts.len();
        self.lifts.retain(|lifted| !is_over(lifted, now));
        if self.lifts.len() != before {
            self.index.floors = floors(&self.lifts);
        }
    }
}

/// Whether no token minted before this lift can be alive.
fn is_over(lifted: &Lifted, now: i64) -> bool {
    lifted.since.saturating_add(i64::from(MAX_TTL) + 2 * SKEW) <= now
}
