//! Making and destroying keys on an `hsm_token`.
//!
//! Invariants: one at a time and with nobody else in the module, because generation under session churn fails and
//! leaves halves behind; a failed attempt is swept by its label and its random `CKA_ID`, so nothing older can be hit; a
//! key is only handed out once its attributes and a canary signature were checked.
//! Spec: PKCS #11 v3.0 section 5.18.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use rand_core::CryptoRng;

use super::attributes::AttributeReport;
use super::canary::{CANARY, canary_digest};
use super::error::HsmError;
use super::fault::{Attempt, Remedy};
use super::lookup::{PublicHalf, private_objects, public_objects, read_bytes};
use super::names::KeyName;
use super::open::Open;
use super::template::{self, Algorithm, ID_LEN, KeyId};
use super::token::Pkcs11Token;
use crate::jose::{Digest, Ed25519PublicKey, P256PublicKey};

/// How often generation is tried. Measured on `SoftHSM`: while other threads or processes open and close sessions, it
/// fails now and then with `CKR_TEMPLATE_INCONSISTENT`, which means nothing, or makes a key without the attributes that
/// were asked for.
const TRIES: u8 = 5;

fn worth_another(error: &HsmError) -> bool {
    matches!(error, HsmError::Fault { .. } | HsmError::Unavailable { .. } | HsmError::WeakKey { .. })
}

/// A key that was generated and checked.
#[derive(Debug, Clone)]
pub struct GeneratedKey<K> {
    /// Its label on the device.
    pub name: KeyName,
    /// Its public half, read back from the device.
    pub public_key: K,
    /// What the device says about its private half.
    pub attributes: AttributeReport,
}

impl Pkcs11Token {
    /// Generates an issuing key.
    ///
    /// # Errors
    /// [`HsmError::Unsupported`], [`HsmError::WeakKey`] (the key is destroyed), or a fault of the device, after which
    /// nothing of the attempt is left.
    pub fn generate_es256(
        &self,
        name: &KeyName,
        rng: &mut impl CryptoRng,
    ) -> Result<GeneratedKey<P256PublicKey>, HsmError> {
        match self.generate(Algorithm::Es256, name, rng)? {
            (PublicHalf::Es256(public_key), attributes) => {
                Ok(GeneratedKey { name: name.clone(), public_key, attributes })
            }
            (PublicHalf::Ed25519(_), _) => Err(self.malformed("the key is of another type")),
        }
    }

    /// Generates a log key.
    ///
    /// # Errors
    /// As [`Pkcs11Token::generate_es256`].
    pub fn generate_ed25519(
        &self,
        name: &KeyName,
        rng: &mut impl CryptoRng,
    ) -> Result<GeneratedKey<Ed25519PublicKey>, HsmError> {
        match self.generate(Algorithm::Ed25519, name, rng)? {
            (PublicHalf::Ed25519(public_key), attributes) => {
                Ok(GeneratedKey { name: name.clone(), public_key, attributes })
            }
            (PublicHalf::Es256(_), _) => Err(self.malformed("the key is of another type")),
        }
    }

    /// Destroys a key of either kind, both halves. `kid` is its RFC 7638 thumbprint.
    ///
    /// # Errors
    /// [`HsmError::KeyNotFound`] if it is not there, or a fault of the device.
    pub fn destroy_key(&self, kid: &Digest) -> Result<(), HsmError> {
        self.run_alone("C_DestroyObject", Remedy::Module, |open| {
            let mut halves = public_objects(open.session)?;
            halves.retain(|object| object.key.name() == *kid);
            match open.private_key(kid) {
                Ok(private) => open.session.destroy_object(private)?,
                // An earlier rung of the ladder may have got half-way: then the public half is what is left to do.
                Err(Attempt::Gone(_)) if !halves.is_empty() => {}
                Err(error) => return Err(error),
            }
            for half in halves {
                open.session.destroy_object(half.handle)?;
            }
            Ok(())
        })?;
        self.forget_key(kid);
        tracing::info!(name: "hsm.key.destroy", device = %self.name(), %kid);
        Ok(())
    }

