//! What changes from one version to the next, in words, with whatever makes it weaker marked.
//!
//! Invariants: every member of the document is taken apart without rest, so a new one cannot be forgotten here, and any
//! change of it gives at least one line; what is not certain to be no weakening is marked as one.

mod keys;
mod outside;
mod people;
mod profiles;
mod strength;

use std::collections::BTreeMap;

use super::{Charter, Rules, document::Document};
use crate::domain::time::Timestamp;

/// One change, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What changes, as a sentence without its end. Names in it come from the document.
    pub text: String,
    /// Whether it lets more happen with fewer people than before, or might.
    pub weakens: bool,
}

/// The lines so far.
#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, weakens: bool, text: impl Into<String>) {
        self.0.push(Change { text: text.into(), weakens });
    }

    /// A member that is shown whole: a line if it changed.
    fn member<T: PartialEq>(
        &mut self,
        before: &T,
        after: &T,
        weakens: impl FnOnce(&T, &T) -> bool,
        text: impl FnOnce(&T, &T) -> String,
    ) {
        if before != after {
            self.add(weakens(before, after), text(before, after));
        }
    }

    /// Records with a name of their own: those that are new, those that are gone, those that are in both, and their order.
    fn records<'a, T, K: Ord>(
        &mut self,
        (before, after): (&'a [T], &'a [T]),
        name: impl Fn(&'a T) -> K,
        what: &str,
        mut changed: impl FnMut(&mut Self, Option<&'a T>, Option<&'a T>),
    ) {
        let old: BTreeMap<K, &T> = before.iter().map(|record| (name(record), record)).collect();
        let new: BTreeMap<K, &T> = after.iter().map(|record| (name(record), record)).collect();
        for record in before {
            changed(self, Some(record), new.get(&name(record)).copied());
        }
        for record in after.iter().filter(|record| !old.contains_key(&name(record))) {
            changed(self, None, Some(record));
        }
        let stay = |list: &'a [T], other: &BTreeMap<K, &T>| -> Vec<K> {
            list.iter().map(&name).filter(|name| other.contains_key(name)).collect()
        };
        if stay(before, &new) != stay(after, &old) {
            // The first active key signs, the first log key names the log: order can have a meaning.
            self.add(true, format!("changes the order of {what}"));
        }
    }

    /// Values that stand for themselves.
    fn values<'a, T: Ord + 'a>(
        &mut self,
        before: impl IntoIterator<Item = &'a T>,
        after: impl IntoIterator<Item = &'a T>,
        (weak_gain, weak_loss): (bool, bool),
        text: impl Fn(bool, &T) -> String,
    ) {
        let before: std::collections::BTreeSet<&T> = before.into_iter().collect();
        let after: std::collections::BTreeSet<&T> = after.into_iter().collect();
        for gone in before.difference(&after) {
            self.add(weak_loss, text(false, gone));
        }
        for new in after.difference(&before) {
            self.add(weak_gain, text(true, new));
        }
    }
}

/// What would change if `after` followed `before`.
#[must_use]
pub fn difference(before: &Charter, after: &Rules) -> Vec<Change> {
    let mut changes = Changes::default();
    // Version, predecessor and nonce differ in any two versions, the issuer in none; only a first one replaces a chain.
    let Document {
        version: _,
        previous: _,
        replaces: _,
        nonce: _,
        iss: _,
        development,
        issued_at,
        expires_at,
        persons,
        clients,
        groups,
        profiles: _,
        governance: _,
        recovery: _,
        by_recovery: _,
        issuing_keys,
        operational_keys,
        log_keys,
        daemons,
        attestation,
        verifiers,
        kill_rights: _,
        receipts,
    } = before.document();
    let next = after.document();
    if next.by_recovery {
        changes.add(
            true,
            "IS A RECOVERY: put in force by the recovery custodians, without the governance of today",
        );
    }
    changes.member(
        development,
        &next.development,
        |_, after| *after,
        |_, after| {
            if *after {
                "becomes a development charter: scripts may enter PINs, strict verifiers refuse its tokens unless told otherwise".into()
            } else {
                "is no development charter any more".into()
            }
        },
    );
    let life = |issued_at: i64, expires_at: i64| expires_at.saturating_sub(issued_at);
    let (old, new) = (life(*issued_at, *expires_at), life(next.issued_at, next.expires_at));
    if (issued_at, expires_at) != (&next.issued_at, &next.expires_at) {
        let until = Timestamp::from_seconds(next.expires_at);
        let days = |seconds: i64| seconds / 86_400;
        let longer = if new > old {
            format!(", {} days from its issue instead of {}", days(new), days(old))
        } else {
            String::new()
        };
        changes.add(new > old, format!("is valid until {until}{longer}"));
    }
    people::persons(&mut changes, before, (persons, &next.persons));
    people::clients(&mut changes, (clients, &next.clients));
    people::groups(&mut changes, (groups, &next.groups));
    profiles::quorum(&mut changes, "changes of the charter", before.governance(), after.governance());
    profiles::recovery(&mut changes, before.recovery(), after.recovery());
    profiles::profiles(&mut changes, before, after);
    keys::issuing(&mut changes, (issuing_keys, &next.issuing_keys));
    keys::operational(&mut changes, (operational_keys, &next.operational_keys));
    keys::logs(&mut changes, (log_keys, &next.log_keys));
    keys::daemons(&mut changes, (daemons, &next.daemons));
    keys::attestation(&mut changes, (attestation, &next.attestation));
    outside::verifiers(&mut changes, (verifiers, &next.verifiers));
    outside::kill_rights(&mut changes, before.document(), next);
    outside::receipts(&mut changes, receipts.as_ref(), next.receipts.as_ref());
    changes.0
}

/// Names of a list, for people; a dash if it is empty.
fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}
