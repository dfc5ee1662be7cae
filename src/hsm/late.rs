//! A device that was away when the daemon started: opened when it answers.
//!
//! Invariants: only what may pass is waited for; a PIN that was refused is not sent again.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::SigningDevice;
use super::error::HsmError;
use super::module::lock;
use super::report::{Backend, Capabilities, DeviceDescription, HealthReport};
use crate::jose::{Digest, PublicKey, TokenAlg};

/// Time between two attempts to open it.
const PAUSE: Duration = Duration::from_secs(10);

type Open = Box<dyn Fn() -> Result<Arc<dyn SigningDevice>, HsmError> + Send + Sync>;

/// See the module.
pub struct LateDevice {
    open: Open,
    opened: OnceLock<Arc<dyn SigningDevice>>,
    /// When it may be tried again; `None`: never.
    next: Mutex<Option<Instant>>,
    description: DeviceDescription,
}

impl std::fmt::Debug for LateDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LateDevice").field("description", &self.description).finish_non_exhaustive()
    }
}

impl LateDevice {
    /// A device called `name` at `location` that `open` could not open just now.
    #[must_use]
    pub fn new(
        name: &str,
        location: &str,
        open: impl Fn() -> Result<Arc<dyn SigningDevice>, HsmError> + Send + Sync + 'static,
    ) -> Self {
        let description = DeviceDescription {
            backend: Backend::Pkcs11,
            name: name.to_owned(),
            location: location.to_owned(),
            manufacturer: String::new(),
            model: String::new(),
            serial: String::new(),
            version: String::new(),
            capabilities: Capabilities::of([]),
        };
        let next = Mutex::new(Instant::now().checked_add(PAUSE));
        Self { open: Box::new(open), opened: OnceLock::new(), next, description }
    }

    /// Whether an error at opening may pass by itself: the device or its module is away.
    #[must_use]
    pub fn may_pass(error: &HsmError) -> bool {
        matches!(
            error,
            HsmError::Module { .. }
                | HsmError::TokenNotFound { .. }
                | HsmError::Unavailable { .. }
                | HsmError::Fault { .. }
                | HsmError::Busy { .. }
        )
    }

    fn device(&self) -> Result<&dyn SigningDevice, HsmError> {
        if let Some(device) = self.opened.get() {
            return Ok(device.as_ref());
        }
        let mut next = lock(&self.next);
        let now = Instant::now();
        let due = next.is_some_and(|next| next <= now);
        if !due {
            let retry_after = next.map_or(Duration::MAX, |next| next - now);
            let source = "it was away when the daemon started".into();
            return Err(HsmError::Unavailable { device: self.description.name.clone(), retry_after, source });
        }
        match (self.open)() {
            Ok(device) => {
                tracing::info!(name: "hsm.late", device = self.description.name, "an issuing device that was away has come back");
                Ok(self.opened.get_or_init(|| device).as_ref())
            }
            Err(error) => {
                *next = if Self::may_pass(&error) { now.checked_add(PAUSE) } else { None };
                Err(error)
            }
        }
    }
}

impl SigningDevice for LateDevice {
    fn sign(&self, kid: &Digest, alg: TokenAlg, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        self.device()?.sign(kid, alg, message)
    }

    fn public_key(&self, kid: &Digest) -> Result<PublicKey, HsmError> {
        self.device()?.public_key(kid)
    }

    fn public_keys(&self) -> Result<Vec<PublicKey>, HsmError> {
        self.device()?.public_keys()
    }

    fn health(&self, kid: &Digest, alg: TokenAlg) -> Result<HealthReport, HsmError> {
        self.device()?.health(kid, alg)
    }

    fn destroy(&self, kid: &Digest) -> Result<bool, HsmError> {
        self.device()?.destroy(kid)
    }

    fn describe(&self) -> &DeviceDescription {
        self.opened.get().map_or(&self.description, |device| device.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn refused() -> HsmError {
        HsmError::PinRefused { device: "late".into(), detail: "incorrect" }
    }

    #[test]
    fn a_refused_pin_is_not_sent_again() {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        let late = LateDevice::new("late", "nowhere", move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Err(refused())
        });
        assert_eq!(late.public_keys().unwrap_err().reason(), "HSM_UNAVAILABLE", "it was tried just now");
        *lock(&late.next) = Some(Instant::now());
        assert_eq!(late.public_keys().unwrap_err().reason(), refused().reason());
        for _ in 0..3 {
            late.public_keys().unwrap_err();
        }
        assert_eq!(tries.load(Ordering::SeqCst), 1);
        assert!(!LateDevice::may_pass(&refused()));
    }
}
