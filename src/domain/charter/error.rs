//! Why a charter is refused.

use super::super::quorum::QuorumError;
use crate::jose::JoseError;

/// Why a document is not a charter, or a charter not acceptable.
#[derive(Debug, thiserror::Error)]
pub enum CharterError {
    /// Not strict JSON of the right shape, or not a General JWS.
    #[error("the charter is not a strict signed statement")]
    Malformed(#[from] JoseError),
    /// A formula is not a quorum.
    #[error("the formula of {place} is refused")]
    Formula {
        /// Which formula.
        place: String,
        /// Why.
        source: QuorumError,
    },
    /// A rule of the document's content is broken.
    #[error("the charter is refused: {0}")]
    Content(String),
    /// A quorum that somebody's absence would make impossible.
    #[error("the charter is refused: {0}")]
    Unsatisfiable(String),
    /// Its signatures are not those it needs.
    #[error("the charter's signatures do not suffice: {0}")]
    Signatures(String),
    /// Not the charter that was pinned.
    #[error(
        "this charter's digest is {found}, but {expected} was pinned: it is another charter; do not use it"
    )]
    NotPinned {
        /// The digest that was pinned.
        expected: crate::jose::Digest,
        /// The digest of what was given.
        found: crate::jose::Digest,
    },
}

impl CharterError {
    /// The stable reason that clients see.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "CHARTER_MALFORMED",
            Self::Formula { .. } => "CHARTER_FORMULA",
            Self::Content(_) => "CHARTER_CONTENT",
            Self::Unsatisfiable(_) => "CHARTER_UNSATISFIABLE",
            Self::Signatures(_) => "CHARTER_SIGNATURES",
            Self::NotPinned { .. } => "CHARTER_NOT_PINNED",
        }
    }
}
