//! gRPC: services, pinned TLS, and the single mapping from errors to statuses.
//!
//! `v1` is generated from `proto/` by `cargo run -p codegen`; a test of that crate tells when it is stale.

mod access;
pub mod api;
mod audit;
pub mod cert;
mod charter;
mod count;
mod end;
pub mod front;
mod gate;
mod genesis;
mod kill;
pub(crate) mod places;
mod roster;
pub mod server;
pub mod status;
pub(crate) mod time;
pub mod tls;
mod typed;
mod verifier;

pub(crate) use kill::parse_head as kill_head;

#[rustfmt::skip]
#[expect(clippy::pedantic, clippy::large_enum_variant, reason = "generated")]
#[path = "gen/breakglass.v1.rs"]
pub mod v1;

/// What Envoy asks a gate, by Envoy's own numbers.
#[rustfmt::skip]
#[expect(clippy::pedantic, reason = "generated")]
#[path = "gen/envoy.service.auth.v3.rs"]
pub mod envoy;

/// The encoded `FileDescriptorSet` of `v1` and all it imports, as reflection serves it.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");
