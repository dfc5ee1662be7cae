//! Tunnels: TCP to a database or a host, for as long as a token stands.
//!
//! ```text
//! breakglass connect ──TLS 1.3, certificate of the token's key──▶ arrive ──▶ admit ──▶ carry ◀──▶ target
//!                                                                             │          ▲
//!                                                                       Gate::ask_for   standing: killed? expired? stale?
//! ```
//!
//! Invariants:
//! - A byte reaches the target only for a token that the gate accepted for this resource, from whoever holds its key: the
//!   handshake proves that, with the key that the token's `cnf` names (`jkt`), or with its certificate (`x5t#S256`).
//! - An open connection is judged again with every change of the view, at its token's `exp`, and every second; it is cut before
//!   another byte is read, both ways at once. It outlives a view that is stale by the configured grace, and nothing else.
//! - Strangers have places, time and bytes of their own, so that they cannot take those of open connections.
//!
//! The exchange is described in `client::tunnel`.

mod admit;
mod arrive;
mod carry;
mod metrics;
mod standing;

pub(super) use arrive::Sockets;
pub(super) use metrics::TunnelMetrics;
