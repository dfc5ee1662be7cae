//! The right edge of a growing tree: enough to append and to know the root, in O(log n) memory.
//!
//! Invariant: `hashes` has one complete node per set bit of `size`, the largest first; what does not fit cannot be
//! constructed, deserialisation included.
//!
//! Spec: RFC 6962 section 2.1 (the recursion, turned into a binary counter).

use serde::{Deserialize, Serialize};

use super::error::TlogError;
use super::hash::{Hash, node_hash};
use super::tree::{MAX_SIZE, NodeId, root_nodes};

/// A tree of `size` entries, reduced to its complete subtrees. Serialised as `{"size", "hashes"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawFrontier")]
pub struct Frontier {
    size: u64,
    hashes: Vec<Hash>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFrontier {
    size: u64,
    hashes: Vec<Hash>,
}

impl Default for Frontier {
    fn default() -> Self {
        Self::empty()
    }
}

impl Frontier {
    /// The tree without entries.
    #[must_use]
    pub const fn empty() -> Self {
        Self { size: 0, hashes: Vec::new() }
    }

    /// A tree from its size and complete subtrees, largest first.
    pub fn new(size: u64, hashes: Vec<Hash>) -> Result<Self, TlogError> {
        if size > MAX_SIZE || u32::try_from(hashes.len()) != Ok(size.count_ones()) {
            return Err(TlogError::BadFrontier { size, hashes: hashes.len() });
        }
        Ok(Self { size, hashes })
    }

    /// A tree from stored nodes.
    pub fn from_nodes(size: u64, node: impl Fn(NodeId) -> Option<Hash>) -> Result<Self, TlogError> {
        if size > MAX_SIZE {
            return Err(TlogError::BadFrontier { size, hashes: 0 });
        }
        let hashes = root_nodes(size)
            .into_iter()
            .map(|id| node(id).ok_or(TlogError::MissingNode(id)))
            .collect::<Result<_, _>>()?;
        Self::new(size, hashes)
    }

    /// The number of entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The complete subtrees, largest first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Adds a leaf hash, and hands `completed` each node that this completes, the leaf first, in the order of
    /// [`NodeId::position`].
    ///
    /// A tree cannot reach [`MAX_SIZE`] in practice; the store refuses appends beyond it.
    pub fn append(&mut self, leaf: Hash, mut completed: impl FnMut(NodeId, Hash)) {
        let mut id = NodeId { level: 0, index: self.size };
        let mut hash = leaf;
        completed(id, hash);
        // As in a binary counter: each trailing one bit of the size is a left neighbour waiting for this node.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.hashes.pop() else { break };
            id = NodeId { level: id.level + 1, index: id.index >> 1 };
            hash = node_hash(&left, &hash);
            completed(id, hash);
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut from_right = self.hashes.iter().rev();
        from_right.next().map_or_else(Hash::of_empty_tree, |smallest| {
            from_right.fold(*smallest, |right, left| node_hash(left, &right))
        })
    }
}

impl TryFrom<RawFrontier> for Frontier {
    type Error = TlogError;

    fn try_from(raw: RawFrontier) -> Result<Self, TlogError> {
        Self::new(raw.size, raw.hashes)
    }
}
