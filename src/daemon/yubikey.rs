//! A YubiKey on this host as the device of the issuing key, for teams without an HSM.
//!
//! Invariants: one key (slot 9a, ES256: other algorithms are refused), one caller at a time; a PIN that was refused is never tried again by this process, since
//! three wrong ones block it. What this backend cannot give is said by SECURITY.md: whoever is root here signs while
//! the key is plugged in.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use anyhow::Context as _;

use crate::{
    hsm::{Backend, CANARY, Capabilities, DeviceDescription, HealthReport, HsmError, SigningDevice, UserPin},
    jose::{Digest, IssuingPublicKey, P256PublicKey, PublicKey, TokenAlg},
    piv::{Pin, PivError, PivKey, Serial, Slot},
};

/// The PIN of such a key has the greatest length that PIV has.
const PIN_BYTES: usize = 8;

/// An open device. Public, so that the suite of all signing devices runs on it.
pub struct YubikeyDevice {
    serial: Serial,
    pin: Pin,
    key: Mutex<Option<PivKey>>,
    /// Why the device refused the PIN, once it did.
    refused: OnceLock<&'static str>,
    description: DeviceDescription,
}

impl std::fmt::Debug for YubikeyDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("YubikeyDevice").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl YubikeyDevice {
    /// Finds the device, reads its key, and proves the PIN with a canary signature. The last try of a PIN is left to a
    /// person: a service that is restarted again and again would otherwise block the device.
    pub fn open(serial: u32, pin: &UserPin) -> anyhow::Result<Self> {
        let bytes = pin.reveal().as_bytes();
        anyhow::ensure!(
            bytes.len() == PIN_BYTES,
            "the PIN of a YubiKey that holds an issuing key has 8 bytes"
        );
        let serial = Serial(serial);
        let key = PivKey::open(serial)?.slot(Slot::Authentication);
        anyhow::ensure!(
            key.pin_tries()? > 1,
            "YubiKey {serial} takes at most one more wrong PIN, and it is not tried here: correct the PIN file, and enter the PIN once with `ykman piv access verify-pin`"
        );
        let description = DeviceDescription {
            backend: Backend::Yubikey,
            name: format!("YubiKey {serial}"),
            location: "this host".into(),
            manufacturer: "Yubico".into(),
            model: "PIV, slot 9a".into(),
            serial: serial.to_string(),
            version: key.firmware().to_string(),
            capabilities: Capabilities::of([TokenAlg::Es256]),
        };
        let device = Self {
            serial,
            pin: Pin::new(bytes)?,
            key: Mutex::new(Some(key)),
            refused: OnceLock::new(),
            description,
        };
        let kid = device.only_key()?.thumbprint();
        device
            .health(&kid, TokenAlg::Es256)
            .with_context(|| format!("the YubiKey {serial} does not sign"))?;
        Ok(device)
    }

    fn lock(&self) -> MutexGuard<'_, Option<PivKey>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one conversation with the device. After a fault it is looked for again: at once if it only was taken out and
    /// put back since the last conversation, else by the next caller.
    fn run<T>(
        &self,
        held: &mut Option<PivKey>,
        action: &'static str,
        work: impl Fn(&PivKey) -> Result<T, PivError>,
    ) -> Result<T, HsmError> {
        let talk = |key: PivKey, held: &mut Option<PivKey>| {
            let done = work(&key);
            if done.is_ok() {
                *held = Some(key);
            }
            done
        };
        let known = held.take().map(|key| talk(key, held));
        let done = match known {
            None | Some(Err(PivError::Removed { .. })) => PivKey::open(self.serial)
                .map(|key| key.slot(Slot::Authentication))
                .and_then(|key| talk(key, held)),
            Some(done) => done,
        };
        done.map_err(|source| HsmError::Fault {
            device: self.description.name.clone(),
            action,
            source: source.into(),
        })
    }

    fn only_key(&self) -> Result<P256PublicKey, HsmError> {
        self.run(&mut self.lock(), "GET METADATA", PivKey::public_key)
    }

    fn known_key(&self, kid: &Digest) -> Result<P256PublicKey, HsmError> {
        let key = self.only_key()?;
        if key.thumbprint() == *kid {
            return Ok(key);
        }
        Err(HsmError::KeyNotFound { device: self.description.name.clone(), kid: kid.to_string() })
    }

    fn pin_refused(&self, detail: &'static str) -> HsmError {
        HsmError::PinRefused { device: self.description.name.clone(), detail }
    }
}

impl SigningDevice for YubikeyDevice {
    fn sign(&self, kid: &Digest, alg: TokenAlg, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        if alg != TokenAlg::Es256 {
            return Err(HsmError::Unsupported { device: self.description.name.clone(), what: alg.as_str() });
        }
        let key = self.known_key(kid)?;
        let digest = Digest::of(message);
        let mut held = self.lock();
        // Asked under the lock: whoever waited for it while the PIN was refused must not send it again.
        if self.refused.get().is_some() {
            return Err(self.pin_refused("an earlier refusal"));
        }
        let signed = self.run(&mut held, "GENERAL AUTHENTICATE", |piv| {
            let signed = piv.sign(&key, digest.as_bytes(), &self.pin);
            if let Some(why) = signed.as_ref().err().and_then(refusal) {
                let _known = self.refused.set(why);
            }
            signed
        });
        match self.refused.get() {
            Some(why) => Err(self.pin_refused(why)),
            None => signed.map(Vec::from),
        }
    }

    fn public_key(&self, kid: &Digest) -> Result<PublicKey, HsmError> {
        self.known_key(kid).map(PublicKey::P256)
    }

    fn public_keys(&self) -> Result<Vec<PublicKey>, HsmError> {
        Ok(vec![PublicKey::P256(self.only_key()?)])
    }

    fn health(&self, kid: &Digest, alg: TokenAlg) -> Result<HealthReport, HsmError> {
        let begun = Instant::now();
        let signature = self.sign(kid, alg, CANARY)?;
        let latency = begun.elapsed();
        let verified = IssuingPublicKey::from(self.known_key(kid)?).verify(CANARY, &signature);
        let failed = || HsmError::CanaryFailed { device: self.description.name.clone(), kid: *kid };
        verified.map_err(|_| failed())?;
        Ok(HealthReport { kid: *kid, latency, initialisations: 1 })
    }

    fn destroy(&self, kid: &Digest) -> Result<bool, HsmError> {
        match self.known_key(kid) {
            // Its PIV application overwrites keys, or is reset as a whole: both are a person's decision.
            Ok(_) => {
                let what =
                    "the destruction of a key: reset its PIV application with ykman, or plug in another";
                Err(HsmError::Unsupported { device: self.description.name.clone(), what })
            }
            Err(HsmError::KeyNotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn describe(&self) -> &DeviceDescription {
        &self.description
    }
}

/// What the device said of the PIN, if that is why it did not sign.
const fn refusal(error: &PivError) -> Option<&'static str> {
    match error {
        PivError::WrongPin { .. } => Some("it is wrong"),
        PivError::PinBlocked { .. } => Some("it is blocked: unblock it with the PUK"),
        _ => None,
    }
}
