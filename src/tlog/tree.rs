//! Where nodes are: names of complete nodes, their order of completion, and roots from stored nodes.
//!
//! A *complete* node covers 2^level entries that all exist; it never changes again, so only complete nodes are stored.
//! Any other hash of a tree (its root, the right edge of a proof) is folded from complete ones.
//! Nodes are numbered in the order in which appends complete them, so a store can keep them in one dense sequence
//! that only ever grows at its end.
//!
//! Spec: RFC 6962 section 2.1; `MTH(D[lo:hi])` is written as the range `lo..hi`.

use super::error::TlogError;
use super::hash::{Hash, node_hash};

/// The largest tree: sizes are exact in JSON numbers and fit SQL integers. At 10,000 entries a second it takes 28,000 years.
pub const MAX_SIZE: u64 = (1 << 53) - 1;

/// A complete node: the root of the entries `index << level .. (index + 1) << level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Height above the leaves; 0 is a leaf hash.
    pub level: u8,
    /// Position within the level, from the left.
    pub index: u64,
}

impl NodeId {
    /// The place of this node in the order in which nodes become complete, from 0.
    ///
    /// Defined for nodes of trees up to [`MAX_SIZE`].
    #[must_use]
    pub fn position(self) -> u64 {
        // The node is completed by the last leaf under it, after the nodes of lower levels above the same leaf.
        let last_leaf = ((self.index + 1) << self.level) - 1;
        nodes_for_size(last_leaf) + u64::from(self.level)
    }
}

/// How many complete nodes a tree of `size` entries has, leaves included.
#[must_use]
pub fn nodes_for_size(size: u64) -> u64 {
    // n/2 parents, n/4 grandparents …: 2n minus one per bit that has no partner yet.
    2 * size - u64::from(size.count_ones())
}

/// The complete nodes whose fold is the root of a tree of `size` entries, from the left. Empty for the empty tree.
#[must_use]
pub fn root_nodes(size: u64) -> Vec<NodeId> {
    covering_nodes(0, size)
}

/// The root of the first `size` entries, from their complete nodes.
pub fn root_at(size: u64, node: impl Fn(NodeId) -> Option<Hash>) -> Result<Hash, TlogError> {
    if size > MAX_SIZE {
        return Err(TlogError::IndexOutOfRange { index: size, size: MAX_SIZE });
    }
    range_hash(0, size, &node)
}

/// The fewest complete nodes that cover exactly the entries `lo..hi`, from the left, for any `lo`.
#[must_use]
pub fn covering_nodes(lo: u64, hi: u64) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut lo = lo;
    while lo < hi {
        // As high as the left edge is aligned for, and the right one leaves room.
        let level = lo.trailing_zeros().min((hi - lo).ilog2());
        nodes.push(NodeId { level: u8::try_from(level).unwrap_or(u8::MAX), index: lo >> level });
        lo += 1 << level;
    }
    nodes
}

/// The hash of the subtree `lo..hi`, where `lo` is a multiple of a power of two not below `hi - lo`: then its complete
/// nodes fall in size, and fold from the right. The empty range is the empty tree.
pub(super) fn range_hash(
    lo: u64,
    hi: u64,
    node: &impl Fn(NodeId) -> Option<Hash>,
) -> Result<Hash, TlogError> {
    let mut folded = None;
    for id in covering_nodes(lo, hi).into_iter().rev() {
        let left = node(id).ok_or(TlogError::MissingNode(id))?;
        folded = Some(folded.map_or(left, |right| node_hash(&left, &right)));
    }
    Ok(folded.unwrap_or_else(Hash::of_empty_tree))
}
