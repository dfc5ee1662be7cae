//! The gRPC boundary: pinned TLS, limits and typed errors, with clients of this crate and of others.
//!
//! `transport` and `python` put the transport on trial, before stub services; the others the services, over a real
//! engine.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod coming;
#[cfg(test)]
mod flow;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod genesis;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod moody;
#[cfg(test)]
mod python;
#[cfg(test)]
mod readiness;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod support;
#[cfg(test)]
mod transport;
#[cfg(test)]
mod world;
