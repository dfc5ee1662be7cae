//! Why the engine did not do what it was asked.

use crate::{
    domain::Refusal,
    hsm::HsmError,
    store::{AppendError, StoreError},
    tlog::TlogError,
};

/// Why a command came to nothing, or a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too much is waiting already.
    #[error("the daemon is overloaded; try again in a moment")]
    Overloaded,
    /// The daemon is going down.
    #[error("the daemon is stopping; ask again when it is back")]
    Stopping,
    /// An invariant was found broken; nothing more is decided until a person has looked.
    #[error(
        "the daemon has latched: {0}; nothing is signed until an operator has looked into it and restarted it"
    )]
    Latched(String),
    /// A kill comes first.
    #[error(
        "a kill is in force that the audit log has not taken; nothing else is decided until it has: look at the disk of the daemon"
    )]
    Unrecorded,
    /// The log took nothing.
    #[error("the audit log did not take the entry")]
    Log(#[source] AppendError),
    /// The log could not be read.
    #[error("the audit log could not be read")]
    Store(#[from] StoreError),
    /// A proof could not be made.
    #[error("the proof could not be made")]
    Proof(#[from] TlogError),
    /// The clock is wrong.
    #[error(transparent)]
    Clock(#[from] super::clock::ClockFault),
    /// No randomness.
    #[error("the system gave no randomness")]
    Randomness(#[source] getrandom::Error),
    /// The HSM failed.
    #[error("the signing device failed")]
    Hsm(#[from] HsmError),
    /// Nobody could sign what is said about tokens.
    #[error(
        "no device of this daemon has an operational key of the charter; check [operational] in the configuration"
    )]
    NoOperationalKey,
    /// The device made something else of it.
    #[error("the operational device made a signature that does not verify with the charter's key")]
    OperationalSignature,
    /// A device has not answered at all.
    #[error("a signing device has not answered for half a minute; its module may hang: look at the HSM")]
    DeviceSilent,
    /// The token is not there yet, and the caller did not want to wait longer.
    #[error("the request is {state}; its token is not there yet{}", setback.map(|s| format!(": {s}")).unwrap_or_default())]
    NotYet {
        /// The state of the request, in a word.
        state: &'static str,
        /// What holds it up, if anything failed.
        setback: Option<super::Setback>,
    },
    /// What was found at start does not fit together.
    #[error("the daemon cannot start: {0}")]
    Start(String),
}

impl EngineError {
    /// The stable reason that clients see.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::Overloaded => "OVERLOADED",
            Self::Stopping => "STOPPING",
            Self::Latched(_) => "LATCHED",
            Self::Unrecorded => "KILL_UNRECORDED",
            Self::Log(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Proof(error) => error.reason(),
            Self::Clock(_) => "CLOCK_REFUSED",
            Self::Randomness(_) => "NO_RANDOMNESS",
            Self::Hsm(error) => error.reason(),
            Self::NoOperationalKey => "OPERATIONAL_KEY_UNKNOWN",
            Self::OperationalSignature => "OPERATIONAL_SIGNATURE_INVALID",
            Self::DeviceSilent => "HSM_SILENT",
            Self::NotYet { .. } => "NOT_ISSUED_YET",
            Self::Start(_) => "START_REFUSED",
        }
    }
}
