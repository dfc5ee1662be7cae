//! The whole product, end to end: the real `breakglassd`, a real `SoftHSM`, gRPC over pinned mTLS; only the custodians'
//! keys are software here (the virtual YubiKeys have their own tests).
//!
//! Every test has a world of its own: directories, ports, tokens, charter, and a daemon that is ended by its process id.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests stand outside test functions, which clippy's exception covers"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "json! makes values, and tests read better without borrowing each"
)]

mod algorithms;
mod canary;
mod client;
mod consumers;
mod crash;
mod daemon;
mod export;
mod failover;
mod faults;
mod flow;
mod kill;
#[path = "../core/kit.rs"]
#[expect(dead_code, reason = "the kit serves the tests of the core as well, which use other parts of it")]
mod kit;
mod refusals;
mod replay;
mod rotation;
mod secrets;
mod setup;
mod succession;
mod thief;
mod tool;
mod wish;
mod world;
