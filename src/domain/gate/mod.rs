//! Gates: what a verifier's processes say under their own key of what they enforce and of what they let pass.
//!
//! Invariants: a statement counts only under a key that the charter gives a verifier; it gives no power, and takes none. Several
//! processes may hold one verifier's key: each has a name of its own, and its uses a number each, so that none counts twice.

mod authority;
mod book;
mod enforced;
mod refusal;
mod statement;

pub(in crate::domain) use book::REPORT_WITHIN;
pub use book::{Gates, Reported, RequestUses, UsedAt};
pub use enforced::{Enforced, MAX_EMBEDDED, MAX_SILENT, Standing};
pub use refusal::GateRefusal;
pub use statement::{Ack, MAX_ACKED, MAX_USES, SignedAck, SignedUses, Use, UseReport};
