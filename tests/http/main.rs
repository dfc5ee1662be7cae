//! HTTP, judged by verifiers and clients that were not written here, and by hostile ones that were.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stand outside test functions, which clippy's exception covers"
)]

mod calls;
mod client;
mod device;
mod documents;
mod events;
mod foreign;
mod health;
mod hooks;
mod introspection;
#[expect(dead_code, reason = "shared with tests/core, which uses all of it")]
#[expect(clippy::needless_pass_by_value, reason = "as in tests/core")]
#[path = "../core/kit.rs"]
mod kit;
mod limits;
mod metrics;
mod probes;
mod secrets;
mod status_list;
mod tiles;
mod verifier;
mod world;
