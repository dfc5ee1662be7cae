//! What can be wrong with a proof, a checkpoint, a key or a tile.
//!
//! Every variant has a stable `reason()`, because a client that verifies shows it to a person.

use super::tree::NodeId;

/// A refused proof, note, key or tile. Nothing has side effects, so an error only ever means "do not believe this".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogError {
    /// An index or size that the tree does not have.
    #[error("entry {index} is not in a tree of {size} entries")]
    IndexOutOfRange {
        /// The entry that was asked for.
        index: u64,
        /// The size of the tree it was looked for in.
        size: u64,
    },
    /// A consistency proof towards the past, or beyond the log.
    #[error("no tree of {from} entries can be a prefix of a tree of {to} entries")]
    SizesReversed {
        /// The size claimed to be older.
        from: u64,
        /// The size claimed to be newer.
        to: u64,
    },
    /// A tree larger than 2^53 - 1 entries, or a frontier whose hashes do not fit its size.
    #[error("a tree of {size} entries is not described by {hashes} hashes")]
    BadFrontier {
        /// The size that was claimed.
        size: u64,
        /// The number of hashes that came with it.
        hashes: usize,
    },
    /// The proof has too many or too few hashes for this index and size.
    #[error("the proof has the wrong number of hashes for this position in the tree")]
    ProofLength,
    /// The proof does not lead to the root: entry, proof or root was changed.
    #[error("the proof does not lead to the root of the checkpoint: entry, proof or root was changed")]
    ProofMismatch,
    /// A node that a proof needs is not in the store.
    #[error("the tree node at level {}, index {} is missing; rebuild the nodes from the entries", .0.level, .0.index)]
    MissingNode(NodeId),
    /// Not 32 bytes of standard base64.
    #[error("not a hash: 32 bytes in standard base64 are expected")]
    BadHash,
    /// An origin or key name outside the rules of signed-note, or too long.
    #[error("not a valid origin: 1 to 255 bytes, no spaces, no control characters, no plus sign")]
    BadOrigin,
    /// A verifier key that does not parse, or whose key id does not belong to its name and key.
    #[error("not a valid verifier key: {0}")]
    BadVerifierKey(&'static str),
    /// A note or checkpoint that does not parse.
    #[error("not a valid signed checkpoint: {0}")]
    BadNote(&'static str),
    /// The checkpoint is of another log than the key.
    #[error("the checkpoint is of another log than the key that should have signed it")]
    OriginMismatch,
    /// No line of the note was made by this key.
    #[error("the checkpoint carries no signature by this key")]
    Unsigned,
    /// A line of the note names this key, and its signature is wrong.
    #[error("the checkpoint's signature by this key is wrong: checkpoint or signature was changed")]
    BadSignature,
    /// An entry longer than an entry bundle can hold.
    #[error("an entry of {0} bytes does not fit a bundle, which holds at most 65,535 bytes per entry")]
    EntryTooLong(usize),
    /// A tile path, or the content of a tile or bundle, that cannot be.
    #[error("not a valid tile: {0}")]
    BadTile(&'static str),
}

impl TlogError {
    /// The stable name of this error for programs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::IndexOutOfRange { .. } => "LOG_INDEX_OUT_OF_RANGE",
            Self::SizesReversed { .. } => "LOG_SIZES_REVERSED",
            Self::BadFrontier { .. } => "LOG_FRONTIER_INVALID",
            Self::ProofLength => "LOG_PROOF_LENGTH",
            Self::ProofMismatch => "LOG_PROOF_MISMATCH",
            Self::MissingNode(_) => "LOG_NODE_MISSING",
            Self::BadHash => "LOG_HASH_INVALID",
            Self::BadOrigin => "LOG_ORIGIN_INVALID",
            Self::BadVerifierKey(_) => "LOG_VERIFIER_KEY_INVALID",
            Self::BadNote(_) => "LOG_CHECKPOINT_INVALID",
            Self::OriginMismatch => "LOG_ORIGIN_MISMATCH",
            Self::Unsigned => "LOG_CHECKPOINT_UNSIGNED",
            Self::BadSignature => "LOG_CHECKPOINT_SIGNATURE_WRONG",
            Self::EntryTooLong(_) => "LOG_ENTRY_TOO_LONG",
            Self::BadTile(_) => "LOG_TILE_INVALID",
        }
    }
}
