//! The kills and lifts of a log, and what they stop: one value for the daemon's state and for a verifier's view.
//!
//! Invariants: the index equals what `Index::of` makes of the rest; a kill of one token or request is forgotten once
//! nothing it names can be alive, any other stays until it is lifted; a lift is remembered for as long as a token minted
//! before it could live, and the ids it names for ever.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Kill, KillRefusal, Lift, SignedKill, SignedLift, Subject, Target};
use crate::{
    domain::{
        charter::Rules,
        grant::MAX_TTL,
        id::KillId,
        refusal::Refusal,
        time::{SKEW, Timestamp},
    },
    jose::{Digest, GeneralJws, JoseError, Typ},
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
    epoch: u64,
    standing: BTreeMap<KillId, Recorded>,
    lifts: Vec<Lifted>,
    dead: BTreeSet<KillId>,
    suspended: BTreeSet<Digest>,
    index: Index,
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
    pub kills: Vec<Recorded>,
    /// When it was recorded.
    pub at: Timestamp,
    /// Tokens of what was killed count if minted after this second (Unix).
    pub since: i64,
}

/// What follows from the kills and lifts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Index {
    /// Kills in force, by target.
    targets: BTreeMap<Target, usize>,
    singles: usize,
    /// When kills are forgotten.
    ends: BTreeSet<(i64, KillId)>,
    /// Until when what was lifted is still refused.
    floors: BTreeMap<Target, i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    epoch: u64,
    standing: Vec<Recorded>,
    lifts: Vec<Lifted>,
    dead: BTreeSet<KillId>,
    suspended: BTreeSet<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKill {
    statement: GeneralJws,
    epoch: u64,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

impl From<Recorded> for StoredKill {
    fn from(it: Recorded) -> Self {
        Self { statement: it.statement, epoch: it.epoch, at: it.at, until: it.until }
    }
}

impl TryFrom<StoredKill> for Recorded {
    type Error = JoseError;
    fn try_from(it: StoredKill) -> Result<Self, JoseError> {
        let kill = Kill::parse(&it.statement.payload)?;
        Ok(Self { kill, statement: it.statement, epoch: it.epoch, at: it.at, until: it.until })
    }
}

impl From<Kills> for Stored {
    fn from(kills: Kills) -> Self {
        Self {
            epoch: kills.epoch,
            standing: kills.standing.into_values().collect(),
            lifts: kills.lifts,
            dead: kills.dead,
            suspended: kills.suspended,
        }
    }
}

impl From<Stored> for Kills {
    fn from(stored: Stored) -> Self {
        let standing: BTreeMap<_, _> =
            stored.standing.into_iter().map(|recorded| (recorded.kill.id, recorded)).collect();
        let index = Index::of(&standing, &stored.lifts);
        let (lifts, dead, suspended) = (stored.lifts, stored.dead, stored.suspended);
        Self { epoch: stored.epoch, standing, lifts, dead, suspended, index }
    }
}

impl Index {
    fn of(standing: &BTreeMap<KillId, Recorded>, lifts: &[Lifted]) -> Self {
        let mut index = Self::default();
        for recorded in standing.values() {
            index.enter(recorded);
        }
        index.floors = floors(lifts);
        index
    }

    fn enter(&mut self, recorded: &Recorded) {
        let target = &recorded.kill.target;
        *self.targets.entry(target.clone()).or_insert(0) += 1;
        self.singles += usize::from(target.request().is_some());
        self.ends.extend(recorded.until.map(|until| (until, recorded.kill.id)));
    }

    fn leave(&mut self, recorded: &Recorded) {
        let target = &recorded.kill.target;
        if let Some(count) = self.targets.get_mut(target) {
            *count -= 1;
            if *count == 0 {
                self.targets.remove(target);
            }
        }
        self.singles -= usize::from(target.request().is_some());
        if let Some(until) = recorded.until {
            self.ends.remove(&(until, recorded.kill.id));
        }
    }
}

fn floors(lifts: &[Lifted]) -> BTreeMap<Target, i64> {
    let mut floors = BTreeMap::new();
    for lifted in lifts {
        for recorded in &lifted.kills {
            let floor = floors.entry(recorded.kill.target.clone()).or_insert(lifted.since);
            *floor = lifted.since.max(*floor);
        }
    }
    floors
}

impl Kills {
    /// The kill epoch: how many kills there have been.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Kills in force, the oldest first.
    pub fn standing(&self) -> impl Iterator<Item = &Recorded> {
        let mut all: Vec<&Recorded> = self.standing.values().collect();
        all.sort_unstable_by_key(|recorded| recorded.epoch);
        all.into_iter()
    }

    /// A kill in force.
    #[must_use]
    pub fn get(&self, id: &KillId) -> Option<&Recorded> {
        self.standing.get(id)
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
        if self.is_empty() {
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
        let kill = signed.about().clone();
        self.insert(Recorded { kill, statement: signed.jws().clone(), epoch: self.epoch, at, until });
    }

    fn insert(&mut self, recorded: Recorded) {
        if let Some(old) = self.standing.remove(&recorded.kill.id) {
            self.index.leave(&old);
        }
        self.index.enter(&recorded);
        self.standing.insert(recorded.kill.id, recorded);
    }

    /// Takes in a lift whose authority was checked.
    pub(in crate::domain) fn lift(&mut self, signed: &SignedLift, at: Timestamp) {
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
        self.lifts.push(Lifted { statement: signed.jws().clone(), kills, at, since });
        self.index.floors = floors(&self.lifts);
    }

    /// A new charter: whoever it lists has the rights it gives.
    pub(in crate::domain) fn charter_changed(&mut self) {
        self.suspended.clear();
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
        self.lifts.retain(|lifted| lifted.since.saturating_add(i64::from(MAX_TTL) + 2 * SKEW) > now);
        if self.lifts.len() != before {
            self.index.floors = floors(&self.lifts);
        }
    }

    /// A verifier's way: takes in a kill that it was shown, if a key with the right to it signed. `epoch` and `at` are
    /// what the log says of it; they order kills, and give no right.
    pub fn learn(
        &mut self,
        statement: GeneralJws,
        rules: &Rules,
        epoch: u64,
        at: Timestamp,
    ) -> Result<(), Refusal> {
        let signed = SignedKill::verify(statement, rules, Typ::Kill)?;
        let kill = signed.about();
        if kill.iss != rules.document().iss {
            return Err(Refusal::CharterMismatch);
        }
        rules.may_kill(&signed.kid(), kill.target.level(), at.seconds())?;
        self.epoch = self.epoch.max(epoch);
        if self.dead.contains(&kill.id) {
            return Err(KillRefusal::AlreadyLifted(kill.id).into());
        }
        let until = kill.target.request().map(|_| at.seconds().saturating_add(UNKNOWN_FOR));
        let (kill, statement) = (kill.clone(), signed.jws().clone());
        self.insert(Recorded { kill, statement, epoch, at, until });
        Ok(())
    }

    /// A verifier's way: takes in a lift, if a quorum signed it.
    pub fn learn_lift(&mut self, statement: GeneralJws, rules: &Rules, at: Timestamp) -> Result<(), Refusal> {
        let signed = SignedLift::verify(statement, rules)?;
        if signed.lift().iss != rules.document().iss {
            return Err(Refusal::CharterMismatch);
        }
        rules.may_lift(&signed, self.ends_lockdown_only(signed.lift()))?;
        let known = |lifted: &Lifted| lifted.statement.payload == signed.jws().payload;
        if !self.lifts.iter().any(known) {
            self.lift(&signed, at);
        }
        Ok(())
    }
}
