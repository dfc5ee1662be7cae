//! Inclusion and consistency proofs: made from stored nodes, verified from nothing but hashes.
//!
//! Making a proof has two steps, so that an asynchronous store needs no asynchronous Merkle code: `*_nodes` names the
//! complete nodes that are needed, `*_proof` folds them. Verification walks the bits of the position, as RFC 9162 does,
//! and shares no code with the making.
//!
//! Spec: RFC 6962 sections 2.1.1 and 2.1.2; RFC 9162 sections 2.1.3.2 and 2.1.4.2.

use std::ops::Range;

use super::error::TlogError;
use super::hash::{Hash, node_hash};
use super::tree::{MAX_SIZE, NodeId, covering_nodes, range_hash};

/// The nodes that [`inclusion_proof`] will ask for.
pub fn inclusion_nodes(index: u64, size: u64) -> Result<Vec<NodeId>, TlogError> {
    Ok(nodes_of(&inclusion_ranges(index, size)?))
}

/// The proof that entry `index` is in the tree of the first `size` entries, leaf side first.
pub fn inclusion_proof(
    index: u64,
    size: u64,
    node: impl Fn(NodeId) -> Option<Hash>,
) -> Result<Vec<Hash>, TlogError> {
    hashes_of(&inclusion_ranges(index, size)?, &node)
}

/// The nodes that [`consistency_proof`] will ask for.
pub fn consistency_nodes(from: u64, to: u64) -> Result<Vec<NodeId>, TlogError> {
    Ok(nodes_of(&consistency_ranges(from, to)?))
}

/// The proof that the tree of `from` entries is a prefix of the tree of `to` entries. Empty where there is nothing to
/// prove: `from` is 0 or equal to `to`.
pub fn consistency_proof(
    from: u64,
    to: u64,
    node: impl Fn(NodeId) -> Option<Hash>,
) -> Result<Vec<Hash>, TlogError> {
    hashes_of(&consistency_ranges(from, to)?, &node)
}

/// Checks that the leaf is entry `index` of the tree of `size` entries with this root.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), TlogError> {
    if index >= size || size > MAX_SIZE {
        return Err(TlogError::IndexOutOfRange { index, size });
    }
    let (mut position, mut last) = (index, size - 1);
    let mut folded = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(TlogError::ProofLength);
        }
        if position & 1 == 1 || position == last {
            folded = node_hash(sibling, &folded);
            // A node without right neighbour rises unchanged until it is a right child.
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            folded = node_hash(&folded, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(TlogError::ProofLength);
    }
    if folded == *root { Ok(()) } else { Err(TlogError::ProofMismatch) }
}

/// Checks that the tree (`from`, `from_root`) is a prefix of the tree (`to`, `to_root`).
///
/// The empty tree is a prefix of every tree, and each tree of itself; both have the empty proof.
pub fn verify_consistency(
    from: u64,
    from_root: &Hash,
    to: u64,
    to_root: &Hash,
    proof: &[Hash],
) -> Result<(), TlogError> {
    if from > to || to > MAX_SIZE {
        return Err(TlogError::SizesReversed { from, to });
    }
    if from == 0 || from == to {
        let equal = if from == 0 { *from_root == Hash::of_empty_tree() } else { from_root == to_root };
        return match (proof.is_empty(), equal && (to != 0 || *to_root == Hash::of_empty_tree())) {
            (false, _) => Err(TlogError::ProofLength),
            (true, false) => Err(TlogError::ProofMismatch),
            (true, true) => Ok(()),
        };
    }
    // A complete old tree is itself the first node of the path, and is left out of the proof.
    let mut path = proof.iter();
    let first =
        if from.is_power_of_two() { *from_root } else { *path.next().ok_or(TlogError::ProofLength)? };
    let shift = (from - 1).trailing_ones();
    let (mut old_position, mut last) = ((from - 1) >> shift, (to - 1) >> shift);
    let (mut old, mut new) = (first, first);
    for sibling in path {
        if last == 0 {
            return Err(TlogError::ProofLength);
        }
        if old_position & 1 == 1 || old_position == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while old_position & 1 == 0 && old_position != 0 {
                old_position >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        old_position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(TlogError::ProofLength);
    }
    if old == *from_root && new == *to_root { Ok(()) } else { Err(TlogError::ProofMismatch) }
}

/// The subtrees of `PATH(index, D[size])`, leaf side first.
fn inclusion_ranges(index: u64, size: u64) -> Result<Vec<Range<u64>>, TlogError> {
    if index >= size || size > MAX_SIZE {
        return Err(TlogError::IndexOutOfRange { index, size });
    }
    let mut ranges = Vec::new();
    let (mut lo, mut hi) = (0, size);
    while hi - lo > 1 {
        let middle = lo + split(hi - lo);
        if index < middle {
            ranges.push(middle..hi);
            hi = middle;
        } else {
            ranges.push(lo..middle);
            lo = middle;
        }
    }
    ranges.reverse();
    Ok(ranges)
}

/// The subtrees of `PROOF(from, D[to])`, in the order of RFC 6962.
fn consistency_ranges(from: u64, to: u64) -> Result<Vec<Range<u64>>, TlogError> {
    if from > to || to > MAX_SIZE {
        return Err(TlogError::SizesReversed { from, to });
    }
    let mut ranges = Vec::new();
    if from == 0 {
        return Ok(ranges);
    }
    let (mut lo, mut hi) = (0, to);
    while from < hi {
        let middle = lo + split(hi - lo);
        if from <= middle {
            ranges.push(middle..hi);
            hi = middle;
        } else {
            ranges.push(lo..middle);
            lo = middle;
        }
    }
    // Where the walk never went right, what is left is the old tree itself, which the verifier knows.
    if lo != 0 {
        ranges.push(lo..hi);
    }
    ranges.reverse();
    Ok(ranges)
}

/// The largest power of two below `width`, for a width above 1.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

fn nodes_of(ranges: &[Range<u64>]) -> Vec<NodeId> {
    ranges.iter().flat_map(|range| covering_nodes(range.start, range.end)).collect()
}

fn hashes_of(ranges: &[Range<u64>], node: &impl Fn(NodeId) -> Option<Hash>) -> Result<Vec<Hash>, TlogError> {
    ranges.iter().map(|range| range_hash(range.start, range.end, node)).collect()
}
