//! Recovery: what the charter says of those whose devices are sealed away, and what they may do when too many
//! custodians are lost.
//!
//! Invariants: a recovery custodian counts nowhere else, since the device lies sealed; a version put in force by recovery
//! changes people and formulas, nothing else, and leaves recovery itself as it was. So whoever steals sealed devices can
//! neither widen a profile, nor name an issuing key, nor keep the others out of recovery, before a version has told
//! everybody.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CharterError, KillLevel, Rules,
    document::{Document, Person, Profile, Role},
};
use crate::domain::{id::PrincipalId, quorum::Quorum};

/// What the document says of recovery custodians agrees.
pub(super) fn check(document: &Document, recovery: Option<&Quorum>) -> Result<(), CharterError> {
    for Person { id, roles, .. } in document.persons.iter().filter(|person| sealed(person)) {
        if roles.contains(&Role::Custodian) || roles.contains(&Role::Requester) {
            return refuse(format!(
                "{id} is a recovery custodian, so no custodian and no requester: the device is sealed away"
            ));
        }
        if !recovery.is_some_and(|recovery| recovery.persons().contains(id)) {
            return refuse(format!(
                "{id} is a recovery custodian whom the formula of recovery does not name"
            ));
        }
    }
    if document.by_recovery && document.version == 1 {
        return refuse("version 1 is pinned: nobody can recover what was not there".into());
    }
    Ok(())
}

/// A version that the recovery custodians put in force changes who the custodians are, and leaves the rest as it was.
pub(super) fn confined(before: &Rules, after: &Rules) -> Result<(), CharterError> {
    if before.recovery.is_none() {
        return Err(nobody());
    }
    // Every member is named, so that a new one has to be thought of here.
    let Document {
        version: _,
        previous: _,
        replaces: _,
        nonce: _,
        iss: _,
        issued_at: _,
        expires_at: _,
        by_recovery: _,
        persons,
        clients: _,
        groups: _,
        governance: _,
        recovery: _,
        development,
        profiles,
        issuing_keys,
        operational_keys,
        log_keys,
        daemons,
        attestation,
        verifiers,
        kill_rights,
        receipts,
    } = before.document();
    let next = after.document();
    let sealed = |persons: &[Person]| persons.iter().filter(|one| sealed(one)).cloned().collect::<Vec<_>>();
    let same = [
        (before.recovery == after.recovery && sealed(persons) == sealed(&next.persons), "recovery itself"),
        (*development == next.development, "whether it is for development"),
        (allow_the_same(profiles, &next.profiles), "profiles beyond their formulas"),
        (*issuing_keys == next.issuing_keys, "issuing keys"),
        (*operational_keys == next.operational_keys, "operational keys"),
        (*log_keys == next.log_keys, "log keys"),
        (*daemons == next.daemons, "daemons"),
        (*attestation == next.attestation, "what is demanded of devices"),
        (*verifiers == next.verifiers, "verifiers"),
        (*receipts == next.receipts, "copies outside"),
        (no_more(kill_rights, &next.kill_rights), "kill rights beyond those of people who leave"),
    ];
    match same.iter().find(|(same, _)| !same) {
        Some((_, what)) => refuse(format!(
            "a recovery changes people and formulas only, and this one changes {what}: leave that to the governance that it restores"
        )),
        None => Ok(()),
    }
}

/// Without a recovery formula nobody recovers.
pub(super) fn nobody() -> CharterError {
    CharterError::Content("it is a recovery, but the version in force names no recovery custodians".into())
}

fn sealed(person: &Person) -> bool {
    person.roles.contains(&Role::Recovery)
}

/// Whether nobody gained a right.
fn no_more(
    before: &BTreeMap<KillLevel, BTreeSet<PrincipalId>>,
    after: &BTreeMap<KillLevel, BTreeSet<PrincipalId>>,
) -> bool {
    after.iter().all(|(level, who)| before.get(level).is_some_and(|had| who.is_subset(had)))
}

/// Whether two lists of profiles differ in who must agree at most.
fn allow_the_same(before: &[Profile], after: &[Profile]) -> bool {
    let same = |(before, after): (&Profile, &Profile)| {
        let (quorum, denials) = (after.quorum.clone(), after.denials.clone());
        let mut review = before.review.clone();
        if let (Some(kept), Some(new)) = (&mut review, &after.review) {
            kept.by = new.by.clone();
        }
        Profile { quorum, denials, review, ..before.clone() } == *after
    };
    before.len() == after.len() && before.iter().zip(after).all(same)
}

fn refuse<T>(why: String) -> Result<T, CharterError> {
    Err(CharterError::Content(why))
}
