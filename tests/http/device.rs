//! Signing devices in memory, which fail when they are told to.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use breakglass::{
    hsm::{Backend, Capabilities, DeviceDescription, HealthReport, HsmError, SigningDevice, canary_digest},
    jose::{Digest, P256PublicKey},
};
use p256::ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner as _};

/// A device with software keys.
pub struct Soft {
    keys: HashMap<Digest, (SigningKey, P256PublicKey)>,
    description: DeviceDescription,
    /// While set, nothing is signed.
    pub broken: Arc<AtomicBool>,
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
            capabilities: Capabilities { es256: true, ed25519: false },
        };
        Self { keys: names.iter().map(key).collect(), description, broken: Arc::default() }
    }

    fn key(&self, kid: &Digest) -> Result<&(SigningKey, P256PublicKey), HsmError> {
        let found = self.keys.get(kid).filter(|_| !self.broken.load(Ordering::SeqCst));
        found.ok_or_else(|| HsmError::KeyNotFound { device: "software".into(), kid: kid.to_string() })
    }
}

impl SigningDevice for Soft {
    fn sign_es256(&self, kid: &Digest, digest: &[u8; 32]) -> Result<[u8; 64], HsmError> {
        let signature: Signature = self.key(kid)?.0.sign_prehash(digest).unwrap();
        Ok(signature.to_bytes().into())
    }

    fn public_key(&self, kid: &Digest) -> Result<P256PublicKey, HsmError> {
        Ok(self.key(kid)?.1)
    }

    fn public_keys(&self) -> Result<Vec<P256PublicKey>, HsmError> {
        Ok(self.keys.values().map(|(_, public)| *public).collect())
    }

    fn health(&self, kid: &Digest) -> Result<HealthReport, HsmError> {
        self.sign_es256(kid, canary_digest().as_bytes())?;
        Ok(HealthReport { kid: *kid, latency: Duration::from_millis(3), initialisations: 1 })
    }

    fn describe(&self) -> &DeviceDescription {
        &self.description
    }
}
