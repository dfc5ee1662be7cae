//! Making and destroying keys on an `hsm_token`.
//!
//! Invariants: one at a time and with nobody else in the module, because generation under session churn fails and
//! leaves halves behind; a failed attempt is swept by its label and its random `CKA_ID`, so nothing older can be hit; a
//! key is only handed out once its attributes and a canary signature were checked, the second time on a module that has
//! read everything anew. What a device hides from the sweep stays, is in no charter, and shows in the inventory.
//! Spec: PKCS #11 v3.0 section 5.18.

use cryptoki::object::Attribute;
use rand_core::CryptoRng;

use super::attributes::AttributeReport;
use super::canary::CANARY;
use super::error::HsmError;
use super::fault::{Attempt, Remedy};
use super::lookup::{private_objects, public_objects};
use super::module::lock;
use super::names::KeyName;
use super::open::Open;
use super::sign::sign_in;
use super::template::{self, ID_LEN, KeyId};
use super::token::Pkcs11Token;
use crate::jose::{Digest, Ed25519PublicKey, IssuingPublicKey, PublicKey, TokenAlg};

/// How often generation is tried. Measured on `SoftHSM`: while other threads or processes open and close sessions, it
/// fails now and then with `CKR_TEMPLATE_INCONSISTENT`, which means nothing, or makes a key without the attributes that
/// were asked for.
const TRIES: usize = 5;

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
    pub fn generate_issuing(
        &self,
        alg: TokenAlg,
        name: &KeyName,
        rng: &mut impl CryptoRng,
    ) -> Result<GeneratedKey<IssuingPublicKey>, HsmError> {
        let (public_key, attributes) = self.generate(alg, name, rng)?;
        Ok(GeneratedKey { name: name.clone(), public_key, attributes })
    }

    /// Generates a log key.
    ///
    /// # Errors
    /// As [`Pkcs11Token::generate_issuing`].
    pub fn generate_ed25519(
        &self,
        name: &KeyName,
        rng: &mut impl CryptoRng,
    ) -> Result<GeneratedKey<Ed25519PublicKey>, HsmError> {
        let (generated, attributes) = self.generate(TokenAlg::EdDsa, name, rng)?;
        match generated.key() {
            PublicKey::Ed25519(key) => Ok(GeneratedKey { name: name.clone(), public_key: *key, attributes }),
            _ => Err(self.malformed("the key is of another type")),
        }
    }

    /// Destroys a key of any kind, both halves. `kid` is its RFC 7638 thumbprint.
    ///
    /// # Errors
    /// [`HsmError::KeyNotFound`] if it is not there, or a fault of the device.
    pub fn destroy_key(&self, kid: &Digest) -> Result<(), HsmError> {
        self.run_alone("C_DestroyObject", Remedy::Module, |open| {
            let mut halves = public_objects(open.session)?;
            halves.retain(|object| object.key.thumbprint() == *kid);
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
        lock(&self.keys).forget(kid);
        tracing::info!(name: "hsm.key.destroy", device = %self.name(), %kid);
        Ok(())
    }

    /// Destroys a key if it is there, and says whether it was. That nothing is there is believed only of a module that has
    /// read everything anew: while another process uses the token, one can lose sight of objects (measured on `SoftHSM`).
    pub(crate) fn destroy_for_ever(&self, kid: &Digest) -> Result<bool, HsmError> {
        let found = match self.destroy_key(kid) {
            Ok(()) => true,
            Err(HsmError::KeyNotFound { .. }) => false,
            Err(error) => return Err(error),
        };
        if !found {
            self.restart_module()?;
        }
        let is_there = self.run_alone("C_FindObjects", Remedy::Module, |open| {
            open.still_there()?;
            Ok(public_objects(open.session)?.iter().any(|object| object.key.thumbprint() == *kid))
        })?;
        if is_there {
            let source = "the key is still there".into();
            return Err(HsmError::Fault { device: self.name(), action: "C_DestroyObject", source });
        }
        Ok(found)
    }

    fn restart_module(&self) -> Result<(), HsmError> {
        self.module.restart(&mut self.module.enter_alone()).map_err(|source| HsmError::Fault {
            device: self.name(),
            action: "C_Initialize",
            source: source.into(),
        })
    }

    fn generate(
        &self,
        algorithm: TokenAlg,
        name: &KeyName,
        rng: &mut impl CryptoRng,
    ) -> Result<(IssuingPublicKey, AttributeReport), HsmError> {
        if !self.description.capabilities.offers(algorithm) {
            return Err(HsmError::Unsupported { device: self.name(), what: algorithm.as_str() });
        }
        let mut failed = Vec::new();
        loop {
            // Each try has its own id, so that what an earlier one left can never be taken for a half of this key.
            let mut id: KeyId = [0; ID_LEN];
            rng.fill_bytes(&mut id);
            match self.generate_checked(algorithm, name, &id) {
                Ok((public, report)) => {
                    tracing::info!(name: "hsm.key.generate", device = %self.name(), label = %name, kid = %public.thumbprint());
                    lock(&self.keys).remember(&public.thumbprint());
                    if !failed.is_empty() {
                        // What was out of sight when its own try was swept may be in sight now.
                        self.sweep(name, &failed);
                    }
                    return Ok((public, report));
                }
                Err(error) => {
                    tracing::warn!(name: "hsm.key.generate_failed", device = %self.name(), label = %name, ?error);
                    failed.push(id);
                    self.sweep(name, &failed);
                    if failed.len() >= TRIES || !worth_another(&error) {
                        return Err(error);
                    }
                    if let HsmError::Unavailable { retry_after, .. } = error {
                        std::thread::sleep(retry_after);
                    }
                }
            }
        }
    }

    /// Generates, checks, and checks again after the module has read everything anew. Measured on `SoftHSM`: with another
    /// process at the token, a key can be whole in this process's view and a nameless fragment on disk.
    fn generate_checked(
        &self,
        algorithm: TokenAlg,
        name: &KeyName,
        id: &KeyId,
    ) -> Result<(IssuingPublicKey, AttributeReport), HsmError> {
        self.run_alone("C_GenerateKeyPair", Remedy::None, |open| generate_once(open, algorithm, name, id))?;
        self.restart_module()?;
        self.run_alone("C_FindObjects", Remedy::Session, |open| check(open, algorithm, id))
    }

    /// Destroys what failed tries left: objects with our label and the random id of one of these tries, so nothing older.
    fn sweep(&self, name: &KeyName, failed: &[KeyId]) {
        // A module may have lost sight of what it made (measured on SoftHSM), so it reads everything anew first.
        if let Err(error) = self.module.restart(&mut self.module.enter_alone()) {
            tracing::warn!(name: "hsm.key.sweep_restart_failed", device = %self.name(), %error);
        }
        let swept = self.run_alone("C_DestroyObject", Remedy::Module, |open| {
            for id in failed {
                let ours = [Attribute::Label(name.as_str().as_bytes().to_vec()), Attribute::Id(id.to_vec())];
                for object in open.session.find_objects(&ours)? {
                    tracing::warn!(name: "hsm.key.sweep", device = %self.name(), label = %name);
                    open.session.destroy_object(object)?;
                }
            }
            Ok(())
        });
        if let Err(error) = swept {
            tracing::error!(name: "hsm.key.sweep_failed", device = %self.name(), label = %name, %error);
        }
    }

    fn malformed(&self, problem: &'static str) -> HsmError {
        HsmError::Malformed { device: self.name(), action: "C_GenerateKeyPair", problem }
    }
}

fn generate_once(
    open: &Open<'_>,
    algorithm: TokenAlg,
    name: &KeyName,
    id: &KeyId,
) -> Result<(IssuingPublicKey, AttributeReport), Attempt> {
    let session = open.session;
    let (public, private) = session.generate_key_pair(
        &template::generation(algorithm),
        &template::public(algorithm, name, id),
        &template::private(algorithm, name, id),
    )?;
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
    algorithm: TokenAlg,
    id: &KeyId,
) -> Result<(IssuingPublicKey, AttributeReport), Attempt> {
    let session = open.session;
    let missing = |problem| Attempt::Gone(open.token.malformed(problem));
    let private = match private_objects(session, id)?.as_slice() {
        [only] => *only,
        _ => return Err(missing("the private object is not there exactly once")),
    };
    let mut public = public_objects(session)?.into_iter().filter(|object| object.id == id);
    let key = match (public.next(), public.next()) {
        (Some(only), None) => only.key,
        _ => return Err(missing("the public object is not there exactly once, or is no valid key")),
    };
    let key = IssuingPublicKey::new(key, algorithm)
        .map_err(|_| Attempt::Final(open.token.malformed("the key is of another type")))?;
    let report = AttributeReport::read(session, private, algorithm);
    let violations = report.violations();
    if !violations.is_empty() {
        let device = open.token.name();
        return Err(Attempt::Final(HsmError::WeakKey { device, violations: violations.join(", ") }));
    }
    // A canary signature by the new private half, verified in software with the public half.
    let signature = sign_in(session, private, algorithm, CANARY)?;
    key.verify(CANARY, &signature).map_err(|_| {
        Attempt::Final(HsmError::CanaryFailed { device: open.token.name(), kid: key.thumbprint() })
    })?;
    Ok((key, report))
}
