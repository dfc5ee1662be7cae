//! Why a kill or a lift is refused, or something else because of a kill.

use super::{MAX_PER_TARGET, MAX_SINGLE};
use crate::domain::{charter::KillLevel, id::KillId, refusal::Fault};

/// Why, with a stable reason each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KillRefusal {
    /// Something was killed that this needs.
    #[error("{what} was killed; breakglass kill status says by whom and why, and a lift by quorum ends it")]
    Killed {
        /// At which level.
        level: KillLevel,
        /// What, in words.
        what: String,
    },
    /// This level is not for this key.
    #[error(
        "this key has no right to kill at the level {0}: any custodian's hardware key has, and who else the charter names"
    )]
    NoRight(KillLevel),
    /// A lift took the right away.
    #[error("a lift by quorum has taken the right to kill from this key, until the next charter")]
    Suspended,
    /// Nobody and nothing of that name.
    #[error("there is no {level} {name} in the charter; check the spelling")]
    TargetUnknown {
        /// The level.
        level: KillLevel,
        /// What was named.
        name: String,
    },
    /// An unknown id, and the statement so old or new that it could never be told from a repetition.
    #[error(
        "no request {0} is known, and the kill was signed so long from now that none could be alive; check id and clock"
    )]
    Moot(String),
    /// Other bytes under an id in use.
    #[error("another kill has the id {0}; sign one with an id of its own")]
    IdReused(KillId),
    /// Dead for ever.
    #[error("the kill {0} was lifted, and no id is used twice; sign a new one")]
    AlreadyLifted(KillId),
    /// Over the limit.
    #[error(
        "so many kills of this are in force already ({MAX_PER_TARGET} of one target, {MAX_SINGLE} of single tokens and requests) that one more is not taken; kill all is never refused for this"
    )]
    TooMany,
    /// No such kill.
    #[error("no kill {0} is in force; see breakglass kill status")]
    Unknown(KillId),
    /// Of one token or request.
    #[error("the kill {0} ended one token or request, and that cannot be undone; file a new request instead")]
    Final(KillId),
    /// Signed for another epoch.
    #[error(
        "the lift is for the kill epoch {signed}, and it is {now} by now: somebody has killed since; sign a new one"
    )]
    Epoch {
        /// What was signed.
        signed: u64,
        /// The current one.
        now: u64,
    },
    /// Too few signatures.
    #[error("the lift needs the governance quorum; missing: {0}")]
    LiftIncomplete(String),
    /// At a station.
    #[error("{0} signed the lift at a station, which lifts do not allow")]
    LiftAtStation(String),
    /// The same key again.
    #[error("{0} signed the lift twice with one key")]
    SignedTwice(String),
    /// Its signatures are too old, or from before the kill.
    #[error(
        "a signature under the lift was given before the kill it lifts, or more than a day ago; sign again"
    )]
    LiftStale,
    /// A kill or lift that does not follow on those that were shown before it.
    #[error(
        "the chain of kills is broken: step {told} does not follow on step {known}; something was left out, or changed"
    )]
    ChainBroken {
        /// The last step that followed.
        known: u64,
        /// The step that was told.
        told: u64,
    },
    /// A kill that was in force is not shown any more, nor a lift that names it.
    #[error("the kill {0} was in force, and is not shown any more, nor its lift; something was left out")]
    Hidden(KillId),
}

impl KillRefusal {
    /// Something of this level was killed.
    #[must_use]
    pub fn killed(target: &super::Target) -> Self {
        Self::Killed { level: target.level(), what: target.to_string() }
    }

    /// The stable reason that clients see.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Killed { level, .. } => killed_reason(*level),
            Self::NoRight(_) => "NO_KILL_RIGHT",
            Self::Suspended => "KILL_RIGHT_SUSPENDED",
            Self::TargetUnknown { .. } => "KILL_TARGET_UNKNOWN",
            Self::Moot(_) => "KILL_MOOT",
            Self::IdReused(_) => "KILL_ID_REUSED",
            Self::AlreadyLifted(_) => "KILL_LIFTED",
            Self::TooMany => "TOO_MANY_KILLS",
            Self::Unknown(_) => "KILL_UNKNOWN",
            Self::Final(_) => "KILL_FINAL",
            Self::Epoch { .. } => "KILL_EPOCH_MISMATCH",
            Self::LiftIncomplete(_) => "LIFT_INCOMPLETE",
            Self::LiftAtStation(_) => "STATION_FORBIDDEN",
            Self::SignedTwice(_) => "ALREADY_SIGNED",
            Self::LiftStale => "LIFT_STALE",
            Self::ChainBroken { .. } => "KILL_CHAIN_BROKEN",
            Self::Hidden(_) => "KILL_HIDDEN",
        }
    }

    /// What kind of fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoRight(_) | Self::Suspended | Self::LiftAtStation(_) => Fault::Denied,
            Self::TargetUnknown { .. } | Self::Unknown(_) => Fault::Missing,
            Self::IdReused(_) | Self::AlreadyLifted(_) | Self::SignedTwice(_) => Fault::Duplicate,
            Self::TooMany => Fault::Limit,
            Self::LiftIncomplete(_) | Self::ChainBroken { .. } | Self::Hidden(_) => Fault::Invalid,
            Self::Killed { .. } | Self::Moot(_) | Self::Final(_) | Self::Epoch { .. } | Self::LiftStale => {
                Fault::State
            }
        }
    }
}

/// The stable reason for what a kill of this level stops; the same at the daemon and at every verifier.
#[must_use]
pub(in crate::domain) const fn killed_reason(level: KillLevel) -> &'static str {
    match level {
        KillLevel::Jti | KillLevel::Request => "TOKEN_KILLED",
        KillLevel::Requester => "REQUESTER_KILLED",
        KillLevel::Profile => "PROFILE_KILLED",
        KillLevel::Key => "KEY_KILLED",
        KillLevel::All => "LOCKDOWN",
    }
}
