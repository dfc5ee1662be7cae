//! The log's Ed25519 key on its own `hsm_token`.
//!
//! Spec: PKCS #11 v3.0 section 6.3.16 (`CKM_EDDSA` without parameters is pure Ed25519); RFC 8032.

use std::sync::Arc;
use std::time::Instant;

use super::LogSigner;
use super::canary::CANARY;
use super::error::HsmError;
use super::report::{DeviceDescription, HealthReport};
use super::token::Pkcs11Token;
use crate::jose::{Digest, Ed25519PublicKey, PublicKey, TokenAlg};

/// The log key on an `hsm_token` that offers Ed25519.
#[derive(Debug)]
pub struct Pkcs11LogKey {
    token: Arc<Pkcs11Token>,
    key: Ed25519PublicKey,
    name: Digest,
}

impl Pkcs11Token {
    /// All Ed25519 keys with which this token can sign.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn ed25519_public_keys(&self) -> Result<Vec<Ed25519PublicKey>, HsmError> {
        self.run("C_FindObjects", |open| {
            let usable = open.usable_keys()?.into_iter();
            Ok(usable
                .filter_map(|key| if let PublicKey::Ed25519(key) = key { Some(key) } else { None })
                .collect())
        })
    }
}

impl Pkcs11LogKey {
    /// Takes the key that the charter lists.
    ///
    /// # Errors
    /// [`HsmError::Unsupported`] if the device has no Ed25519 (use [`super::FileLogKey`] then), or
    /// [`HsmError::KeyNotFound`].
    pub fn open(token: Arc<Pkcs11Token>, key: Ed25519PublicKey) -> Result<Self, HsmError> {
        if !token.description.capabilities.offers(TokenAlg::EdDsa) {
            return Err(HsmError::Unsupported { device: token.name(), what: TokenAlg::EdDsa.as_str() });
        }
        let name = key.thumbprint();
        token.run("C_FindObjects", |open| open.private_key(&name).map(|_| ()))?;
        Ok(Self { token, key, name })
    }

    fn sign(&self, action: &'static str, message: &[u8]) -> Result<([u8; 64], u64), HsmError> {
        let (signature, generation) = self.token.sign_with(action, TokenAlg::EdDsa, &self.name, message)?;
        let problem = "the signature is not 64 bytes long";
        let malformed = |_| HsmError::Malformed { device: self.token.name(), action, problem };
        Ok((signature.try_into().map_err(malformed)?, generation))
    }
}

impl LogSigner for Pkcs11LogKey {
    fn public_key(&self) -> &Ed25519PublicKey {
        &self.key
    }

    fn sign_ed25519(&self, message: &[u8]) -> Result<[u8; 64], HsmError> {
        self.sign("C_Sign", message).map(|(signature, _)| signature)
    }

    fn health(&self) -> Result<HealthReport, HsmError> {
        let start = Instant::now();
        let (signature, initialisations) = self.sign("the canary", CANARY)?;
        let latency = start.elapsed();
        self.key
            .verify(CANARY, &signature)
            .map_err(|_| HsmError::CanaryFailed { device: self.token.name(), kid: self.name })?;
        Ok(HealthReport { kid: self.name, latency, initialisations })
    }

    fn describe(&self) -> &DeviceDescription {
        &self.token.description
    }
}
