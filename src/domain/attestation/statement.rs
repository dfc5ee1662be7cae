//! What the device's statement says about a key: subject, key, and Yubico's extensions.

use der::Decode as _;
use der::asn1::UintRef;

use super::certificate::Certificate;
use super::{AttestationError, Attested, PinPolicy, TouchPolicy};
use crate::jose::P256PublicKey;

const FIRMWARE: &str = "1.3.6.1.4.1.41482.3.3";
const SERIAL: &str = "1.3.6.1.4.1.41482.3.7";
const POLICIES: &str = "1.3.6.1.4.1.41482.3.8";
const FORM_FACTOR: &str = "1.3.6.1.4.1.41482.3.9";

/// Custodians' keys live in slot 9c.
const SUBJECT: &str = "CN=YubiKey PIV Attestation 9c";
const SLOT: u8 = 0x9c;

pub(super) fn read(statement: &Certificate) -> Result<Attested, AttestationError> {
    let subject = statement.subject().to_string();
    if subject != SUBJECT {
        return Err(AttestationError::Subject { subject });
    }
    let public_key =
        P256PublicKey::from_spki_der(&statement.spki()?).map_err(|_| AttestationError::PublicKey)?;
    let firmware = statement
        .extension(FIRMWARE)
        .and_then(|content| content.try_into().ok())
        .ok_or(AttestationError::Extension { what: "firmware version", oid: FIRMWARE })?;
    let serial = statement
        .extension(SERIAL)
        .and_then(serial_number)
        .ok_or(AttestationError::Extension { what: "serial number", oid: SERIAL })?;
    let (pin_policy, touch_policy) = statement
        .extension(POLICIES)
        .and_then(policies)
        .ok_or(AttestationError::Extension { what: "PIN and touch policy", oid: POLICIES })?;
    let form_factor = match statement.extension(FORM_FACTOR) {
        None => None,
        Some([form]) => Some(*form),
        Some(_) => return Err(AttestationError::Extension { what: "form factor", oid: FORM_FACTOR }),
    };
    Ok(Attested { public_key, slot: SLOT, serial, firmware, pin_policy, touch_policy, form_factor })
}

/// A DER INTEGER of at most 32 bits.
fn serial_number(content: &[u8]) -> Option<u32> {
    let integer = UintRef::from_der(content).ok()?;
    integer
        .as_bytes()
        .iter()
        .try_fold(0_u32, |number, byte| Some(number.checked_mul(256)? | u32::from(*byte)))
}

fn policies(content: &[u8]) -> Option<(PinPolicy, TouchPolicy)> {
    let [pin, touch] = content else { return None };
    let pin = match pin {
        1 => PinPolicy::Never,
        2 => PinPolicy::Once,
        3 => PinPolicy::Always,
        _ => return None,
    };
    let touch = match touch {
        1 => TouchPolicy::Never,
        2 => TouchPolicy::Always,
        3 => TouchPolicy::Cached,
        _ => return None,
    };
    Some((pin, touch))
}
