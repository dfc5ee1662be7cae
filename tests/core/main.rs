//! The pure core, judged from outside: by a naive model of it, by thieves, and by an auditor.
//!
//! Everything here is a function of values: keys are made from names, and time is a number that the test chooses.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stand outside test functions, which clippy's exception covers"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "json! makes values, and tests read better without borrowing each"
)]
#![expect(clippy::similar_names, reason = "what is done and what is said about it have similar names")]

mod algorithms;
mod attestation;
mod canary;
mod chain;
mod charter;
mod check_in;
mod difference;
mod forecast;
mod gate;
mod genesis;
mod introspection;
mod key_kill;
mod kill;
mod kill_chain;
mod kit;
mod leaving;
mod lessons;
mod model;
mod outside;
mod recovery;
mod reference;
mod replay;
mod review;
mod rules;
mod size;
mod status;
mod strict;
mod succession;
mod transcript;
