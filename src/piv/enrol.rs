//! Enrolment: a key made on the device, and the device's own word for it.
//!
//! A custodian's key is generated in slot 9c with PIN and touch for every signature, so that no copy of it exists and
//! nobody uses it unseen. The attestation statement is also stored as the slot's certificate: programs that look for one (OpenSC) then
//! find the key, and no signature is needed to make it.

use der::Encode as _;
use yubikey::certificate::CertInfo;
use yubikey::piv::{self, AlgorithmId, ManagementSlotId, SlotId};
use yubikey::{Certificate, Context, MgmKey, YubiKey};
use zeroize::Zeroizing;

use super::{Device, Pin, PivError, Serial, Slot, devices};
use crate::domain::attestation::{PinPolicy, TouchPolicy};
use crate::domain::charter::Firmware;
use crate::domain::evidence::Evidence;
use crate::jose::P256PublicKey;

/// How the device is administered.
pub enum ManagementKey {
    /// The well-known key of the factory, in the algorithm of the firmware.
    Default,
    /// Kept on the device behind the PIN (`ykman piv access change-management-key --protect`).
    Protected,
    /// These bytes, in the algorithm that the device uses.
    Bytes(Zeroizing<Vec<u8>>),
}

/// What an enrolment needs.
pub struct Enrolment<'a> {
    /// The device.
    pub serial: Serial,
    /// Its PIN: tried before anything is changed.
    pub pin: &'a Pin,
    /// Its management key.
    pub management_key: ManagementKey,
    /// Whether a key that is in the slot may be destroyed.
    pub overwrite: bool,
}

/// An enrolled key, as the device describes it. What is said here becomes trustworthy by verifying the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolledKey {
    /// The device.
    pub serial: Serial,
    /// Its firmware.
    pub firmware: Firmware,
    /// The new key.
    pub public_key: P256PublicKey,
    /// Always `Always`.
    pub pin_policy: PinPolicy,
    /// `Always` for a custodian's key, `Never` for an issuing key.
    pub touch_policy: TouchPolicy,
    /// Statement and f9 certificate.
    pub attestation: Evidence,
    /// The PIN, the PUK or the management key still is the factory's: say so, and how to change it.
    pub factory_secrets: bool,
}

/// Makes a new custodian's key in slot 9c: P-256, PIN always, touch always, attested.
///
/// # Errors
/// [`PivError::WrongPin`] and [`PivError::SlotOccupied`] before anything is changed; [`PivError::ManagementKey`]; what
/// befell the device.
pub fn enrol(enrolment: &Enrolment<'_>) -> Result<EnrolledKey, PivError> {
    make(enrolment, Slot::Signature, TouchPolicy::Always)
}

/// Makes a new issuing key in slot 9a, for a daemon without an HSM: P-256, PIN always, touch never, attested. Whoever
/// is root on the daemon's host can use it while it is plugged in.
///
/// # Errors
/// As [`enrol`].
pub fn enrol_issuer(enrolment: &Enrolment<'_>) -> Result<EnrolledKey, PivError> {
    make(enrolment, Slot::Authentication, TouchPolicy::Never)
}

