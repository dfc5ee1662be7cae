//! A new chain in place of one of which no quorum is left: announced, alarmed about on seven days, cancelled by any quorum.
//!
//! Nothing in the mathematics can carry trust below a quorum: the new chain begins with a genesis of its own, in a state
//! directory of its own, and everybody pins it anew. What is here ends the old chain in its own log, and proves that there
//! was time to object. Invariants: one who is left can announce, never shorten; a day counts only if its alarm is an entry,
//! each at least a day after the one before, so that a clock that jumps wins a day at most, and a daemon that is off none;
//! a version that is adopted meanwhile proves that a quorum is left, and ends every announcement.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    charter::{Charter, Rules},
    exact,
    grant::MAX_GRANT_BYTES,
    id::{Issuer, Nonce, PersonId},
    refusal::Refusal,
    statement::{SignedAbout, verify_signature},
    time::Timestamp,
};
use crate::jose::{Digest, GeneralJws, Typ, json};

/// Days that an announcement waits, each with an alarm in the log.
pub const DAYS: u32 = 7;
/// Seconds that lie between two alarms at least.
pub const DAY: i64 = 86_400;

/// What somebody who is left says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AboutGenesis {
    /// The issuer.
    pub iss: Issuer,
    /// Digest of the charter in force.
    pub charter: Digest,
    /// Digest of version 1 of the new chain.
    pub genesis: Digest,
    /// 128 random bits.
    pub nonce: Nonce,
}

/// An announcement with the charter it announces.
#[derive(Debug, Clone)]
pub struct SignedAnnouncement {
    signed: SignedAbout<AboutGenesis>,
    charter: Charter,
}

impl SignedAnnouncement {
    /// Verifies the one signature over the announcement, and all those of the new charter by its own custodians.
    pub fn verify(jws: GeneralJws, charter: GeneralJws, rules: &Rules) -> Result<Self, Refusal> {
        let signed = SignedAbout::<AboutGenesis>::verify(jws, rules, Typ::Announcement)?;
        if signed.jws().signatures.iter().any(|signature| signature.header().station.is_some()) {
            return Err(Refusal::StationForbidden);
        }
        let charter = Charter::genesis(charter, signed.about().genesis)?;
        Ok(Self { signed, charter })
    }

    /// The statement.
    #[must_use]
    pub fn signed(&self) -> &SignedAbout<AboutGenesis> {
        &self.signed
    }

    /// Version 1 of the new chain.
    #[must_use]
    pub fn charter(&self) -> &Charter {
        &self.charter
    }

    /// Its name in what follows: the digest of the announcement.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.signed.jws().payload)
    }
}

/// What a quorum says to end an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AboutCancellation {
    /// The issuer.
    pub iss: Issuer,
    /// Digest of the charter in force.
    pub charter: Digest,
    /// Digest of the announcement.
    pub announcement: Digest,
    /// 128 random bits.
    pub nonce: Nonce,
}

/// A cancellation under one signature or more, all of them verified.
#[derive(Debug, Clone)]
pub struct SignedCancellation {
    jws: GeneralJws,
    about: AboutCancellation,
}

impl SignedCancellation {
    /// Verifies every signature; a key that signed twice, or at a station, is refused.
    pub fn verify(jws: GeneralJws, rules: &Rules) -> Result<Self, Refusal> {
        let about = exact::parse(&jws.payload, MAX_GRANT_BYTES)?;
        let mut kids = BTreeSet::new();
        for signature in &jws.signatures {
            let header = signature.header();
            verify_signature(signature, &jws.payload, rules, Typ::Cancellation)?;
            if header.station.is_some() {
                return Err(Refusal::StationForbidden);
            }
            if !kids.insert(header.kid) {
                return Err(Refusal::AlreadySigned(header.kid.to_string()));
            }
        }
        Ok(Self { jws, about })
    }

    /// What was signed.
    #[must_use]
    pub fn about(&self) -> &AboutCancellation {
        &self.about
    }

    /// The signed object.
    #[must_use]
    pub fn jws(&self) -> &GeneralJws {
        &self.jws
    }

    /// The times of signing, Unix seconds.
    pub fn times(&self) -> impl Iterator<Item = i64> {
        self.jws.signatures.iter().map(|signature| signature.header().iat)
    }

