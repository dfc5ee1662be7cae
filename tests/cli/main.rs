//! The command line as people meet it: help, drafts, charters, errors and exit codes. No daemon, no hardware.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stand outside test functions, which clippy's exception covers"
)]

mod charter;
mod config;
mod help;
mod keys;
mod run;
