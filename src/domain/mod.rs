//! The pure core: every rule of the product, as functions of values. No I/O, no clock, no randomness.
//!
//! `decide` says which events follow from a command, `evolve` what they mean, `strict` what a verifier accepts, and
//! `replay` lets an auditor do all of it again.

pub mod ahead;
pub mod attestation;
pub mod canary;
pub mod charter;
pub mod check_in;
pub mod claims;
pub mod command;
pub mod decide;
pub mod detail;
pub mod event;
pub mod evidence;
pub mod evolve;
mod exact;
pub mod gate;
pub mod genesis;
pub mod grant;
pub mod hook;
pub mod id;
mod index;
pub mod introspection;
pub mod kill;
pub mod probe;
pub mod proposal;
pub mod quorum;
pub mod recheck;
pub mod refusal;
pub mod replay;
pub mod request;
pub mod review;
pub mod security_event;
pub mod state;
pub mod statement;
pub mod status;
pub mod strict;
pub mod time;
pub mod transcript;
pub mod words;

pub use command::{Command, Context};
pub use decide::decide;
pub use refusal::{Fault, Refusal};
pub use state::State;
