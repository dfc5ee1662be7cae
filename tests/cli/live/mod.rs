//! The command line at work: a real `breakglassd`, and virtual YubiKeys behind a real pcscd, from the ceremony on.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stand outside test functions, which clippy's exception covers"
)]

mod ceremony;
mod day;
mod kill;
mod lost;
mod night;
mod offline;
mod openbao;
mod pty;
mod readiness;
mod review;
mod rules;
mod scan;
mod terminal;
mod world;
mod yubikey;
