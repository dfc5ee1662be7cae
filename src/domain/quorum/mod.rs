//! Quorum formulas: which sets of people may act together.
//!
//! Invariants of a [`Quorum`]: no single person ever satisfies it, everyone together does; one person fills one seat of
//! the whole tree; whoever joins never turns a yes into a no. How it works: the tree is expanded into its alternatives,
//! each a list of seats, and a set of people satisfies the formula if for one alternative every seat can be given to
//! another person (bipartite matching). The limits keep that small: 64 persons are one machine word.

mod choose;
mod expand;
mod formula;
mod matching;
mod resolve;
mod wording;

use std::collections::{BTreeMap, BTreeSet};

pub use formula::{Formula, Item, Of};

use super::id::{GroupId, PersonId};

/// Deepest tree: a formula within a formula within a formula within a formula.
pub const MAX_DEPTH: usize = 4;
/// Most persons that one formula names, groups resolved.
pub const MAX_PERSONS: usize = 64;
/// Most ways to choose among the branches of one formula.
pub const MAX_ALTERNATIVES: u64 = 4096;

/// A formula with its groups resolved, that has been found to be a quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    formula: Formula,
    persons: BTreeSet<PersonId>,
    pools: Vec<Pool>,
    alternatives: Vec<Alternative>,
}

/// The persons of one node of the tree, any of whom may take its seats.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pool {
    /// Bit i is the i-th of `Quorum::persons`.
    members: u64,
    /// The group's name, where the node is a group.
    group: Option<GroupId>,
}

/// One way to satisfy the formula: every seat taken, each by another person.
type Alternative = Vec<Seat>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Seat {
    /// Who may take it, as in [`Pool::members`].
    members: u64,
    /// Index into `Quorum::pools`.
    pool: usize,
}

/// Why a formula is no quorum. `at` is the path of the node, such as `of[0].of[2]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of a variant says what its fields are")]
pub enum QuorumError {
    /// Nobody would have to agree.
    #[error("the threshold at {at} is 0: it must be at least 1")]
    ThresholdZero { at: String },
    /// More seats than could ever be filled.
    #[error(
        "the threshold at {at} is {threshold}, but only {available} can be chosen from: lower it, or add some"
    )]
    ThresholdTooHigh { at: String, threshold: u32, available: usize },
    /// A group that is not defined.
    #[error("the group {group} at {at} is unknown: define it, or correct its name")]
    UnknownGroup { at: String, group: GroupId },
    /// A group without members.
    #[error("the group {group} at {at} has no members")]
    EmptyGroup { at: String, group: GroupId },
    /// A list without entries.
    #[error("the list at {at} is empty")]
    EmptyList { at: String },
    /// A person twice in one list.
    #[error("{person} stands twice in the list at {at}: nobody counts twice")]
    DuplicatePerson { at: String, person: PersonId },
    /// Nested too deeply to be understood.
    #[error("the formula nests deeper than {MAX_DEPTH} levels at {at}")]
    TooDeep { at: String },
    /// Too many persons.
    #[error("the formula names more than {MAX_PERSONS} persons")]
    TooManyPersons,
    /// Too many combinations of branches.
    #[error("the formula has more than {MAX_ALTERNATIVES} alternatives: simplify it")]
    TooManyAlternatives,
    /// The promise of the product: never one alone.
    #[error("one person alone could satisfy the formula: every way through it must need at least two")]
    OnePersonSuffices,
    /// Seats that have to be filled by the same person, so that even everyone together is not enough.
    #[error("nobody can satisfy the formula, not even everyone together: its branches need the same persons")]
    Unsatisfiable,
}

impl QuorumError {
    /// The stable, machine-readable name of this error.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ThresholdZero { .. } => "QUORUM_THRESHOLD_ZERO",
            Self::ThresholdTooHigh { .. } => "QUORUM_THRESHOLD_TOO_HIGH",
            Self::UnknownGroup { .. } => "QUORUM_GROUP_UNKNOWN",
            Self::EmptyGroup { .. } => "QUORUM_GROUP_EMPTY",
            Self::EmptyList { .. } => "QUORUM_LIST_EMPTY",
            Self::DuplicatePerson { .. } => "QUORUM_PERSON_DUPLICATE",
            Self::TooDeep { .. } => "QUORUM_TOO_DEEP",
            Self::TooManyPersons => "QUORUM_TOO_MANY_PERSONS",
            Self::TooManyAlternatives => "QUORUM_TOO_MANY_ALTERNATIVES",
            Self::OnePersonSuffices => "QUORUM_ONE_PERSON_SUFFICES",
            Self::Unsatisfiable => "QUORUM_UNSATISFIABLE",
        }
    }
}

impl Quorum {
    /// Resolves the groups of a formula, and accepts it only if it needs two persons at least and can be satisfied.
    ///
    /// # Errors
    /// The first rule that the formula breaks.
    pub fn new(
        formula: Formula,
        groups: &BTreeMap<GroupId, BTreeSet<PersonId>>,
    ) -> Result<Self, QuorumError> {
        let tree = resolve::resolve(&formula, groups)?;
        let mut alternatives = expand::expand(&tree.root)?;
        let everyone = tree.everyone();
        // Seats of branches that overlap too much can never all be taken; such an alternative means nothing.
        alternatives.retain(|seats| matching::fills(seats, everyone));
        match alternatives.iter().map(Vec::len).min() {
            None => Err(QuorumError::Unsatisfiable),
            Some(0 | 1) => Err(QuorumError::OnePersonSuffices),
            Some(_) => Ok(Self { formula, persons: tree.persons, pools: tree.pools, alternatives }),
        }
    }

    /// Whether these persons together are enough. More than enough is enough; strangers to the formula are ignored.
    #[must_use]
    pub fn satisfied_by(&self, present: &BTreeSet<PersonId>) -> bool {
        let present = self.bits(present);
        self.alternatives.iter().any(|seats| matching::fills(seats, present))
    }

    /// Everyone who can count towards this quorum.
    #[must_use]
    pub const fn persons(&self) -> &BTreeSet<PersonId> {
        &self.persons
    }

    /// The most approvals that a set can have in which none is superfluous.
    #[must_use]
    pub fn most_seats(&self) -> usize {
        self.alternatives.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The formula as it was written.
    #[must_use]
    pub const fn formula(&self) -> &Formula {
        &self.formula
    }

    fn bits(&self, set: &BTreeSet<PersonId>) -> u64 {
        let members = self.persons.iter().enumerate().filter(|(_, person)| set.contains(*person));
        members.fold(0, |bits, (index, _)| bits | 1 << index)
    }
}

#[cfg(test)]
mod tests;
