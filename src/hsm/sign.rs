//! ES256 on an `hsm_token`.
//!
//! Invariant: `CKM_ECDSA` over exactly 32 bytes; the answer is exactly 64.
//! Spec: PKCS #11 v3.0 section 6.3.12 (`CKM_ECDSA`: r‖s); RFC 7518 section 3.4.

use std::time::Instant;

use cryptoki::mechanism::Mechanism;

use super::SigningDevice;
use super::canary::{CANARY, canary_digest};
use super::error::HsmError;
use super::fault::Attempt;
use super::lookup::PublicHalf;
use super::open::Open;
use super::report::{DeviceDescription, HealthReport};
use super::token::Pkcs11Token;
use crate::jose::{Digest, P256PublicKey};

impl Pkcs11Token {
    /// Signs with the private key called `name`, and says which initialisation of the module served it.
    pub(crate) fn sign_with(
        &self,
        action: &'static str,
        mechanism: &Mechanism<'_>,
        name: &Digest,
        data: &[u8],
    ) -> Result<([u8; 64], u64), HsmError> {
        self.run(action, |open: &Open<'_>| {
            let key = open.private_key(name)?;
            let signature = open.session.sign(mechanism, key, data)?;
            let signature = <[u8; 64]>::try_from(signature.as_slice()).map_err(|_| {
                let problem = "the signature is not 64 bytes long";
                Attempt::Final(HsmError::Malformed { device: self.name(), action, problem })
            })?;
            Ok((signature, open.generation))
        })
    }
}

impl SigningDevice for Pkcs11Token {
    fn sign_es256(&self, kid: &Digest, digest: &[u8; 32]) -> Result<[u8; 64], HsmError> {
        self.sign_with("C_Sign", &Mechanism::Ecdsa, kid, digest).map(|(signature, _)| signature)
    }

    fn public_key(&self, kid: &Digest) -> Result<P256PublicKey, HsmError> {
        let found = self.public_keys()?.into_iter().find(|key| key.thumbprint() == *kid);
        found.ok_or_else(|| HsmError::KeyNotFound { device: self.name(), kid: kid.to_string() })
    }

    fn public_keys(&self) -> Result<Vec<P256PublicKey>, HsmError> {
        self.run("C_FindObjects", |open| {
            let usable = open.usable_keys()?.into_iter();
            Ok(usable
                .filter_map(|key| if let PublicHalf::Es256(key) = key { Some(key) } else { None })
                .collect())
        })
    }

    fn health(&self, kid: &Digest) -> Result<HealthReport, HsmError> {
        let key = self.public_key(kid)?;
        let start = Instant::now();
        let (signature, initialisations) =
            self.sign_with("the canary", &Mechanism::Ecdsa, kid, canary_digest().as_bytes())?;
        let latency = start.elapsed();
        key.verify(CANARY, &signature)
            .map_err(|_| HsmError::CanaryFailed { device: self.name(), kid: *kid })?;
        Ok(HealthReport { kid: *kid, latency, initialisations })
    }

    fn describe(&self) -> &DeviceDescription {
        &self.description
    }
}
