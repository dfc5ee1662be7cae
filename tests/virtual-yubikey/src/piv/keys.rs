//! Private keys: generation, import, use under PIN and touch policy, metadata, attestation. P-256 only, but for f9.
//!
//! The order of a private-key operation is PIN, then touch, then the key; with PIN policy "always" every operation uses
//! up the PIN, whether the touch came or not.

use crate::apdu::{Command, Sw};
use crate::attestation::{Statement, spki};
use crate::card::{Card, Outcome};
use crate::piv::management;
use crate::state::{CardState, Policies, StoredKey};
use crate::tlv::{self, Tlv};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use x509_cert::spki::SubjectPublicKeyInfo;

const CACHED_TOUCH: Duration = Duration::from_secs(15);
const POINT: u32 = 0x86;

impl Card {
    /// GENERATE ASYMMETRIC KEY PAIR.
    pub(super) fn generate(&mut self, command: &Command) -> Outcome {
        self.require_management()?;
        let slot = key_slot(command.p2).ok_or(Sw::WRONG_PARAMETERS)?;
        let (template, _) = tlv::read(&command.data).filter(|(t, _)| t.tag == 0xac).ok_or(Sw::WRONG_DATA)?;
        let items = tlv::read_all(template.value).ok_or(Sw::WRONG_DATA)?;
        if tlv::find(&items, 0x80) != Some(&[StoredKey::P256]) {
            return Err(Sw::WRONG_DATA);
        }
        let policies = policies(slot, &items)?;
        let key = p256::SecretKey::try_generate().map_err(|_| Sw::CONDITIONS)?;
        let public = tlv::write(POINT, key.public_key().to_sec1_point(false).as_bytes());
        self.store(slot, &key, policies, true)?;
        Ok(tlv::write(0x7f49, &public))
    }

    /// IMPORT ASYMMETRIC KEY: such a key can be used, but not attested.
    pub(super) fn import(&mut self, command: &Command) -> Outcome {
        self.require_management()?;
        let slot = key_slot(command.p2).ok_or(Sw::WRONG_PARAMETERS)?;
        let items = tlv::read_all(&command.data).ok_or(Sw::WRONG_DATA)?;
        let scalar = tlv::find(&items, 0x06).ok_or(Sw::WRONG_DATA)?;
        if command.p1 != StoredKey::P256 {
            return Err(Sw::WRONG_DATA);
        }
        let key = p256::SecretKey::from_slice(scalar).map_err(|_| Sw::WRONG_DATA)?;
        self.store(slot, &key, policies(slot, &items)?, false)?;
        Ok(Vec::new())
    }

    /// MOVE KEY (firmware 5.7): P1 is the destination, FF deletes; P2 is the source.
    pub(super) fn move_key(&mut self, command: &Command) -> Outcome {
        self.require_management()?;
        let from = key_slot(command.p2).ok_or(Sw::WRONG_PARAMETERS)?;
        let key = self.state.keys.remove(&from).ok_or(Sw::REFERENCE_NOT_FOUND)?;
        if let Some(to) = key_slot(command.p1) {
            self.state.keys.insert(to, key);
        }
        self.changed = true;
        Ok(Vec::new())
    }

    /// GENERAL AUTHENTICATE with a private key: 81 signs a digest, 85 agrees on a secret.
    pub(super) fn use_key(&mut self, command: &Command) -> Outcome {
        let stored = self.state.keys.get(&command.p2).ok_or(Sw::REFERENCE_NOT_FOUND)?.clone();
        let (template, _) = tlv::read(&command.data).filter(|(t, _)| t.tag == 0x7c).ok_or(Sw::WRONG_DATA)?;
        let items = tlv::read_all(template.value).ok_or(Sw::WRONG_DATA)?;
        if command.p1 != StoredKey::P256 || stored.algorithm != command.p1 {
            return Err(Sw::WRONG_PARAMETERS);
        }
        let key = stored.p256().ok_or(Sw::CONDITIONS)?;
        self.authorise(stored.policies)?;
        let result = match (tlv::find(&items, 0x81), tlv::find(&items, 0x85)) {
            (Some(digest), None) => sign(&key, digest)?,
            (None, Some(point)) => agree(&key, point)?,
            _ => return Err(Sw::WRONG_DATA),
        };
        self.signatures.fetch_add(1, Ordering::Relaxed);
        Ok(tlv::write(0x7c, &tlv::write(0x82, &result)))
    }

    /// PIN and touch as the key's policies demand.
    fn authorise(&mut self, policies: Policies) -> Result<(), Sw> {
        let unused = std::mem::take(&mut self.session.pin_unused);
        let pin = match policies.pin {
            1 => true,
            2 => self.session.pin,
            _ => unused,
        };
        if !pin {
            return Err(Sw::SECURITY_STATUS);
        }
        let recent = self.session.touched.is_some_and(|at| at.elapsed() < CACHED_TOUCH);
        if policies.touch == 1 || (policies.touch == 3 && recent) {
            return Ok(());
        }
        if !self.finger.ask() {
            return Err(Sw::SECURITY_STATUS);
        }
        self.session.touched = Some(Instant::now());
        Ok(())
    }

