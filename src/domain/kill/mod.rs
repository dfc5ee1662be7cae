//! Kills and lifts: who may stop what, at which level, and who may end that.
//!
//! Invariants:
//! - A kill is one person's act and takes effect at once; a lift needs the governance quorum. Neither can be replayed: an
//!   id is used once, and a lifted id is dead for ever.
//! - A kill stops requests, approvals, issuance and redemption. It never stops charter changes, kills or lifts, whatever
//!   its target: or whoever kills first could keep the others from answering.
//! - What a kill ended stays ended. After a lift new requests are good again; a token minted before it is not.

mod authority;
mod book;
mod chain;
mod fold;
mod index;
mod learn;
mod refusal;
mod statement;
mod stored;
mod subject;
mod target;

pub use book::{Kills, Lifted, MAX_PER_TARGET, MAX_SINGLE, Recorded, Step, UNKNOWN_FOR};
pub use chain::Head;
pub use refusal::KillRefusal;
pub(in crate::domain) use refusal::killed_reason;
pub use statement::{Kill, LIFT_WITHIN, Lift, MAX_LIFTED, SignedKill, SignedLift};
pub use subject::Subject;
pub use target::Target;
