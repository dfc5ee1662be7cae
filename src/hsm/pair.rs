//! Two signing devices that appear as one: the active one and the standby, each with keys of its own.
//!
//! Invariants: a key is asked of the device that has it and of no other, so one that is gone does not hold up the keys of
//! the other; keys never pass from one to the other; which key signs is not decided here, but recorded in the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::SigningDevice;
use super::error::HsmError;
use super::module::lock;
use super::report::{DeviceDescription, HealthReport};
use crate::jose::{Digest, PublicKey, TokenAlg};

/// See the module.
pub struct DevicePair {
    active: Arc<dyn SigningDevice>,
    standby: Arc<dyn SigningDevice>,
    /// On which each key was seen last; true is the standby.
    homes: Mutex<HashMap<Digest, bool>>,
}

impl std::fmt::Debug for DevicePair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevicePair")
            .field("active", self.active.describe())
            .field("standby", self.standby.describe())
            .finish_non_exhaustive()
    }
}

impl DevicePair {
    /// Joins two devices, and reads which keys they have, as far as they answer.
    #[must_use]
    pub fn new(active: Arc<dyn SigningDevice>, standby: Arc<dyn SigningDevice>) -> Self {
        let pair = Self { active, standby, homes: Mutex::default() };
        if let Err(error) = pair.public_keys() {
            tracing::warn!(name: "hsm.pair.silent", error = &error as &dyn std::error::Error, "neither issuing device can be read");
        }
        pair
    }

    fn device(&self, standby: bool) -> &dyn SigningDevice {
        if standby { self.standby.as_ref() } else { self.active.as_ref() }
    }

    /// The device that has this key.
    fn home(&self, kid: &Digest) -> Result<&dyn SigningDevice, HsmError> {
        let known = lock(&self.homes).get(kid).copied();
        if let Some(standby) = known {
            return Ok(self.device(standby));
        }
        let missing = |error: &HsmError| matches!(error, HsmError::KeyNotFound { .. });
        let mut failed = None;
        for standby in [false, true] {
            match self.device(standby).public_key(kid) {
                Ok(_) => {
                    lock(&self.homes).insert(*kid, standby);
                    return Ok(self.device(standby));
                }
                // A device that does not answer may have it.
                Err(error) if failed.as_ref().is_none_or(missing) => failed = Some(error),
                Err(_) => {}
            }
        }
        let device = self.active.describe().name.clone();
        Err(failed.unwrap_or(HsmError::KeyNotFound { device, kid: kid.to_string() }))
    }
}

impl SigningDevice for DevicePair {
    fn sign(&self, kid: &Digest, alg: TokenAlg, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        self.home(kid)?.sign(kid, alg, message)
    }

    fn public_key(&self, kid: &Digest) -> Result<PublicKey, HsmError> {
        self.home(kid)?.public_key(kid)
    }

    /// Those of the devices that answer; an error if neither does.
    fn public_keys(&self) -> Result<Vec<PublicKey>, HsmError> {
        let mut all = Vec::new();
        let mut failed = None;
        for standby in [false, true] {
            match self.device(standby).public_keys() {
                Ok(keys) => {
                    let mut homes = lock(&self.homes);
                    for key in &keys {
                        homes.entry(key.thumbprint()).or_insert(standby);
                    }
                    all.extend(keys);
                }
                Err(error) if failed.is_some() => return Err(error),
                Err(error) => failed = Some(error),
            }
        }
        Ok(all)
    }

    fn health(&self, kid: &Digest, alg: TokenAlg) -> Result<HealthReport, HsmError> {
        self.home(kid)?.health(kid, alg)
    }

    /// Both have to answer: one that is away may have the key.
    fn destroy(&self, kid: &Digest) -> Result<bool, HsmError> {
        let (active, standby) = (self.active.destroy(kid), self.standby.destroy(kid));
        let found = active? | standby?;
        lock(&self.homes).remove(kid);
        Ok(found)
    }

    fn describe(&self) -> &DeviceDescription {
        self.active.describe()
    }
}