fn make(enrolment: &Enrolment<'_>, slot: Slot, touch_policy: TouchPolicy) -> Result<EnrolledKey, PivError> {
    let serial = enrolment.serial;
    let slot_id = match slot {
        Slot::Authentication => SlotId::Authentication,
        Slot::Signature => SlotId::Signature,
    };
    let touch = match touch_policy {
        TouchPolicy::Never => yubikey::TouchPolicy::Never,
        TouchPolicy::Always => yubikey::TouchPolicy::Always,
        TouchPolicy::Cached => yubikey::TouchPolicy::Cached,
    };
    let of = |error: yubikey::Error| translate(serial, error);
    let device = devices::find(serial)?;
    // The crate opens and closes contexts and connections by itself, while the threads of the search may still be at it.
    let _turn = super::link::turn();
    let mut yubikey = open(&device)?;
    if !enrolment.overwrite && holds_key(&mut yubikey, slot_id).map_err(of)? {
        return Err(PivError::SlotOccupied { serial, slot: slot.name() });
    }
    yubikey.verify_pin(enrolment.pin.reveal()).map_err(of)?;
    let management = management_key(&mut yubikey, &enrolment.management_key).map_err(of)?;
    yubikey.authenticate(&management).map_err(of)?;
    let spki = piv::generate(&mut yubikey, slot_id, AlgorithmId::EccP256, yubikey::PinPolicy::Always, touch)
        .map_err(of)?;
    let odd = |detail: &str| PivError::Device { serial, detail: detail.to_owned() };
    let spki = spki.to_der().map_err(|_| odd("no public key"))?;
    let public_key = P256PublicKey::from_spki_der(&spki).map_err(|_| odd("no P-256 key"))?;
    let statement = piv::attest(&mut yubikey, slot_id).map_err(of)?;
    let intermediate = Certificate::read(&mut yubikey, SlotId::Attestation).map_err(of)?;
    Certificate::from_bytes(statement.clone())
        .and_then(|certificate| certificate.write(&mut yubikey, slot_id, CertInfo::Uncompressed))
        .map_err(of)?;
    let factory_secrets = has_factory_secrets(&mut yubikey);
    let intermediate = intermediate.cert.to_der().map_err(|_| odd("no f9 certificate"))?;
    Ok(EnrolledKey {
        serial,
        firmware: device.firmware,
        public_key,
        pin_policy: PinPolicy::Always,
        touch_policy,
        attestation: Evidence::of_der(&statement, &intermediate),
        factory_secrets,
    })
    // Here the handle goes, and with it the crate's plain copy of the PIN and the card's session.
}

/// Opens the reader in which the device was found; not `open_by_serial`, which asks every reader in turn and hangs on
/// one whose key waits for a touch.
fn open(device: &Device) -> Result<YubiKey, PivError> {
    let of = |error| translate(device.serial, error);
    let mut context = Context::open().map_err(of)?;
    let reader = context
        .iter()
        .map_err(of)?
        .find(|reader| reader.name().as_bytes() == device.reader.to_bytes())
        .ok_or(PivError::Removed { serial: device.serial })?;
    let yubikey = reader.open().map_err(of)?;
    if yubikey.serial().0 != device.serial.0 {
        return Err(PivError::Removed { serial: device.serial });
    }
    Ok(yubikey)
}

fn holds_key(yubikey: &mut YubiKey, slot: SlotId) -> yubikey::Result<bool> {
    match piv::metadata(yubikey, slot) {
        Ok(_) => Ok(true),
        Err(yubikey::Error::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

fn management_key(yubikey: &mut YubiKey, given: &ManagementKey) -> yubikey::Result<MgmKey> {
    match given {
        ManagementKey::Default => MgmKey::get_default(yubikey),
        ManagementKey::Protected => MgmKey::get_protected(yubikey),
        ManagementKey::Bytes(bytes) => {
            let slot = SlotId::Management(ManagementSlotId::Management);
            let algorithm = match piv::metadata(yubikey, slot)?.algorithm {
                piv::SlotAlgorithmId::Management(algorithm) => Some(algorithm),
                _ => None,
            };
            MgmKey::from_bytes(bytes.as_slice(), algorithm)
        }
    }
}

fn has_factory_secrets(yubikey: &mut YubiKey) -> bool {
    [ManagementSlotId::Pin, ManagementSlotId::Puk, ManagementSlotId::Management].into_iter().any(|slot| {
        piv::metadata(yubikey, SlotId::Management(slot)).is_ok_and(|metadata| metadata.default == Some(true))
    })
}

fn translate(serial: Serial, error: yubikey::Error) -> PivError {
    match error {
        yubikey::Error::WrongPin { tries: 0 } | yubikey::Error::PinLocked => PivError::PinBlocked { serial },
        yubikey::Error::WrongPin { tries } => PivError::WrongPin { serial, tries_left: tries },
        yubikey::Error::AuthenticationError | yubikey::Error::KeyError => PivError::ManagementKey { serial },
        yubikey::Error::PcscError { inner: Some(error) } => super::link::LinkError::from(error).of(serial),
        error => PivError::Device { serial, detail: error.to_string() },
    }
}
