//! Whether a charter's quorums can be reached when they are needed.
//!
//! For every possible requester, after the loss of any one device, at every instant until the charter expires, each
//! profile and the governance formula must still be satisfiable. Terms change only at their ends, so the instants to
//! look at are few; satisfaction is monotone, so only the loss of somebody's last device matters.

use std::collections::BTreeSet;

use super::{CharterError, Rules, document::Role};
use crate::domain::{id::PersonId, quorum::Quorum};

type Persons = BTreeSet<PersonId>;

pub(super) fn check(rules: &Rules) -> Result<(), CharterError> {
    let nobody = BTreeSet::from([Persons::new()]);
    let requesters = exclusions(rules);
    for at in instants(rules) {
        for (lost, present) in presences(rules, at) {
            demand(&rules.governance, "governance", &nobody, &present, &lost, at)?;
            for (id, quorums) in &rules.quorums {
                demand(&quorums.approve, &format!("profile {id}"), &requesters, &present, &lost, at)?;
                if let Some(deny) = &quorums.deny {
                    demand(deny, &format!("denials of profile {id}"), &nobody, &present, &lost, at)?;
                }
            }
        }
    }
    Ok(())
}

fn demand(
    quorum: &Quorum,
    place: &str,
    exclusions: &BTreeSet<Persons>,
    present: &Persons,
    lost: &str,
    at: i64,
) -> Result<(), CharterError> {
    for excluded in exclusions {
        let left: Persons = present.difference(excluded).cloned().collect();
        if quorum.satisfied_by(&left) {
            continue;
        }
        let who: Vec<_> = excluded.iter().map(PersonId::as_str).collect();
        let asked = if who.is_empty() { String::new() } else { format!(" when {} asks", who.join(" and ")) };
        let when = crate::domain::time::Timestamp::from_seconds(at);
        return Err(CharterError::Unsatisfiable(format!(
            "{place} needs {}, which cannot be reached{asked}{lost} (looking at {when}); add a custodian or a device, or lower the threshold",
            quorum.describe()
        )));
    }
    Ok(())
}

/// The sets of persons that the possible requesters exclude.
fn exclusions(rules: &Rules) -> BTreeSet<Persons> {
    let mut sets = BTreeSet::from([Persons::new()]);
    for person in rules.document.persons.iter().filter(|person| person.roles.contains(&Role::Requester)) {
        sets.insert(Persons::from([person.id.clone()]));
    }
    for client in rules.document.clients.iter().filter(|client| client.roles.contains(&Role::Requester)) {
        sets.insert(client.owners.clone());
        for subject in &client.subjects {
            sets.insert(client.owners.iter().chain([subject]).cloned().collect());
        }
    }
    sets
}

fn instants(rules: &Rules) -> BTreeSet<i64> {
    let document = &rules.document;
    let ends = document.persons.iter().flat_map(|person| [person.term.from, person.term.until]).flatten();
    let within = ends.filter(|end| (document.issued_at..document.expires_at).contains(end));
    within.chain([document.issued_at]).collect()
}

/// Who can approve at this instant: with every device at hand, and after the loss of each person's only device.
fn presences(rules: &Rules, at: i64) -> Vec<(String, Persons)> {
    let document = &rules.document;
    let custodians = || {
        let persons = document.persons.iter();
        persons.filter(|person| person.roles.contains(&Role::Custodian) && person.term.covers(at))
    };
    let all: Persons = custodians().map(|person| person.id.clone()).collect();
    let single = custodians().filter(|person| person.devices.len() == 1);
    let losses = single.map(|person| {
        let left = all.iter().filter(|id| **id != person.id).cloned().collect();
        (format!(" after {} has lost the only device", person.id), left)
    });
    let mut presences: Vec<_> = losses.collect();
    presences.push((String::new(), all.clone()));
    presences
}
