//! From a tree to its alternatives: which branches are used, and so which seats there are.
//!
//! A node with threshold k over p persons and some formulas uses j of the formulas and k - j seats that any of the p
//! may take, for every j that is possible. Invariant: the number is known to be within `MAX_ALTERNATIVES` before
//! anything is expanded, so a hostile formula costs nothing.

use super::resolve::Node;
use super::{Alternative, MAX_ALTERNATIVES, MAX_PERSONS, QuorumError, Seat};

pub(super) fn expand(root: &Node) -> Result<Vec<Alternative>, QuorumError> {
    if count(root) > MAX_ALTERNATIVES {
        return Err(QuorumError::TooManyAlternatives);
    }
    let mut alternatives = alternatives(root);
    alternatives.sort();
    alternatives.dedup();
    Ok(alternatives)
}

/// How many of the children have to be used at least, because the persons do not suffice.
fn fewest(node: &Node) -> usize {
    node.threshold.saturating_sub(node.members.count_ones() as usize)
}

/// The number of alternatives of a node; saturating.
fn count(node: &Node) -> u64 {
    // ways[j]: how many ways there are to use j of the children looked at so far.
    let mut ways = vec![0_u64; node.threshold.min(node.children.len()) + 1];
    if let Some(none) = ways.first_mut() {
        *none = 1;
    }
    for child in &node.children {
        let of_child = count(child);
        let mut before = 0;
        for way in &mut ways {
            let with = u64::saturating_mul(before, of_child);
            before = *way;
            *way = way.saturating_add(with);
        }
    }
    ways.iter().skip(fewest(node)).fold(0, |sum, way| sum.saturating_add(*way))
}

fn alternatives(node: &Node) -> Vec<Alternative> {
    let fewest = fewest(node);
    // How many children are used so far, and the seats within them.
    let mut partial: Vec<(usize, Alternative)> = vec![(0, Vec::new())];
    let mut left = node.children.len();
    for child in &node.children {
        left -= 1;
        let within = alternatives(child);
        let mut next = Vec::new();
        for (used, seats) in partial {
            if used < node.threshold {
                next.extend(within.iter().map(|more| (used + 1, [seats.as_slice(), more].concat())));
            }
            // Without this child there must still be enough others.
            if used + left >= fewest {
                next.push((used, seats));
            }
        }
        // More seats than persons can never be filled.
        next.retain(|(_, seats)| seats.len() <= MAX_PERSONS);
        partial = next;
    }
    let own = Seat { members: node.members, pool: node.pool };
    partial
        .into_iter()
        .map(|(used, mut seats)| {
            seats.resize(seats.len() + (node.threshold - used), own);
            seats
        })
        .collect()
}
