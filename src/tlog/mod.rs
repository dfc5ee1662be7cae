//! Pure transparency log: leaves, proofs, checkpoints, tiles. Knows nothing of what the entries mean.
//!
//! Invariants: no I/O, no clock, no randomness, no keys that sign; every function is a value of its arguments, so the
//! daemon, the auditor and the tests compute the same roots by the same code.
//!
//! Specs: RFC 6962 section 2 (hashes and proofs), RFC 9162 section 2.1 (verification), C2SP signed-note,
//! tlog-checkpoint and tlog-tiles.

mod builder;
mod bundle;
mod checkpoint;
mod error;
mod frontier;
mod hash;
mod note;
mod proof;
mod tile;
mod tree;

pub use builder::{HashTiles, TileBuilder, TileFile};
pub use bundle::{MAX_ENTRY_BYTES, decode_bundle, encode_bundle};
pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use error::TlogError;
pub use frontier::Frontier;
pub use hash::{Hash, leaf_hash, node_hash};
pub use note::{NoteSignature, Origin, VerifierKey};
pub use proof::{
    consistency_nodes, consistency_proof, inclusion_nodes, inclusion_proof, verify_consistency,
    verify_inclusion,
};
pub use tile::{TILE_WIDTH, Tile, bundles_of, hash_tiles_of};
pub use tree::{MAX_SIZE, NodeId, covering_nodes, nodes_for_size, root_at, root_nodes};

#[cfg(test)]
mod tests;
