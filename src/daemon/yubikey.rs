//! A YubiKey on this host as the device of the issuing key, for teams without an HSM.
//!
//! Invariants: one key (slot 9a), one caller at a time; a PIN that was refused is never tried again by this process, since
//! three wrong ones block it. What this backend cannot give is said by SECURITY.md: whoever is root here signs while
//! the key is plugged in.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Instant,
};

use anyhow::Context as _;

use crate::{
    hsm::{
        Backend, CANARY, Capabilities, DeviceDescription, HealthReport, HsmError, SigningDevice, UserPin,
        canary_digest,
    },
    jose::{Digest, P256PublicKey},
    piv::{Pin, PivError, PivKey, Serial, Slot},
};

/// The PIN of such a key has the greatest length that PIV has.
const PIN_BYTES: usize = 8;

/// An open device. Public, so that the suite of all signing devices runs on it.
pub struct YubikeyDevice {
    serial: Serial,
    pin: Pin,
    key: Mutex<Option<PivKey>>,
    refused: OnceLock<String>,
    description: DeviceDescription,
}

impl std::fmt::Debug for YubikeyDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("YubikeyDevice").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl YubikeyDevice {
    /// Finds the device, reads its key, and proves the PIN with a canary signature.
    pub fn open(serial: u32, pin: &UserPin) -> anyhow::Result<Self> {
        let bytes = pin.reveal().as_bytes();
        anyhow::ensure!(
            bytes.len() == PIN_BYTES,
            "the PIN of a YubiKey that holds an issuing key has 8 bytes"
        );
        let serial = Serial(serial);
        let key = PivKey::open(serial)?.slot(Slot::Authentication);
        let description = DeviceDescription {
            backend: Backend::Yubikey,
            name: format!("YubiKey {serial}"),
            location: "this host".into(),
            manufacturer: "Yubico".into(),
            model: "PIV, slot 9a".into(),
            serial: serial.to_string(),
            version: key.firmware().to_string(),
            capabilities: Capabilities { es256: true, ed25519: false },
        };
        let device = Self {
            serial,
            pin: Pin::new(bytes)?,
            key: Mutex::new(Some(key)),
            refused: OnceLock::new(),
            description,
        };
        let kid = device.only_key()?.thumbprint();
        device.health(&kid).with_context(|| format!("the YubiKey {serial} does not sign"))?;
        Ok(device)
    }

    /// Runs one conversation with the device; after a fault it is looked for again.
    fn run<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&PivKey) -> Result<T, PivError>,
    ) -> Result<T, HsmError> {
        let fault = |source: PivError| HsmError::Fault {
            device: self.description.name.clone(),
            action,
            source: source.into(),
        };
        let mut held = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match held.take() {
            Some(key) => key,
            None => PivKey::open(self.serial).map_err(fault)?.slot(Slot::Authentication),
        };
        let done = work(&key);
        if done.is_ok() {
            *held = Some(key);
        }
        done.map_err(fault)
    }

    fn only_key(&self) -> Result<P256PublicKey, HsmError> {
        self.run("GET METADATA", PivKey::public_key)
    }

    fn not_found(&self, kid: &Digest) -> HsmError {
        HsmError::KeyNotFound { device: self.description.name.clone(), kid: kid.to_string() }
    }
}

impl SigningDevice for YubikeyDevice {
    fn sign_es256(&self, kid: &Digest, digest: &[u8; 32]) -> Result<[u8; 64], HsmError> {
        if let Some(why) = self.refused.get() {
            return Err(HsmError::Fault {
                device: self.description.name.clone(),
                action: "VERIFY",
                source: format!("{why}; the PIN is not tried again before a restart").into(),
            });
        }
        let key = self.public_key(kid)?;
        self.run("GENERAL AUTHENTICATE", |piv| {
            let signed = piv.sign(&key, digest, &self.pin);
            if let Err(refused @ (PivError::WrongPin { .. } | PivError::PinBlocked { .. })) = &signed {
                let _known = self.refused.set(refused.to_string());
            }
            signed
        })
    }

    fn public_key(&self, kid: &Digest) -> Result<P256PublicKey, HsmError> {
        let key = self.only_key()?;
        if key.thumbprint() == *kid { Ok(key) } else { Err(self.not_found(kid)) }
    }

    fn public_keys(&self) -> Result<Vec<P256PublicKey>, HsmError> {
        Ok(vec![self.only_key()?])
    }

    fn health(&self, kid: &Digest) -> Result<HealthReport, HsmError> {
        let begun = Instant::now();
        let signature = self.sign_es256(kid, canary_digest().as_bytes())?;
        let latency = begun.elapsed();
        let verified = self.public_key(kid)?.verify(CANARY, &signature);
        let failed = || HsmError::CanaryFailed { device: self.description.name.clone(), kid: *kid };
        verified.map_err(|_| failed())?;
        Ok(HealthReport { kid: *kid, latency, initialisations: 1 })
    }

    fn describe(&self) -> &DeviceDescription {
        &self.description
    }
}
