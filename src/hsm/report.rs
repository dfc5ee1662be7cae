//! What a device says about itself, for `doctor`, logs and metrics.
//!
//! Invariant: facts that were read, not hoped for: what could not be read is absent.

use std::{collections::BTreeSet, time::Duration};

use serde::Serialize;

use crate::jose::{Digest, TokenAlg};

/// What kind of thing holds the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// An `hsm_token` behind PKCS#11.
    Pkcs11,
    /// The PIV application of a YubiKey.
    Yubikey,
    /// A protected file: the key is in the memory of this process, and whoever reads the file has it.
    File,
}

/// Algorithms that a device offers. Asked of the device, never assumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities(BTreeSet<TokenAlg>);

impl Capabilities {
    /// Those of a device that offers these algorithms; `EdDSA` is what a log key needs, too.
    #[must_use]
    pub fn of(algorithms: impl IntoIterator<Item = TokenAlg>) -> Self {
        Self(algorithms.into_iter().collect())
    }

    /// Whether the device offers this algorithm.
    #[must_use]
    pub fn offers(&self, alg: TokenAlg) -> bool {
        self.0.contains(&alg)
    }
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceDescription {
    /// Kind of device.
    pub backend: Backend,
    /// Short name for messages: the token label, the YubiKey's serial, or the file.
    pub name: String,
    /// Where it is: module path, reader, or file path.
    pub location: String,
    /// Maker, as the device says.
    pub manufacturer: String,
    /// Model, as the device says.
    pub model: String,
    /// Serial number, as the device says.
    pub serial: String,
    /// Version of the device and of the library in front of it.
    pub version: String,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// A canary signature that was made and verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// Thumbprint of the key that signed.
    pub kid: Digest,
    /// Time from the call to the signature, queueing included.
    pub latency: Duration,
    /// How often the module behind the device was initialised in this process; more than one means that it was revived.
    pub initialisations: u64,
}
