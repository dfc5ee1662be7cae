//! The command line as people meet it: help, drafts, charters, errors and exit codes; and whole stories, with a daemon,
//! SoftHSM and virtual YubiKeys (`live`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "helpers of tests stand outside test functions, which clippy's exception covers"
)]

mod audit;
mod ceremonies;
mod charter;
mod config;
mod help;
mod keys;
#[path = "../core/kit.rs"]
#[expect(dead_code, reason = "the kit serves the tests of the core as well, which use other parts of it")]
mod kit;
mod live;
mod run;
