//! Whether one formula is as strong as another: who satisfies it, satisfies the other.
//!
//! Decided by trying every set of the persons in either, as far as that is quick; beyond that only the plain case is
//! certain, the same persons with a higher threshold.

use std::collections::BTreeSet;

use crate::domain::{id::PersonId, quorum::Quorum};

/// Persons of two formulas up to whom every set is tried: 4,096 sets.
const MOST_PERSONS: usize = 12;

/// Whether every set that satisfies `new` satisfies `old`; false if that is not certain.
pub(super) fn as_strong(new: &Quorum, old: &Quorum) -> bool {
    let persons: Vec<&PersonId> = new.persons().union(old.persons()).collect();
    if persons.len() > MOST_PERSONS {
        let (now, before) = (new.formula(), old.formula());
        return new.persons() == old.persons() && now.of == before.of && now.threshold >= before.threshold;
    }
    (0..1_u32 << persons.len()).all(|bits| {
        let chosen = persons.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        let set: BTreeSet<PersonId> = chosen.map(|(_, person)| (*person).clone()).collect();
        !new.satisfied_by(&set) || old.satisfied_by(&set)
    })
}
