//! What a chain of charters has said before, and no later version may contradict.
//!
//! Invariants: a key belongs to one principal for ever, whether or not every version in between names it; an issuing key
//! goes through its life in one direction, and what is compromised or destroyed never comes back (NIST SP 800-57 part 1,
//! section 7). A key is destroyed only once its last token has expired, or as compromised, when none is believed any more.
//! A device may pass to another person with a new key; the difference between the versions says so.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    CharterError, KeyKind, Rules,
    document::{IssuingKey, KeyState},
};
use crate::{
    domain::id::{PersonId, PrincipalId},
    jose::{Digest, TokenAlg},
};

/// Everything that ever was in a chain and binds what follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// Whose each key is, of people and tools.
    keys: BTreeMap<Digest, PrincipalId>,
    /// Whose each device was last.
    serials: BTreeMap<u32, PersonId>,
    /// The last state of each issuing key.
    issuing: BTreeMap<Digest, KeyState>,
    /// When the last token of an issuing key that has signed and does so no more expires, Unix seconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    expires: BTreeMap<Digest, i64>,
    /// Keys that sign what is said about tokens.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    operational: BTreeSet<Digest>,
    /// The algorithm of each issuing key whose thumbprint does not decide it: one key has one for ever (RFC 8725, 3.1).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rsa: BTreeMap<Digest, TokenAlg>,
}

impl Lineage {
    /// That of a first version.
    pub(super) fn of(rules: &Rules) -> Self {
        let mut lineage = Self::default();
        lineage.extend(rules);
        lineage
    }

    /// Whose device this was last, in this version or any before.
    #[must_use]
    pub fn owner(&self, serial: u32) -> Option<&PersonId> {
        self.serials.get(&serial)
    }

    /// Whether any version so far named this key, be it of a person, of a tool, an issuing or an operational key.
    #[must_use]
    pub fn knows_key(&self, kid: &Digest) -> bool {
        self.keys.contains_key(kid) || self.issuing.contains_key(kid) || self.operational.contains(kid)
    }

    /// Whether any version so far had a key of this person or tool.
    #[must_use]
    pub fn knows_principal(&self, id: &PrincipalId) -> bool {
        self.keys.values().any(|owner| owner == id)
    }

    /// Whether a next version contradicts what was said.
    pub(super) fn check(&self, next: &Rules) -> Result<(), CharterError> {
        for holder in next.holders() {
            let kid = holder.key.thumbprint();
            if let Some(owner) = self.keys.get(&kid).filter(|owner| **owner != holder.principal) {
                return Err(CharterError::KeyMoved(format!(
                    "the key {kid} of {} belonged to {owner}: a key belongs to one principal for ever; make a new one",
                    holder.principal
                )));
            }
            if self.issuing.contains_key(&kid) {
                return Err(CharterError::KeyMoved(format!(
                    "the key {kid} of {} was an issuing key: make a new one",
                    holder.principal
                )));
            }
            if self.operational.contains(&kid) {
                return Err(CharterError::KeyMoved(format!(
                    "the key {kid} of {} was an operational key: make a new one",
                    holder.principal
                )));
            }
        }
        let document = next.document();
        for kid in document.operational_keys.iter().map(|key| key.key.thumbprint()) {
            if self.keys.contains_key(&kid) || self.issuing.contains_key(&kid) {
                return Err(CharterError::KeyMoved(format!(
                    "the operational key {kid} was an issuing key, or somebody's own: make a new one"
                )));
            }
        }
        document.issuing_keys.iter().try_for_each(|key| self.check_issuing(key, document.issued_at))
    }

