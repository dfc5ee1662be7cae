//! Signing devices in memory, which fail when they are told to.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use breakglass::{
    hsm::{Backend, CANARY, Capabilities, DeviceDescription, HealthReport, HsmError, SigningDevice},
    jose::{Digest, P256PublicKey, PublicKey, TokenAlg},
};
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};

/// A device with software keys.
pub struct Soft {
    keys: HashMap<Digest, (SigningKey, P256PublicKey)>,
    description: DeviceDescription,
    /// While set, nothing is signed.
    pub broken: Arc<AtomicBool>,
    /// How often something was signed.
    pub signed: Arc<AtomicUsize>,
}

/// The private half of the key that [`crate::kit::key`] makes of the same name.
pub fn secret(name: &str) -> p256::SecretKey {
    p256::SecretKey::from_slice(Digest::of(name.as_bytes()).as_bytes()).unwrap()
}

impl Soft {
    pub fn new(names: &[&str]) -> Self {
        let key = |name: &&str| {
            let public = crate::kit::key(name).public;
            (public.thumbprint(), (SigningKey::from(secret(name)), public))
        };
        let text = || "software".to_owned();
        let description = DeviceDescription {
            backend: Backend::File,
            name: text(),
            location: text(),
            manufacturer: text(),
            model: text(),
            serial: text(),
            version: text(),
            capabilities: Capabilities::of([TokenAlg::Es256]),
        };
        Self {
            keys: names.iter().map(key).collect(),
            description,
            broken: Arc::default(),
            signed: Arc::default(),
        }
    }

    fn key(&self, kid: &Digest) -> Result<&(SigningKey, P256PublicKey), HsmError> {
        let found = self.keys.get(kid).filter(|_| !self.broken.load(Ordering::SeqCst));
        found.ok_or_else(|| HsmError::KeyNotFound { device: "software".into(), kid: kid.to_string() })
    }
}

impl SigningDevice for Soft {
    fn sign(&self, kid: &Digest, _: TokenAlg, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        let signature: Signature = self.key(kid)?.0.sign(message);
        self.signed.fetch_add(1, Ordering::SeqCst);
        Ok(signature.to_bytes().to_vec())
    }

    fn public_key(&self, kid: &Digest) -> Result<PublicKey, HsmError> {
        Ok(PublicKey::P256(self.key(kid)?.1))
    }

    fn public_keys(&self) -> Result<Vec<PublicKey>, HsmError> {
        Ok(self.keys.values().map(|(_, public)| PublicKey::P256(*public)).collect())
    }

    fn health(&self, kid: &Digest, alg: TokenAlg) -> Result<HealthReport, HsmError> {
        self.sign(kid, alg, CANARY)?;
        Ok(HealthReport { kid: *kid, latency: Duration::from_millis(3), initialisations: 1 })
    }

    fn destroy(&self, _: &Digest) -> Result<bool, HsmError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(HsmError::Unsupported { device: "software".into(), what: "the destruction of keys" });
        }
        Ok(false)
    }

    fn describe(&self) -> &DeviceDescription {
        &self.description
    }
}