    /// Whether any quorum of the charter has signed: governance, that of a profile, or recovery.
    #[must_use]
    pub fn suffices(&self, rules: &Rules) -> bool {
        let custodians = self.signers(rules, false);
        let profiles = rules.document().profiles.iter().filter_map(|profile| rules.quorums(&profile.id));
        rules.governance().satisfied_by(&custodians)
            || profiles.into_iter().any(|quorums| quorums.approve.satisfied_by(&custodians))
            || rules.recovery().is_some_and(|quorum| quorum.satisfied_by(&self.signers(rules, true)))
    }

    /// Who is still needed for governance, in words.
    #[must_use]
    pub fn missing(&self, rules: &Rules) -> String {
        rules.governance().missing(&self.signers(rules, false))
    }

    fn signers(&self, rules: &Rules, recovery: bool) -> BTreeSet<PersonId> {
        let headers = self.jws.signatures.iter().map(crate::jose::Signature::header);
        let person = headers.filter_map(|header| {
            let holder = rules.holder(&header.kid)?;
            if recovery { holder.recovery(header.iat) } else { holder.custodian(header.iat) }
        });
        person.collect()
    }
}

/// An announcement that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Digest of the statement.
    pub digest: Digest,
    /// Digest of version 1 of the new chain.
    pub genesis: Digest,
    /// Who announced it.
    pub by: PersonId,
    /// When.
    pub at: Timestamp,
    /// Alarms so far.
    pub days: u32,
    /// When the last alarm was, or the announcement.
    pub counted: Timestamp,
}

impl Announcement {
    /// Unix seconds from which on the next day is over.
    #[must_use]
    pub fn next_day(&self) -> i64 {
        self.counted.seconds().saturating_add(DAY)
    }

    /// Unix seconds before which it cannot end the chain.
    #[must_use]
    pub fn ends(&self) -> i64 {
        self.next_day().saturating_add(i64::from(DAYS.saturating_sub(self.days + 1)) * DAY)
    }
}

/// The chain has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Digest of version 1 of the chain that took its place.
    pub genesis: Digest,
    /// When.
    pub at: Timestamp,
}

/// What is announced, one for each person at most, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    announced: Vec<Announcement>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

impl Replacement {
    /// What waits, in the order of announcing.
    #[must_use]
    pub fn announced(&self) -> &[Announcement] {
        &self.announced
    }

    /// Whether, and by what, this chain has been replaced.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// The announcement of this digest.
    #[must_use]
    pub fn announcement(&self, digest: &Digest) -> Option<&Announcement> {
        self.announced.iter().find(|one| one.digest == *digest)
    }

    /// Unix seconds of the next alarm.
    pub(super) fn next_day(&self) -> Option<i64> {
        self.announced.iter().map(Announcement::next_day).min()
    }

    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn forget(&mut self) {
        self.announced.clear();
    }

    pub(super) fn announce(
        &mut self,
        statement: &GeneralJws,
        charter: &GeneralJws,
        by: Option<PersonId>,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        let by = by.ok_or("the announcement in it is signed by nobody of the charter")?;
        let digest = Digest::of(&statement.payload);
        if self.announcement(&digest).is_some() {
            return Err("the announcement in it was made before");
        }
        // Another one by the same person waits anew.
        self.announced.retain(|one| one.by != by);
        let genesis = Digest::of(&charter.payload);
        self.announced.push(Announcement { digest, genesis, by, at, days: 0, counted: at });
        Ok(())
    }

    pub(super) fn alarm(&mut self, digest: &Digest, day: u32, at: Timestamp) -> Result<(), &'static str> {
        let one = self.announced.iter_mut().find(|one| one.digest == *digest);
        let one = one.ok_or("no such new genesis is announced")?;
        if day != one.days + 1 || day >= DAYS || at.seconds() < one.next_day() {
            return Err("the day in it is not the next one, or not over");
        }
        (one.days, one.counted) = (day, at);
        Ok(())
    }

    pub(super) fn cancel(&mut self, statement: &GeneralJws) -> Result<(), &'static str> {
        let about: AboutCancellation = json::parse(&statement.payload, MAX_GRANT_BYTES)
            .map_err(|_| "the statement in it is not valid")?;
        let before = self.announced.len();
        self.announced.retain(|one| one.digest != about.announcement);
        if self.announced.len() < before { Ok(()) } else { Err("no such new genesis is announced") }
    }

    pub(super) fn end(
        &mut self,
        digest: &Digest,
        genesis: &Digest,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        let one = self.announcement(digest).ok_or("no such new genesis is announced")?;
        if one.genesis != *genesis || at.seconds() < one.ends() || one.days + 1 < DAYS {
            return Err("the seven days before it have not passed");
        }
        self.ended = Some(Ended { genesis: *genesis, at });
        self.announced.clear();
        Ok(())
    }
}
