//! The promises of SECURITY.md against somebody who has everything but the people: the HSM's PIN, the database, the
//! daemon's TLS key, and raw tools for each.

pub mod database;
mod device;
mod promise;
mod raw;
pub mod rules;
mod wire;
