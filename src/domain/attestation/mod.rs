//! Attestation of a hardware key: a chain of certificates from the device's statement about a key to a root of the charter.
//!
//! The statement says that the key was made on the device, and when the device asks for PIN and touch. The f9
//! certificate, made at the factory, signs it; above are the maker's authorities.
//!
//! - A root is whatever the charter lists: the maker's, or that of a test stack. None is known to this code.
//! - Each rule has its own reason to refuse; the order is: form, chain from the top, then what the statement says.
//! - The signed bytes are the ones received, never a re-encoding.
//!
//! Spec: RFC 5280 §6.1 as far as these chains need it (names, signatures, validity, basicConstraints, path length,
//! keyUsage, critical extensions; no policies, names constraints or revocation: the makers' chains have none);
//! <https://developers.yubico.com/PIV/Introduction/PIV_attestation.html>.

mod certificate;
mod chain;
mod error;
mod statement;
#[cfg(test)]
mod tests;

pub use error::{AttestationError, Link};

use super::evidence::Evidence;
use crate::jose::{P256PublicKey, b64};

use certificate::Certificate;

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
    /// The key, made on the device.
    pub public_key: P256PublicKey,
    /// The PIV slot it was made in; always 0x9c.
    pub slot: u8,
    /// The device.
    pub serial: u32,
    /// Its firmware.
    pub firmware: [u8; 3],
    /// Its PIN policy.
    pub pin_policy: PinPolicy,
    /// Its touch policy.
    pub touch_policy: TouchPolicy,
    /// Its form factor (1 USB-A keychain, 2 nano, 3 USB-C keychain …, with flags above), where it says so.
    pub form_factor: Option<u8>,
}

/// Verifies that `evidence` speaks of a key in slot 9c and leads to one of `roots`, at `now` (Unix seconds).
///
/// `intermediates` are certificates that may stand between f9 and a root; they are not on the device, and trusted only as
/// far as a root signed them. Roots and intermediates are DER.
///
/// # Errors
/// [`AttestationError`], one variant for each rule.
pub fn verify(
    evidence: &Evidence,
    roots: &[Vec<u8>],
    intermediates: &[Vec<u8>],
    now: i64,
) -> Result<Attested, AttestationError> {
    let parse = |link, text: &str| {
        let der = b64::decode(text).map_err(|_| AttestationError::Malformed { link })?;
        Certificate::parse(link, &der)
    };
    let statement = parse(Link::Statement, &evidence.statement)?;
    let device = parse(Link::Device, &evidence.intermediate)?;
    let parse_all = |link, all: &[Vec<u8>]| {
        all.iter().map(|der| Certificate::parse(link, der)).collect::<Result<Vec<_>, _>>()
    };
    let roots = parse_all(Link::Root, roots)?;
    let intermediates = parse_all(Link::Intermediate, intermediates)?;
    chain::verify(&statement, &device, &intermediates, &roots, now)?;
    statement::read(&statement)
}
