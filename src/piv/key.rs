//! A custodian's key: its public half, and one signature at a time under PIN and touch.

use std::fmt;

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};

use super::apdu::Status;
use super::link::{self, Conversation, Link};
use super::{Device, Pin, PivError, Serial, devices};
use crate::domain::charter::Firmware;
use crate::jose::P256PublicKey;

/// The slots this project uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// 9a: the issuing key of a daemon without an HSM.
    Authentication,
    /// 9c: a custodian's signatures.
    Signature,
}

impl Slot {
    /// PIV's number.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Authentication => 0x9a,
            Self::Signature => 0x9c,
        }
    }

    /// As people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Authentication => "9a",
            Self::Signature => "9c",
        }
    }
}

/// A plugged-in YubiKey and one of its slots. It holds no connection: each call opens one and closes it.
pub struct PivKey {
    device: Device,
    slot: Slot,
}

impl fmt::Debug for PivKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PivKey({}, {})", self.device.serial, self.slot.name())
    }
}

impl PivKey {
    /// Finds the YubiKey with this serial number among all that are plugged in; slot 9c.
    ///
    /// # Errors
    /// [`PivError::NotFound`], [`PivError::Busy`] (after at most twenty seconds), [`PivError::Service`].
    pub fn open(serial: Serial) -> Result<Self, PivError> {
        devices::find(serial).map(Self::at)
    }

    /// A YubiKey that a scan or a watch has found; slot 9c. That it still is this one is checked at every use.
    #[must_use]
    pub fn at(device: Device) -> Self {
        Self { device, slot: Slot::Signature }
    }

    /// The same device, another slot.
    #[must_use]
    pub fn slot(self, slot: Slot) -> Self {
        Self { slot, ..self }
    }

    /// The device's serial number.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.device.serial
    }

    /// The device's firmware.
    #[must_use]
    pub fn firmware(&self) -> Firmware {
        self.device.firmware
    }

    /// The public key in the slot. Asks for neither PIN nor touch. Needs firmware 5.3.
    ///
    /// # Errors
    /// [`PivError::NoKey`], or what befell the device.
    pub fn public_key(&self) -> Result<P256PublicKey, PivError> {
        self.converse(|conversation| self.key_in(conversation))
    }

    /// How many wrong PINs the device takes before it blocks; 0 when it is blocked. Uses none of them.
    ///
    /// # Errors
    /// What befell the device.
    pub fn pin_tries(&self) -> Result<u8, PivError> {
        self.converse(|conversation| conversation.pin_tries().map_err(|error| error.of(self.device.serial)))
    }

    /// Signs a SHA-256 digest with the key `expected`, and returns ES256's r‖s. Sends the PIN once; blocks while the key
    /// waits for a touch, which is about fifteen seconds. The signature is verified before it is returned.
    ///
    /// # Errors
    /// [`PivError::WrongKey`] before any PIN is sent; [`PivError::WrongPin`], [`PivError::PinBlocked`],
    /// [`PivError::TouchMissing`], [`PivError::Removed`]. In each case nothing was signed, and nothing is retried.
    pub fn sign(&self, expected: &P256PublicKey, digest: &[u8; 32], pin: &Pin) -> Result<[u8; 64], PivError> {
        self.converse(|conversation| self.sign_in(conversation, expected, digest, pin))
    }

    fn sign_in(
        &self,
        conversation: &Conversation<'_>,
        expected: &P256PublicKey,
        digest: &[u8; 32],
        pin: &Pin,
    ) -> Result<[u8; 64], PivError> {
        let serial = self.device.serial;
        if self.key_in(conversation)? != *expected {
            return Err(PivError::WrongKey { serial, slot: self.slot.name() });
        }
        match conversation.verify(pin).map_err(|error| error.of(serial))? {
            Status::Ok => {}
            Status::WrongPin(0) | Status::Blocked => return Err(PivError::PinBlocked { serial }),
            Status::WrongPin(tries_left) => return Err(PivError::WrongPin { serial, tries_left }),
            other => return Err(self.odd(format!("PIN: {other:?}"))),
        }
        let (outcome, took) = conversation.sign(self.slot, digest).map_err(|error| error.of(serial))?;
        let der = outcome.map_err(|status| match status {
            // The PIN was right, in this very transaction: only the touch can be missing.
            Status::NotAuthorised => PivError::TouchMissing {
                serial,
                waited_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            },
            other => self.odd(format!("signature: {other:?}")),
        })?;
        self.checked(expected, digest, &der)
    }

    /// r‖s of a DER signature that verifies.
    fn checked(&self, key: &P256PublicKey, digest: &[u8; 32], der: &[u8]) -> Result<[u8; 64], PivError> {
        let signature = Signature::from_der(der).map_err(|_| self.odd("a malformed signature"))?;
        VerifyingKey::from_sec1_bytes(&key.to_sec1())
            .and_then(|key| key.verify_prehash(digest, &signature))
            .map_err(|_| self.odd("a signature that does not verify"))?;
        Ok(signature.to_bytes().into())
    }

    fn key_in(&self, conversation: &Conversation<'_>) -> Result<P256PublicKey, PivError> {
        let serial = self.device.serial;
        let key = conversation.public_key(self.slot).map_err(|error| error.of(serial))?;
        key.ok_or(PivError::NoKey { serial, slot: self.slot.name() })
    }

    /// Opens the reader, makes sure that this very device is in it, and talks to it while nobody else can.
    fn converse<T>(
        &self,
        talk: impl FnOnce(&Conversation<'_>) -> Result<T, PivError>,
    ) -> Result<T, PivError> {
        let serial = self.device.serial;
        let service = link::service()?;
        let mut link = Link::connect(&service, &self.device.reader)
            .map_err(|error| link::LinkError::from(error).of(serial))?;
        let conversation = link.begin().map_err(|error| error.of(serial))?;
        let (found, _) = conversation.identify().map_err(|error| error.of(serial))?;
        if found != serial {
            return Err(PivError::Removed { serial });
        }
        talk(&conversation)
    }

    fn odd(&self, detail: impl Into<String>) -> PivError {
        PivError::Device { serial: self.device.serial, detail: detail.into() }
    }
}
