//! Persons, tools and groups.

use std::collections::{BTreeMap, BTreeSet};

use super::{Changes, list};
use crate::{
    domain::{
        charter::{Charter, Client, Device, Person, Role, Term},
        id::{GroupId, PersonId},
        time::Timestamp,
    },
    jose::{Digest, P256PublicKey},
};

pub(super) fn persons(changes: &mut Changes, chain: &Charter, both: (&[Person], &[Person])) {
    changes.records(
        both,
        |person| &person.id,
        "persons",
        |changes, before, after| match (before, after) {
            (Some(before), Some(after)) => person(changes, chain, before, after),
            (Some(gone), None) => changes.add(false, format!("removes {} ({})", gone.id, gone.name)),
            (None, Some(new)) => {
                let Person { id, name, roles, term, devices, keys, certificates } = new;
                let has = format!(
                    "{} devices, {} file keys, {} certificates",
                    devices.len(),
                    keys.len(),
                    certificates.len()
                );
                let text = format!(
                    "adds {id} ({name}): {}; {has}{}",
                    list(roles.iter().map(|role| role.as_str())),
                    in_term(*term)
                );
                changes.add(true, text);
                for device in devices {
                    passed_on(changes, chain, id, device);
                }
            }
            (None, None) => {}
        },
    );
}

fn person(changes: &mut Changes, chain: &Charter, before: &Person, after: &Person) {
    let Person { id, name, roles, term, devices, keys, certificates } = before;
    changes.member(
        name,
        &after.name,
        |_, _| true,
        |old, new| format!("shows {id} as {new} instead of {old}"),
    );
    roles_and_term(changes, id.as_str(), (roles, &after.roles), (*term, after.term));
    changes.records(
        (devices, &after.devices),
        |device| device.key().thumbprint(),
        &format!("{id}'s devices"),
        |changes, old, new| match (old, new) {
            (Some(old), Some(new)) if old != new => changes.add(
                true,
                format!(
                    "changes what it says of {id}'s device {}: {} becomes {}",
                    old.serial(),
                    device(old),
                    device(new)
                ),
            ),
            (Some(old), None) => changes.add(false, format!("removes {id}'s {}", device(old))),
            (None, Some(new)) => {
                changes.add(true, format!("adds a device of {id}: {}", device(new)));
                passed_on(changes, chain, id, new);
            }
            _ => {}
        },
    );
    file_keys(changes, id.as_str(), (keys, &after.keys), (certificates, &after.certificates));
}

/// A device with a new key, that was somebody else's.
fn passed_on(changes: &mut Changes, chain: &Charter, id: &PersonId, device: &Device) {
    if let Some(owner) = chain.lineage().owner(device.serial()).filter(|owner| *owner != id) {
        changes.add(true, format!("gives {id} device {}, which was {owner}'s", device.serial()));
    }
}

fn device(device: &Device) -> String {
    let Device::Piv { key, serial, firmware, attestation } = device;
    let attested =
        attestation.map_or_else(|| "not attested".into(), |digest| format!("attested by {digest}"));
    format!("device {serial} (firmware {firmware}, key {}, {attested})", key.thumbprint())
}

fn roles_and_term(
    changes: &mut Changes,
    id: &str,
    (before, after): (&BTreeSet<Role>, &BTreeSet<Role>),
    (old, new): (Term, Term),
) {
    changes.values(before, after, (true, false), |gained, role| {
        let role = role.as_str();
        if gained { format!("makes {id} {role}") } else { format!("{id} is no {role} any more") }
    });
    let longer = |old: &Term, new: &Term| {
        let earlier = match (old.from, new.from) {
            (Some(old), Some(new)) => new < old,
            (old, new) => old.is_some() && new.is_none(),
        };
        let later = match (old.until, new.until) {
            (Some(old), Some(new)) => new > old,
            (old, new) => old.is_some() && new.is_none(),
        };
        earlier || later
    };
    changes.member(&old, &new, longer, |old, new| {
        format!("changes the term of {id} from{} to{}", side(*old), side(*new))
    });
}

fn side(term: Term) -> String {
    let text = in_term(term);
    if text.is_empty() { " always".into() } else { text.replace(", in term", "") }
}

fn in_term(term: Term) -> String {
    let at = |word, at: Option<i64>| {
        at.map(|at| format!(" {word} {}", Timestamp::from_seconds(at))).unwrap_or_default()
    };
    if term == Term::default() {
        String::new()
    } else {
        format!(", in term{}{}", at("from", term.from), at("until", term.until))
    }
}

fn file_keys(
    changes: &mut Changes,
    id: &str,
    (before, after): (&[P256PublicKey], &[P256PublicKey]),
    (old, new): (&BTreeSet<Digest>, &BTreeSet<Digest>),
) {
    changes.records(
        (before, after),
        |key| *key,
        &format!("{id}'s file keys"),
        |changes, old, new| match (old, new) {
            (Some(key), None) => {
                changes.add(false, format!("removes a file key of {id}: {}", key.thumbprint()));
            }
            (None, Some(key)) => changes.add(true, format!("adds a file key of {id}: {}", key.thumbprint())),
            _ => {}
        },
    );
    changes.values(old, new, (true, false), |gained, digest| {
        format!("{} a certificate of {id}: {digest}", if gained { "adds" } else { "removes" })
    });
}

pub(super) fn clients(changes: &mut Changes, both: (&[Client], &[Client])) {
    changes.records(
        both,
        |client| &client.id,
        "tools",
        |changes, before, after| match (before, after) {
            (Some(before), Some(after)) => client(changes, before, after),
            (Some(gone), None) => changes.add(false, format!("removes the tool {}", gone.id)),
            (None, Some(new)) => {
                let Client { id, owners, roles, subjects, term, keys, certificates } = new;
                changes.add(
                    true,
                    format!(
                        "adds the tool {id} of {}: {}, files for itself and {}; {} keys, {} certificates{}",
                        list(owners),
                        list(roles.iter().map(|role| role.as_str())),
                        list(subjects),
                        keys.len(),
                        certificates.len(),
                        in_term(*term)
                    ),
                );
            }
            (None, None) => {}
        },
    );
}

fn client(changes: &mut Changes, before: &Client, after: &Client) {
    let Client { id, owners, roles, subjects, term, keys, certificates } = before;
    roles_and_term(changes, id.as_str(), (roles, &after.roles), (*term, after.term));
    // Who answers for a tool is excluded from the quorum on what it files.
    changes.values(owners, &after.owners, (false, true), |gained, owner| {
        if gained {
            format!("{owner} answers for the tool {id}")
        } else {
            format!("{owner} no longer answers for the tool {id}, and may approve what it files")
        }
    });
    changes.values(subjects, &after.subjects, (true, false), |gained, person| {
        if gained {
            format!("{id} may file for {person}")
        } else {
            format!("{id} may no longer file for {person}")
        }
    });
    file_keys(changes, id.as_str(), (keys, &after.keys), (certificates, &after.certificates));
}

type Groups = BTreeMap<GroupId, BTreeSet<PersonId>>;

pub(super) fn groups(changes: &mut Changes, (before, after): (&Groups, &Groups)) {
    for (group, members) in before {
        match after.get(group) {
            None => changes.add(false, format!("removes the group {group}")),
            Some(now) => changes.values(members, now, (true, false), |gained, person| {
                if gained {
                    format!("adds {person} to {group}")
                } else {
                    format!("removes {person} from {group}")
                }
            }),
        }
    }
    for (group, members) in after.iter().filter(|(group, _)| !before.contains_key(group)) {
        changes.add(true, format!("adds the group {group}: {}", list(members)));
    }
}
