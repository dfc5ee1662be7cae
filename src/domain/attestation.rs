//! Attestation of a hardware key: a chain from the statement about the key to a root of the charter.

use crate::jose::P256PublicKey;

/// The certificates of an attestation, DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationEvidence {
    /// The statement about the key.
    pub statement_der: Vec<u8>,
    /// The device's f9 certificate.
    pub intermediate_der: Vec<u8>,
}

/// When the PIN is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinPolicy {
    /// Never.
    Never,
    /// Once for each session.
    Once,
    /// For each signature.
    Always,
}

/// When a touch is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TouchPolicy {
    /// Never.
    Never,
    /// For each signature.
    Always,
    /// Once in 15 seconds.
    Cached,
}

/// What an attestation proves of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// The key.
    pub public_key: P256PublicKey,
    /// The device.
    pub serial: u32,
    /// Its firmware.
    pub firmware: [u8; 3],
    /// Its PIN policy.
    pub pin_policy: PinPolicy,
    /// Its touch policy.
    pub touch_policy: TouchPolicy,
}

/// Why an attestation is refused.
#[derive(Debug, thiserror::Error)]
#[error("attestation cannot be checked by this build")]
pub struct AttestationError;

/// Verifies a chain.
pub fn verify(
    _evidence: &AttestationEvidence,
    _roots: &[Vec<u8>],
    _intermediates: &[Vec<u8>],
    _now: i64,
) -> Result<Attested, AttestationError> {
    Err(AttestationError)
}
