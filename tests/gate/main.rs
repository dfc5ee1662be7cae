//! The gate: its decisions as a function, and the real `breakglass-gate` beside real proxies, with a real daemon.
//!
//! Every test has a world of its own: directories, ports, tokens, charter; whatever it starts is ended by its process id.

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

mod abuse;
mod acks;
mod at;
mod caddy;
mod check;
#[path = "../e2e/client.rs"]
#[expect(dead_code, reason = "the client serves the tests of the daemon as well, which make other calls")]
mod client;
#[path = "../e2e/daemon.rs"]
#[expect(dead_code, reason = "the same")]
mod daemon;
mod decide;
mod dpop;
mod envoy;
mod faults;
#[path = "../core/kit.rs"]
#[expect(dead_code, reason = "the kit serves the tests of the core as well, which use other parts of it")]
mod kit;
mod nginx;
mod place;
mod tunnel;
mod view;
#[path = "../e2e/wish.rs"]
#[expect(dead_code, reason = "the same")]
mod wish;
#[path = "../e2e/world.rs"]
#[expect(dead_code, reason = "the same")]
mod world;
