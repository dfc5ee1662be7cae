//! Readiness: a custodian's signed "I can reach my key", and when each device was last seen to work.
//!
//! Invariants: a sighting is a signature that the log holds, by a device of the charter in force; whatever a device
//! signed shows that it works, so an approval counts as much as a check-in. Nothing here gives or takes power: a device
//! that was not seen for years may still approve, and people are reminded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    charter::{KeyKind, Role, Rules},
    event::{Entry, Event},
    id::{Issuer, Nonce, PersonId},
    statement::SignedAbout,
};
use crate::jose::Digest;

/// A device that was not seen for this many seconds is due: its owner is reminded.
pub const REMIND_AFTER: i64 = 30 * 86_400;
/// How long after it was signed a check-in is taken, in seconds: one that was signed without a network has to be carried.
pub const CHECK_IN_WITHIN: i64 = 7 * 86_400;

/// What a custodian says with one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckIn {
    /// The issuer.
    pub iss: Issuer,
    /// Digest of the charter in force, so that none is taken under a later one.
    pub charter: Digest,
    /// 128 random bits.
    pub nonce: Nonce,
}

/// A check-in under the signature of the device that it is about.
pub type SignedCheckIn = SignedAbout<CheckIn>;

/// When a device was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// When it made the newest signature that the log holds of it: Unix seconds, by its signer's clock, and never after
    /// the entry.
    pub at: i64,
    /// Index of the entry that holds that signature.
    pub index: u64,
    /// When it signed its newest check-in; an earlier one is not taken any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_in: Option<i64>,
}

/// A device that a custodian in term could sign with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its key.
    pub kid: Digest,
    /// Its serial number.
    pub serial: u32,
    /// Whose it is.
    pub person: PersonId,
    /// When it was last seen; `None` where the log has never seen it.
    pub seen: Option<Sighting>,
}

impl Watched {
    /// Whether it is time to remind its owner. `now`: Unix seconds.
    #[must_use]
    pub fn is_due(&self, now: i64) -> bool {
        self.seen.is_none_or(|seen| seen.at + REMIND_AFTER <= now)
    }
}

/// The devices of the charter in force that the log has seen, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sightings(BTreeMap<Digest, Sighting>);

impl Sightings {
    /// When the device with this key was last seen.
    #[must_use]
    pub fn of(&self, kid: &Digest) -> Option<&Sighting> {
        self.0.get(kid)
    }

    /// The devices of all custodians in term, in the order of their serial numbers. `now`: Unix seconds.
    #[must_use]
    pub fn watched(&self, rules: &Rules, now: i64) -> Vec<Watched> {
        let mut watched: Vec<Watched> = rules
            .holders()
            .filter(|holder| holder.has(Role::Custodian, now))
            .filter_map(|holder| {
                let KeyKind::Piv { serial } = holder.kind else { return None };
                let kid = holder.key.thumbprint();
                Some(Watched {
                    kid,
                    serial,
                    person: holder.principal.as_person(),
                    seen: self.of(&kid).copied(),
                })
            })
            .collect();
        watched.sort_by_key(|device| device.serial);
        watched
    }

    /// Takes note of what an entry shows, under the rules that hold after it.
    pub(super) fn note(&mut self, entry: &Entry, index: u64, rules: &Rules) {
        if matches!(entry.event, Event::CharterAdopted { .. }) {
            self.0.retain(|kid, _| is_device(rules, kid));
        }
        for signature in entry.event.signatures() {
            let header = signature.header();
            if !is_device(rules, &header.kid) {
                continue;
            }
            let at = header.iat.min(entry.at.seconds());
            let fresh = Sighting { at, index, checked_in: None };
            let seen = self.0.entry(header.kid).or_insert(fresh);
            if at >= seen.at {
                (seen.at, seen.index) = (at, index);
            }
            if matches!(entry.event, Event::CheckedIn { .. }) {
                seen.checked_in = seen.checked_in.max(Some(header.iat));
            }
        }
    }
}

fn is_device(rules: &Rules, kid: &Digest) -> bool {
    rules.holder(kid).is_some_and(|holder| matches!(holder.kind, KeyKind::Piv { .. }))
}