    fn generate(
        &self,
        algorithm: Algorithm,
        name: &KeyName,
        rng: &mut impl CryptoRng,
    ) -> Result<(PublicHalf, AttributeReport), HsmError> {
        let capable = match algorithm {
            Algorithm::Es256 => self.description.capabilities.es256,
            Algorithm::Ed25519 => self.description.capabilities.ed25519,
        };
        if !capable {
            let what = match algorithm {
                Algorithm::Es256 => "ES256 (CKM_ECDSA)",
                Algorithm::Ed25519 => "Ed25519 (CKM_EDDSA)",
            };
            return Err(HsmError::Unsupported { device: self.name(), what });
        }
        let mut id: KeyId = [0; ID_LEN];
        rng.fill_bytes(&mut id);
        let mut tries = TRIES;
        loop {
            tries -= 1;
            // A failed generation is mostly nobody's fault; only if none of the tries works, the module may be to blame.
            let highest = if tries == 0 { Remedy::Module } else { Remedy::Session };
            match self.generate_swept(algorithm, name, &id, highest) {
                Ok((public, report)) => {
                    tracing::info!(name: "hsm.key.generate", device = %self.name(), label = %name, kid = %public.name());
                    self.remember_key(&public.name());
                    return Ok((public, report));
                }
                Err(error) if tries > 0 && worth_another(&error) => {
                    tracing::warn!(name: "hsm.key.generate_again", device = %self.name(), label = %name, ?error);
                    if let HsmError::Unavailable { retry_after, .. } = error {
                        std::thread::sleep(retry_after);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn generate_swept(
        &self,
        algorithm: Algorithm,
        name: &KeyName,
        id: &KeyId,
        highest: Remedy,
    ) -> Result<(PublicHalf, AttributeReport), HsmError> {
        self.run_alone("C_GenerateKeyPair", highest, |open| {
            // An earlier try may have got half-way.
            sweep(open.session, name, id)?;
            let made = generate_once(open, algorithm, name, id);
            if made.is_err()
                && let Err(error) = sweep(open.session, name, id)
            {
                tracing::error!(name: "hsm.key.sweep_failed", device = %self.name(), label = %name, %error);
            }
            made
        })
    }

    fn malformed(&self, problem: &'static str) -> HsmError {
        HsmError::Malformed { device: self.name(), action: "C_GenerateKeyPair", problem }
    }
}

fn generate_once(
    open: &Open<'_>,
    algorithm: Algorithm,
    name: &KeyName,
    id: &KeyId,
) -> Result<(PublicHalf, AttributeReport), Attempt> {
    let session = open.session;
    let before = session.find_objects(&[])?;
    let made = session.generate_key_pair(
        &algorithm.generation(),
        &template::public(algorithm, name, id),
        &template::private(algorithm, name, id),
    );
    let (public, private) = match made {
        Ok(halves) => halves,
        Err(error) => {
            sweep_shells(session, &before)?;
            return Err(error.into());
        }
    };
    let checked = check(open, algorithm, id);
    if checked.is_err() {
        // The sweep finds them too, unless finding is what failed.
        for half in [private, public] {
            if let Err(error) = session.destroy_object(half) {
                tracing::warn!(name: "hsm.key.destroy_failed", device = %open.token.name(), label = %name, %error);
            }
        }
    }
    checked
}

/// Finds the new key as it will be found later, instead of trusting the handles, and checks everything about it.
fn check(
    open: &Open<'_>,
    algorithm: Algorithm,
    id: &KeyId,
) -> Result<(PublicHalf, AttributeReport), Attempt> {
    let session = open.session;
    let missing = |problem| Attempt::Gone(open.token.malformed(problem));
    let private = match private_objects(session, id)?.as_slice() {
        [only] => *only,
        _ => return Err(missing("the private object is not there exactly once")),
    };
    let mut public = public_objects(session)?.into_iter().filter(|object| object.id == id);
    let key = match (public.next(), public.next()) {
        (Some(only), None) => only.key,
        _ => return Err(missing("the public object is not there exactly once, or is no valid point")),
    };
    let report = AttributeReport::read(session, private, algorithm);
    let violations = report.violations();
    if !violations.is_empty() {
        let device = open.token.name();
        return Err(Attempt::Final(HsmError::WeakKey { device, violations: violations.join(", ") }));
    }
    prove(session, private, &key)?.ok_or_else(|| {
        Attempt::Final(HsmError::CanaryFailed { device: open.token.name(), kid: key.name() })
    })?;
    Ok((key, report))
}

/// A canary signature by the new private half, verified in software with the public half.
fn prove(session: &Session, private: ObjectHandle, key: &PublicHalf) -> Result<Option<()>, Attempt> {
    let verified = match key {
        PublicHalf::Es256(key) => {
            let signature = session.sign(&Mechanism::Ecdsa, private, canary_digest().as_bytes())?;
            <[u8; 64]>::try_from(signature.as_slice()).ok().and_then(|s| key.verify(CANARY, &s).ok())
        }
        PublicHalf::Ed25519(key) => {
            let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
            let signature = session.sign(&mechanism, private, CANARY)?;
            <[u8; 64]>::try_from(signature.as_slice()).ok().and_then(|s| key.verify(CANARY, &s).ok())
        }
    };
    Ok(verified)
}

/// Destroys what a failed generation leaves without any name: objects that were not there before it, in a module that
/// nobody else in this process was using, and that have neither label nor id nor curve, so that they hold no key.
fn sweep_shells(session: &Session, before: &[ObjectHandle]) -> Result<(), cryptoki::error::Error> {
    for object in session.find_objects(&[])? {
        let nameless =
            |kind| read_bytes(session, object, kind).map(|bytes| bytes.is_none_or(|bytes| bytes.is_empty()));
        if !before.contains(&object)
            && nameless(AttributeType::Label)?
            && nameless(AttributeType::Id)?
            && nameless(AttributeType::EcParams)?
        {
            tracing::warn!(name: "hsm.key.sweep", "an empty object that a failed generation left is destroyed");
            session.destroy_object(object)?;
        }
    }
    Ok(())
}

/// Destroys what carries both our label and this attempt's random id.
fn sweep(session: &Session, name: &KeyName, id: &KeyId) -> Result<(), cryptoki::error::Error> {
    let ours = [Attribute::Label(name.as_str().as_bytes().to_vec()), Attribute::Id(id.to_vec())];
    for object in session.find_objects(&ours)? {
        tracing::warn!(name: "hsm.key.sweep", label = %name, "a half-made key is destroyed");
        session.destroy_object(object)?;
    }
    Ok(())
}
