//! Signatures of an `hsm_token`, by any algorithm of issuing keys.
//!
//! Invariant: `CKM_ECDSA` gets exactly a digest, and RSA mechanisms hash in the device, so that no caller has a bare digest
//! signed; the answer has the length of its algorithm.
//! Spec: PKCS #11 v3.0 sections 2.1.8 and 2.1.10 (RSA), 2.3.6 (`CKM_ECDSA`: r‖s), 2.3.14 (`CKM_EDDSA`); RFC 7518
//! sections 3.3 to 3.5, RFC 8037.

use std::borrow::Cow;
use std::time::Instant;

use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use sha2::Digest as _;

use super::SigningDevice;
use super::canary::CANARY;
use super::error::HsmError;
use super::fault::Attempt;
use super::open::Open;
use super::report::{DeviceDescription, HealthReport};
use super::token::Pkcs11Token;
use crate::jose::{Digest, IssuingPublicKey, PublicKey, TokenAlg};

/// Bytes of the longest signature: RSA with 4,096 bits.
const MAX_SIGNATURE: usize = 512;

fn mechanism(alg: TokenAlg) -> Mechanism<'static> {
    match alg {
        TokenAlg::Es256 | TokenAlg::Es384 => Mechanism::Ecdsa,
        TokenAlg::EdDsa => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)),
        TokenAlg::Rs256 => Mechanism::Sha256RsaPkcs,
        TokenAlg::Ps256 => Mechanism::Sha256RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: 32.into(),
        }),
    }
}

/// What the mechanism is given for a message.
fn input(alg: TokenAlg, message: &[u8]) -> Cow<'_, [u8]> {
    match alg {
        TokenAlg::Es256 => sha2::Sha256::digest(message).to_vec().into(),
        TokenAlg::Es384 => sha2::Sha384::digest(message).to_vec().into(),
        TokenAlg::EdDsa | TokenAlg::Rs256 | TokenAlg::Ps256 => message.into(),
    }
}

/// One signature in an open session; its length is not checked.
pub(crate) fn sign_in(
    session: &Session,
    private: ObjectHandle,
    alg: TokenAlg,
    message: &[u8],
) -> Result<Vec<u8>, cryptoki::error::Error> {
    session.sign(&mechanism(alg), private, &input(alg, message))
}

impl Pkcs11Token {
    /// Signs with the private key called `name`, and says which initialisation of the module served it.
    pub(crate) fn sign_with(
        &self,
        action: &'static str,
        alg: TokenAlg,
        name: &Digest,
        message: &[u8],
    ) -> Result<(Vec<u8>, u64), HsmError> {
        if !self.description.capabilities.offers(alg) {
            return Err(HsmError::Unsupported { device: self.name(), what: alg.as_str() });
        }
        self.run(action, |open: &Open<'_>| {
            let key = open.private_key(name)?;
            let signature = sign_in(open.session, key, alg, message)?;
            let good = match alg.signature_bytes() {
                Some(expected) => signature.len() == expected,
                None => signature.len() <= MAX_SIGNATURE,
            };
            if good {
                return Ok((signature, open.generation));
            }
            let problem = "the signature has another length than those of its algorithm";
            Err(Attempt::Final(HsmError::Malformed { device: self.name(), action, problem }))
        })
    }
}

impl SigningDevice for Pkcs11Token {
    fn sign(&self, kid: &Digest, alg: TokenAlg, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        self.sign_with("C_Sign", alg, kid, message).map(|(signature, _)| signature)
    }

    fn public_key(&self, kid: &Digest) -> Result<PublicKey, HsmError> {
        let found = self.public_keys()?.into_iter().find(|key| key.thumbprint() == *kid);
        found.ok_or_else(|| HsmError::KeyNotFound { device: self.name(), kid: kid.to_string() })
    }

    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
    fn public_keys(&self) -> Result<Vec<PublicKey>, HsmError> {
        self.run("C_FindObjects", |open| open.usable_keys())
    }

    fn health(&self, kid: &Digest, alg: TokenAlg) -> Result<HealthReport, HsmError> {
        let key = self.public_key(kid)?;
        let start = Instant::now();
        let (signature, initialisations) = self.sign_with("the canary", alg, kid, CANARY)?;
        let latency = start.elapsed();
        IssuingPublicKey::new(key, alg)
            .and_then(|key| key.verify(CANARY, &signature))
            .map_err(|_| HsmError::CanaryFailed { device: self.name(), kid: *kid })?;
        Ok(HealthReport { kid: *kid, latency, initialisations })
    }

    fn destroy(&self, kid: &Digest) -> Result<bool, HsmError> {
        self.destroy_for_ever(kid)
    }

    fn describe(&self) -> &DeviceDescription {
        &self.description
    }
}
