//! The log's Ed25519 key in a protected file, for HSMs that have no Ed25519.
//!
//! Weaker than a key in a device, and described as such: whoever reads the file has the key. Invariants: mode 0600,
//! never overwritten, durable before it is used; the buffers that held the file are wiped. The signing key itself stays
//! in the memory of the process while that runs, which is why core dumps are off.
//! Spec: RFC 8410 (PKCS#8 of an Ed25519 key), DER only.

use std::path::Path;
use std::time::{Duration, Instant};

use rand_core::CryptoRng;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use super::LogSigner;
use super::canary::CANARY;
use super::error::HsmError;
use super::new_file::write_new;
use super::pin::read_private_bytes;
use super::report::{Backend, Capabilities, DeviceDescription, HealthReport};
use crate::jose::{Ed25519PublicKey, TokenAlg};

/// Everything of the PKCS#8 structure before the 32 bytes of the seed.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The log key in a file.
pub struct FileLogKey {
    pair: Ed25519KeyPair,
    public: Ed25519PublicKey,
    description: DeviceDescription,
}

impl std::fmt::Debug for FileLogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileLogKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl FileLogKey {
    /// Makes a key and writes it into a new file.
    ///
    /// # Errors
    /// [`HsmError::KeyFile`] if the file exists already or cannot be written.
    pub fn create(path: &Path, rng: &mut impl CryptoRng) -> Result<Self, HsmError> {
        let mut der = Zeroizing::new([0_u8; 48]);
        let (head, seed) = der.split_at_mut(PKCS8_HEAD.len());
        head.copy_from_slice(&PKCS8_HEAD);
        rng.fill_bytes(seed);
        write_new(path, 0o600, der.as_ref())
            .map_err(|source| key_file(path, "it cannot be created".into(), Some(source)))?;
        Self::parse(path, der.as_ref())
    }

    /// Reads the key.
    ///
    /// # Errors
    /// [`HsmError::KeyFile`] if it cannot be read, is open to others, or is no PKCS#8 Ed25519 key.
    pub fn open(path: &Path) -> Result<Self, HsmError> {
        let der = read_private_bytes(path).map_err(|(problem, source)| key_file(path, problem, source))?;
        Self::parse(path, &der)
    }

    fn parse(path: &Path, der: &[u8]) -> Result<Self, HsmError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map_err(|_| key_file(path, "it is no Ed25519 key in PKCS#8 DER".into(), None))?;
        let raw: [u8; 32] = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| key_file(path, "its public key is not 32 bytes long".into(), None))?;
        let description = DeviceDescription {
            backend: Backend::File,
            name: path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            location: path.display().to_string(),
            manufacturer: "none".into(),
            model: "file on this host, not in a device".into(),
            serial: String::new(),
            version: String::new(),
            capabilities: Capabilities::of([TokenAlg::EdDsa]),
        };
        Ok(Self { pair, public: Ed25519PublicKey::from_bytes(raw), description })
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], HsmError> {
        self.pair.sign(message).as_ref().try_into().map_err(|_| HsmError::Malformed {
            device: self.description.name.clone(),
            action: "Ed25519",
            problem: "the signature is not 64 bytes long",
        })
    }
}

fn key_file(path: &Path, problem: String, source: Option<std::io::Error>) -> HsmError {
    HsmError::KeyFile { path: path.to_owned(), problem, source }
}

impl LogSigner for FileLogKey {
    fn public_key(&self) -> &Ed25519PublicKey {
        &self.public
    }

    fn sign_ed25519(&self, message: &[u8]) -> Result<[u8; 64], HsmError> {
        self.sign(message)
    }

    fn health(&self) -> Result<HealthReport, HsmError> {
        let kid = self.public.thumbprint();
        let start = Instant::now();
        let signature = self.sign(CANARY)?;
        let latency: Duration = start.elapsed();
        self.public
            .verify(CANARY, &signature)
            .map_err(|_| HsmError::CanaryFailed { device: self.description.name.clone(), kid })?;
        Ok(HealthReport { kid, latency, initialisations: 1 })
    }

    fn describe(&self) -> &DeviceDescription {
        &self.description
    }
}
