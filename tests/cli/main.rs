//! The command line as people meet it: help, drafts, charters, errors and exit codes; and whole stories, with a daemon,
//! SoftHSM and virtual YubiKeys (`live`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stand outside test functions, which clippy's exception covers"
)]

mod charter;
mod config;
mod help;
mod keys;
mod live;
mod run;
