//! Pinned mutual TLS: a peer is the SHA-256 of its certificate's `SubjectPublicKeyInfo`, and nothing else.
//!
//! No CA, no names, no expiry: the charter says whose key it is. TLS 1.3 only, one ALPN protocol, no resumption (each
//! connection proves possession of its key), and the handshake signature is always checked.

mod connection;
mod identity;
mod listener;
mod verify;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

pub use connection::{Connection, Peer};
pub use identity::{Identity, IdentityError};
pub(crate) use listener::{Gate, incoming};
pub use verify::{client_config, client_config_for, server_config, server_config_for};

use crate::jose::Digest;

/// The ALPN protocol of gRPC.
const H2: &[u8] = b"h2";

/// The ALPN protocol of tunnels (RFC 7301: HTTP/1.1, and what it is upgraded to).
pub const HTTP1: &[u8] = b"http/1.1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// SHA-256 of a certificate's `SubjectPublicKeyInfo` in DER: what a charter pins.
pub fn spki_digest(certificate: &CertificateDer<'_>) -> Result<Digest, rustls::Error> {
    let parsed = rustls::server::ParsedCertificate::try_from(certificate)?;
    Ok(Digest::of(&parsed.subject_public_key_info()))
}
