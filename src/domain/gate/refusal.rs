//! Why what a gate says is refused.

use crate::domain::refusal::Fault;

/// Why what a gate says is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateRefusal {
    /// A key of somebody else.
    #[error("only a verifier of the charter acknowledges kills and reports uses; this key is not one's")]
    NotAVerifier,
    /// A statement that says nothing, or too much.
    #[error("the gate's statement is refused: {0}")]
    Shape(&'static str),
    /// A number that was used.
    #[error(
        "the gate has reported up to number {last}: what it reports now has a higher one, or is the same report again"
    )]
    Number {
        /// The newest number of this gate that the log has.
        last: u64,
    },
    /// Signed long ago, or in the future.
    #[error(
        "the report was signed more than eight days before or after now; sign it again, and check the gate's clock"
    )]
    Clock,
    /// Too many names.
    #[error("too many gates report: this one is new, and there is no room for its name")]
    TooMany,
    /// Another chain.
    #[error(
        "the gate names another hash over the kills up to step {0} than this log: one of the two was told another story"
    )]
    OtherChain(u64),
    /// A kill that is not in force, or whose enforcement is recorded.
    #[error("no such kill is in force, or how it is enforced was recorded before")]
    NotDue,
    /// Numbers that cannot be.
    #[error("what is said of the gates contradicts itself: {0}")]
    Contradiction(&'static str),
}

impl GateRefusal {
    /// The stable reason that clients see.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotAVerifier => "NOT_A_VERIFIER",
            Self::Shape(_) => "GATE_STATEMENT_INVALID",
            Self::Number { .. } => "USE_NUMBER",
            Self::Clock => "GATE_CLOCK",
            Self::TooMany => "TOO_MANY_GATES",
            Self::OtherChain(_) => "KILL_CHAIN_DIFFERS",
            Self::NotDue => "ENFORCEMENT_NOT_DUE",
            Self::Contradiction(_) => "ENFORCEMENT_INVALID",
        }
    }

    /// What kind of fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NotAVerifier => Fault::Denied,
            Self::Shape(_) | Self::Contradiction(_) => Fault::Invalid,
            Self::Number { .. } => Fault::Duplicate,
            Self::Clock | Self::OtherChain(_) | Self::NotDue => Fault::State,
            Self::TooMany => Fault::Limit,
        }
    }
}
