//! Whether a charter's quorums can be reached when they are needed.
//!
//! For every possible requester, after the loss of any one device, at every instant until the charter expires, each
//! profile, the governance formula and that of recovery must still be satisfiable. Terms change only at their ends, so the instants to
//! look at are few; satisfaction is monotone, so only the loss of somebody's last device matters.

use std::collections::BTreeSet;

use super::{CharterError, Rules, document::Role};
use crate::domain::{id::PersonId, quorum::Quorum, time::Timestamp};

type Persons = BTreeSet<PersonId>;

/// Formulas that are tried at most, each against one set of persons; a real charter needs some hundreds.
const MAX_TRIALS: usize = 100_000;

pub(super) fn check(rules: &Rules) -> Result<(), CharterError> {
    let limit = MAX_TRIALS / (2 + 3 * rules.quorums.len());
    let requesters = cases(rules, Role::Custodian, &exclusions(rules), limit)?;
    let nobody = cases(rules, Role::Custodian, &[Persons::new()], limit)?;
    demand(&rules.governance, "governance", &nobody)?;
    if let Some(recovery) = &rules.recovery {
        demand(recovery, "recovery", &cases(rules, Role::Recovery, &[Persons::new()], limit)?)?;
    }
    for (id, quorums) in &rules.quorums {
        demand(&quorums.approve, &format!("profile {id}"), &requesters)?;
        if let Some(deny) = &quorums.deny {
            demand(deny, &format!("denials of profile {id}"), &nobody)?;
        }
        if let Some(review) = &quorums.review {
            demand(review, &format!("review of profile {id}"), &requesters)?;
        }
    }
    Ok(())
}

/// Who is left at some instant, and why the others are not.
struct Case {
    left: Persons,
    excluded: Persons,
    /// The person who lost the only device.
    lost: Option<PersonId>,
    at: i64,
}

/// Every case that could be the worst: one that leaves more than another need not be looked at, nor one that leaves
/// the same.
fn cases(rules: &Rules, role: Role, exclusions: &[Persons], limit: usize) -> Result<Vec<Case>, CharterError> {
    let mut seen = BTreeSet::new();
    let mut cases = Vec::new();
    for at in instants(rules) {
        for (lost, present) in presences(rules, role, at) {
            for excluded in exclusions {
                let left: Persons = present.difference(excluded).cloned().collect();
                if seen.insert(left.clone()) {
                    cases.push(Case { left, excluded: excluded.clone(), lost: lost.clone(), at });
                }
                if cases.len() > limit {
                    return Err(CharterError::Content(
                        "there are too many combinations of requesters, terms and devices to check that each leaves a quorum"
                            .into(),
                    ));
                }
            }
        }
    }
    Ok(cases)
}

fn demand(quorum: &Quorum, place: &str, cases: &[Case]) -> Result<(), CharterError> {
    let Some(case) = cases.iter().find(|case| !quorum.satisfied_by(&case.left)) else { return Ok(()) };
    let who: Vec<_> = case.excluded.iter().map(PersonId::as_str).collect();
    let asked = if who.is_empty() { String::new() } else { format!(" when {} asks", who.join(" and ")) };
    let lost = case.lost.as_ref().map(|person| format!(" after {person} has lost the only device"));
    Err(CharterError::Unsatisfiable(format!(
        "{place} needs {}, which cannot be reached{asked}{} (looking at {}); add a custodian or a device, or lower the threshold",
        quorum.describe(),
        lost.unwrap_or_default(),
        Timestamp::from_seconds(case.at),
    )))
}

/// The largest sets of custodians that the possible requesters exclude.
pub(super) fn exclusions(rules: &Rules) -> Vec<Persons> {
    let document = &rules.document;
    let custodian =
        |id: &&PersonId| rules.person(id).is_some_and(|person| person.roles.contains(&Role::Custodian));
    let mut sets = BTreeSet::from([Persons::new()]);
    for person in document.persons.iter().filter(|person| person.roles.contains(&Role::Requester)) {
        sets.insert([&person.id].into_iter().filter(custodian).cloned().collect());
    }
    for client in document.clients.iter().filter(|client| client.roles.contains(&Role::Requester)) {
        let owners: Persons = client.owners.iter().filter(custodian).cloned().collect();
        for subject in client.subjects.iter().filter(custodian) {
            sets.insert(owners.iter().chain([subject]).cloned().collect());
        }
        sets.insert(owners);
    }
    let largest = |set: &&Persons| !sets.iter().any(|other| other.len() > set.len() && set.is_subset(other));
    sets.iter().filter(largest).cloned().collect()
}

fn instants(rules: &Rules) -> BTreeSet<i64> {
    let document = &rules.document;
    let ends = document.persons.iter().flat_map(|person| [person.term.from, person.term.until]).flatten();
    let within = ends.filter(|end| (document.issued_at..document.expires_at).contains(end));
    within.chain([document.issued_at]).collect()
}

/// Who of this role can act at this instant, after the loss of each person's only device; where nobody has only one, all.
fn presences(rules: &Rules, role: Role, at: i64) -> Vec<(Option<PersonId>, Persons)> {
    let document = &rules.document;
    let custodians = || {
        let persons = document.persons.iter();
        persons.filter(|person| person.roles.contains(&role) && person.term.covers(at))
    };
    let all: Persons = custodians().map(|person| person.id.clone()).collect();
    let single = custodians().filter(|person| person.devices.len() == 1);
    let losses = single.map(|person| {
        let left = all.iter().filter(|id| **id != person.id).cloned().collect();
        (Some(person.id.clone()), left)
    });
    let mut presences: Vec<_> = losses.collect();
    if presences.is_empty() {
        presences.push((None, all));
    }
    presences
}
