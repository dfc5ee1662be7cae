//! Breakglass: emergency access that a quorum of people signs and an HSM issues.
//!
//! Lower modules never import higher ones (`tests/tidy` enforces it):
//! `cli`, `daemon` → `gate` → `grpc`, `http`, `client` → `engine` → `hsm`, `piv`, `store`, `fetch` → `domain` → `jose`, `tlog`.

pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod engine;
pub mod fetch;
pub mod gate;
pub mod grpc;
pub mod hsm;
pub mod http;
pub mod jose;
pub mod piv;
pub mod store;
pub mod telemetry;
pub mod tlog;
