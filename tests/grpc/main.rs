//! The gRPC boundary: pinned TLS, limits and typed errors, with clients of this crate and of others.
//!
//! The services behind it are stubs: here only the transport is on trial.

#[cfg(test)]
mod python;
#[cfg(test)]
mod support;
#[cfg(test)]
mod transport;