    fn check_issuing(&self, key: &IssuingKey, issued_at: i64) -> Result<(), CharterError> {
        let kid = key.key.thumbprint();
        if let Some(owner) = self.keys.get(&kid) {
            return Err(CharterError::KeyMoved(format!(
                "the issuing key {kid} was a key of {owner}: make a new one"
            )));
        }
        if self.operational.contains(&kid) {
            return Err(CharterError::KeyMoved(format!(
                "the issuing key {kid} was an operational key: make a new one"
            )));
        }
        if let Some(alg) = self.rsa.get(&kid).filter(|alg| **alg != key.key.alg()) {
            let why = format!("it signs {alg} and cannot sign {}; make a new one", key.key.alg());
            return Err(CharterError::KeyLife { kid, why });
        }
        if key.state == KeyState::Destroyed {
            self.check_destroyed(kid, issued_at)?;
        }
        match self.issuing.get(&kid) {
            Some(last) if !may_become(*last, key.state) => Err(CharterError::KeyLife {
                kid,
                why: format!(
                    "it was {} and cannot become {}; make a new one",
                    last.as_str(),
                    key.state.as_str()
                ),
            }),
            _ => Ok(()),
        }
    }

    /// What a key has signed is not ended by the way: it has expired, or the key is compromised.
    fn check_destroyed(&self, kid: Digest, issued_at: i64) -> Result<(), CharterError> {
        let refuse = |why| Err(CharterError::KeyLife { kid, why });
        match (self.issuing.get(&kid), self.expires.get(&kid)) {
            (Some(KeyState::Compromised | KeyState::Destroyed), _) => Ok(()),
            (_, Some(expires)) if *expires > issued_at => refuse(format!(
                "its last token expires at {expires} (Unix seconds), and this version was issued before that: destroy it later, or mark it compromised"
            )),
            (Some(KeyState::Active), None) => {
                refuse("it signs now: deactivate it first, or mark it compromised".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Every issuing key that a version so far named, and whether one has ended it for ever.
    pub fn issuing_keys(&self) -> impl Iterator<Item = (Digest, bool)> {
        let ended = |state: &KeyState| matches!(state, KeyState::Compromised | KeyState::Destroyed);
        self.issuing.iter().map(move |(kid, state)| (*kid, ended(state)))
    }

    /// When the last token of a key that signs no more expires, Unix seconds.
    #[must_use]
    pub fn expires(&self, kid: &Digest) -> Option<i64> {
        self.expires.get(kid).copied()
    }

    /// Notes when the last token expires of keys that sign under one version and not under the next, which is in force
    /// from `at` on.
    pub(super) fn retire(&mut self, before: &Rules, next: &Rules, at: i64) {
        let active = |rules: &Rules| -> BTreeSet<Digest> {
            let keys = rules.document().issuing_keys.iter();
            keys.filter(|key| key.state == KeyState::Active).map(|key| key.key.thumbprint()).collect()
        };
        let (old, new) = (active(before), active(next));
        let longest = before.document().profiles.iter().map(|profile| profile.max_ttl).max().unwrap_or(0);
        self.expires.extend(old.difference(&new).map(|kid| (*kid, at.saturating_add(i64::from(longest)))));
        self.expires.retain(|kid, _| !new.contains(kid));
    }

    /// Takes in a version that was checked.
    pub(super) fn extend(&mut self, rules: &Rules) {
        for holder in rules.holders() {
            self.keys.insert(holder.key.thumbprint(), holder.principal.clone());
            if let KeyKind::Piv { serial } = holder.kind {
                self.serials.insert(serial, holder.principal.as_person());
            }
        }
        self.operational.extend(rules.document().operational_keys.iter().map(|key| key.key.thumbprint()));
        for key in &rules.document().issuing_keys {
            self.issuing.insert(key.key.thumbprint(), key.state);
            if key.key.alg().is_rsa() {
                self.rsa.insert(key.key.thumbprint(), key.key.alg());
            }
        }
    }
}

/// The life of an issuing key has one direction; only a suspension can end where it began.
const fn may_become(last: KeyState, next: KeyState) -> bool {
    use KeyState as S;
    match last {
        S::PreActive => !matches!(next, S::Suspended | S::Deactivated),
        S::Active | S::Suspended => !matches!(next, S::PreActive),
        S::Deactivated => matches!(next, S::Deactivated | S::Compromised | S::Destroyed),
        S::Compromised => matches!(next, S::Compromised | S::Destroyed),
        S::Destroyed => matches!(next, S::Destroyed),
    }
}
