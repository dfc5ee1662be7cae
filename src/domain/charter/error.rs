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
    /// Every signature is good, but more are needed.
    #[error("the charter is not complete: signatures are missing: {0}")]
    Incomplete(String),
    /// Not the next version.
    #[error("version {in_force} is in force, so the next is {}, not {found}", in_force.saturating_add(1))]
    Version {
        /// The version in force.
        in_force: u32,
        /// The version found.
        found: u32,
    },
    /// Two documents of one version.
    #[error(
        "the chain forks: this is, or follows, another version {version} than the one held; keep both, and find out who signed them"
    )]
    Fork {
        /// Which version there is twice.
        version: u32,
    },
    /// Another issuer.
    #[error("the charter names another issuer than the version before it; an issuer never changes")]
    Issuer,
    /// Times that do not fit.
    #[error("the charter's times do not fit: {0}")]
    Times(String),
    /// A key that was somebody else's.
    #[error("the charter is refused: {0}")]
    KeyMoved(String),
    /// An issuing key that goes back in its life.
    #[error("issuing key {kid}: {why}")]
    KeyLife {
        /// Which key.
        kid: crate::jose::Digest,
        /// What is wrong.
        why: String,
    },
    /// An older chain than was seen before.
    #[error(
        "version {seen} was seen here, and this chain ends at {found}: fetch the newer one; it never goes back"
    )]
    Rollback {
        /// The least that is accepted.
        seen: u32,
        /// Where the chain ends.
        found: u32,
    },
    /// Nothing.
    #[error("the chain of charters is empty")]
    NoChain,
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
            Self::Incomplete(_) => "CHARTER_INCOMPLETE",
            Self::Version { .. } => "CHARTER_VERSION",
            Self::Fork { .. } => "CHARTER_FORK",
            Self::Issuer => "CHARTER_ISSUER",
            Self::Times(_) => "CHARTER_TIMES",
            Self::KeyMoved(_) => "CHARTER_KEY_MOVED",
            Self::KeyLife { .. } => "CHARTER_KEY_LIFE",
            Self::Rollback { .. } => "CHARTER_ROLLBACK",
            Self::NoChain => "CHARTER_NO_CHAIN",
            Self::NotPinned { .. } => "CHARTER_NOT_PINNED",
        }
    }
}