    /// GET METADATA (firmware 5.3): of a key, or of PIN, PUK and management key.
    pub(super) fn metadata(&mut self, command: &Command) -> Outcome {
        let retries = |reference: &crate::state::Reference| {
            [
                tlv::write(0x01, &[0xff]),
                tlv::write(0x05, &[u8::from(reference.default)]),
                tlv::write(0x06, &[reference.tries, reference.left]),
            ]
            .concat()
        };
        match command.p2 {
            0x80 => Ok(retries(&self.state.pin)),
            0x81 => Ok(retries(&self.state.puk)),
            management::SLOT => Ok([
                tlv::write(0x01, &[self.state.management.algorithm]),
                tlv::write(0x02, &[0, 1]),
                tlv::write(0x05, &[u8::from(self.state.management.default)]),
            ]
            .concat()),
            slot => {
                let key = self.state.keys.get(&slot).ok_or(Sw::REFERENCE_NOT_FOUND)?;
                let origin = if key.generated { 1 } else { 2 };
                Ok([
                    tlv::write(0x01, &[key.algorithm]),
                    tlv::write(0x02, &[key.policies.pin, key.policies.touch]),
                    tlv::write(0x03, &[origin]),
                    tlv::write(0x04, &public_template(key)?),
                ]
                .concat())
            }
        }
    }

    /// ATTEST: a certificate by f9 that the key in slot P1 was made here.
    pub(super) fn attest(&mut self, command: &Command) -> Outcome {
        let key = self.state.keys.get(&command.p1).ok_or(Sw::REFERENCE_NOT_FOUND)?;
        let device = self.state.keys.get(&CardState::ATTESTATION_SLOT).ok_or(Sw::REFERENCE_NOT_FOUND)?;
        if !key.generated {
            return Err(Sw::WRONG_DATA);
        }
        let public = key.p256().ok_or(Sw::WRONG_DATA)?.public_key();
        let number = getrandom::u64().map_err(|_| Sw::CONDITIONS)?;
        Statement {
            slot: command.p1,
            public_key: SubjectPublicKeyInfo::from_key(&public).map_err(|_| Sw::CONDITIONS)?,
            policies: key.policies,
            serial: self.state.serial,
            version: self.state.version,
            device_key: &device.rsa().ok_or(Sw::CONDITIONS)?,
            number,
        }
        .issue()
        .map_err(|_| Sw::CONDITIONS)
    }

    fn store(
        &mut self,
        slot: u8,
        key: &p256::SecretKey,
        policies: Policies,
        generated: bool,
    ) -> Result<(), Sw> {
        let stored = StoredKey::from_p256(key, policies, generated).ok_or(Sw::CONDITIONS)?;
        self.state.keys.insert(slot, stored);
        self.changed = true;
        Ok(())
    }
}

/// Slots that hold keys of the user: 9a, 9c, 9d, 9e, and the twenty retired ones.
fn key_slot(slot: u8) -> Option<u8> {
    matches!(slot, 0x9a | 0x9c | 0x9d | 0x9e | 0x82..=0x95).then_some(slot)
}

/// Policies asked for, or the slot's own: 9c wants the PIN each time, 9e never, the others once.
fn policies(slot: u8, items: &[Tlv<'_>]) -> Result<Policies, Sw> {
    let default_pin = match slot {
        0x9c => 3,
        0x9e => 1,
        _ => 2,
    };
    let chosen = |tag, default| match tlv::find(items, tag) {
        None | Some([0]) => Ok(default),
        Some([policy @ 1..=3]) => Ok(*policy),
        Some(_) => Err(Sw::WRONG_DATA),
    };
    Ok(Policies { pin: chosen(0xaa, default_pin)?, touch: chosen(0xab, 1)? })
}

fn sign(key: &p256::SecretKey, digest: &[u8]) -> Outcome {
    let missing = 32_usize.checked_sub(digest.len()).ok_or(Sw::WRONG_DATA)?;
    let digest = [vec![0; missing], digest.to_vec()].concat();
    let signature: p256::ecdsa::Signature =
        p256::ecdsa::SigningKey::from(key).sign_prehash(&digest).map_err(|_| Sw::CONDITIONS)?;
    Ok(signature.to_der().as_bytes().to_vec())
}

fn agree(key: &p256::SecretKey, point: &[u8]) -> Outcome {
    let public = p256::PublicKey::from_sec1_bytes(point).map_err(|_| Sw::WRONG_DATA)?;
    let shared = p256::ecdh::diffie_hellman(key.to_nonzero_scalar(), public.as_affine());
    Ok(shared.raw_secret_bytes().to_vec())
}

/// The public half as GET METADATA shows it: 86 for a point, 81 and 82 for an RSA key.
fn public_template(key: &StoredKey) -> Outcome {
    if let Some(key) = key.p256() {
        return Ok(tlv::write(POINT, key.public_key().to_sec1_point(false).as_bytes()));
    }
    let rsa = key.rsa().ok_or(Sw::CONDITIONS)?;
    let spki = spki(&rsa).map_err(|_| Sw::CONDITIONS)?;
    // SubjectPublicKeyInfo holds SEQUENCE { modulus INTEGER, exponent INTEGER }.
    let sequence = spki.subject_public_key.raw_bytes();
    let (outer, _) = tlv::read(sequence).ok_or(Sw::CONDITIONS)?;
    let numbers = tlv::read_all(outer.value).ok_or(Sw::CONDITIONS)?;
    let [modulus, exponent] = numbers.as_slice() else { return Err(Sw::CONDITIONS) };
    let modulus = modulus.value.strip_prefix(&[0]).unwrap_or(modulus.value);
    Ok([tlv::write(0x81, modulus), tlv::write(0x82, exponent.value)].concat())
}
