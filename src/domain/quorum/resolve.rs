//! From a written formula to a tree of persons as bits, with every rule that one node can break.
//!
//! Invariants of the tree: at most `MAX_DEPTH` levels and `MAX_PERSONS` persons, no empty pool without children, and
//! each threshold between 1 and what its node can offer.

use std::collections::{BTreeMap, BTreeSet};

use super::{Formula, GroupId, Item, MAX_DEPTH, MAX_PERSONS, Of, PersonId, Pool, QuorumError};

/// A resolved formula.
pub(super) struct Tree {
    pub(super) root: Node,
    pub(super) persons: BTreeSet<PersonId>,
    pub(super) pools: Vec<Pool>,
}

impl Tree {
    /// All persons at once.
    pub(super) fn everyone(&self) -> u64 {
        self.pools.iter().fold(0, |all, pool| all | pool.members)
    }
}

/// At least `threshold` of the members of a pool and of the children.
pub(super) struct Node {
    pub(super) threshold: usize,
    /// Index into [`Tree::pools`].
    pub(super) pool: usize,
    pub(super) members: u64,
    pub(super) children: Vec<Node>,
}

type Groups = BTreeMap<GroupId, BTreeSet<PersonId>>;

pub(super) fn resolve(formula: &Formula, groups: &Groups) -> Result<Tree, QuorumError> {
    let mut persons = BTreeSet::new();
    check(formula, groups, "the top", 1, &mut persons)?;
    if persons.len() > MAX_PERSONS {
        return Err(QuorumError::TooManyPersons);
    }
    let mut pools = Vec::new();
    let root = build(formula, groups, &persons, &mut pools);
    Ok(Tree { root, persons, pools })
}

fn check(
    formula: &Formula,
    groups: &Groups,
    path: &str,
    depth: usize,
    persons: &mut BTreeSet<PersonId>,
) -> Result<(), QuorumError> {
    let at = || path.to_owned();
    if depth > MAX_DEPTH {
        return Err(QuorumError::TooDeep { at: at() });
    }
    let available = match &formula.of {
        Of::Group(group) => {
            let unknown = || QuorumError::UnknownGroup { at: at(), group: group.clone() };
            let members = groups.get(group).ok_or_else(unknown)?;
            if members.is_empty() {
                return Err(QuorumError::EmptyGroup { at: at(), group: group.clone() });
            }
            persons.extend(members.iter().cloned());
            members.len()
        }
        Of::List(items) if items.is_empty() => return Err(QuorumError::EmptyList { at: at() }),
        Of::List(items) => {
            check_items(items, groups, path, depth, persons)?;
            items.len()
        }
    };
    match usize::try_from(formula.threshold).unwrap_or(usize::MAX) {
        0 => Err(QuorumError::ThresholdZero { at: at() }),
        // Every choice takes at least one person of its own, and there are no more than these.
        threshold if threshold > available.min(MAX_PERSONS) => Err(QuorumError::ThresholdTooHigh {
            at: at(),
            threshold: formula.threshold,
            available: available.min(MAX_PERSONS),
        }),
        _ => Ok(()),
    }
}

fn check_items(
    items: &[Item],
    groups: &Groups,
    path: &str,
    depth: usize,
    persons: &mut BTreeSet<PersonId>,
) -> Result<(), QuorumError> {
    let mut named = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        match item {
            Item::Person(person) if !named.insert(person) => {
                return Err(QuorumError::DuplicatePerson { at: path.to_owned(), person: person.clone() });
            }
            Item::Person(_) => {}
            Item::Formula(inner) => {
                let prefix = if depth == 1 { String::new() } else { format!("{path}.") };
                check(inner, groups, &format!("{prefix}of[{index}]"), depth + 1, persons)?;
            }
        }
    }
    persons.extend(named.into_iter().cloned());
    Ok(())
}

/// Only for a formula that `check` has passed.
fn build(formula: &Formula, groups: &Groups, persons: &BTreeSet<PersonId>, pools: &mut Vec<Pool>) -> Node {
    let bit = |wanted: &PersonId| {
        persons.iter().position(|person| person == wanted).map_or(0, |index| 1_u64 << index)
    };
    let pool = pools.len();
    let (members, group) = match &formula.of {
        Of::Group(group) => {
            (groups.get(group).into_iter().flatten().fold(0, |bits, p| bits | bit(p)), Some(group.clone()))
        }
        Of::List(items) => {
            let named = items.iter().filter_map(|item| match item {
                Item::Person(person) => Some(person),
                Item::Formula(_) => None,
            });
            (named.fold(0, |bits, person| bits | bit(person)), None)
        }
    };
    pools.push(Pool { members, group });
    let children = match &formula.of {
        Of::Group(_) => Vec::new(),
        Of::List(items) => items
            .iter()
            .filter_map(|item| match item {
                Item::Person(_) => None,
                Item::Formula(inner) => Some(build(inner, groups, persons, pools)),
            })
            .collect(),
    };
    Node { threshold: usize::try_from(formula.threshold).unwrap_or(usize::MAX), pool, members, children }
}
