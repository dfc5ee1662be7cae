//! The attributes with which keys are generated.
//!
//! Invariants: sensitive, not extractable, sign only, one mechanism, neither modifiable nor copyable; but destroyable,
//! because a key that is neither modifiable nor destroyable can never be stopped from signing.
//! Spec: PKCS #11 v3.0 sections 4.9 and 4.10; RFC 5480 (P-256), RFC 8410 (Ed25519).

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::Attribute;

use super::names::KeyName;

/// Length of the random `CKA_ID` that ties the halves of a key together.
pub(crate) const ID_LEN: usize = 16;
/// `CKA_ID`: random, because the key may not be modified, so it must be known before the key is.
pub(crate) type KeyId = [u8; ID_LEN];

/// DER of the object identifier 1.2.840.10045.3.1.7, secp256r1.
const SECP256R1: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// DER of the object identifier 1.3.101.112, Ed25519.
const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// The two algorithms that this program generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// ECDSA on P-256, for issuing keys.
    Es256,
    /// Ed25519, for the log.
    Ed25519,
}

impl Algorithm {
    pub(crate) fn generation(self) -> Mechanism<'static> {
        match self {
            Self::Es256 => Mechanism::EccKeyPairGen,
            Self::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
        }
    }

    pub(crate) fn signing(self) -> MechanismType {
        match self {
            Self::Es256 => MechanismType::ECDSA,
            Self::Ed25519 => MechanismType::EDDSA,
        }
    }

    fn params(self) -> Vec<u8> {
        match self {
            Self::Es256 => SECP256R1.to_vec(),
            Self::Ed25519 => ED25519.to_vec(),
        }
    }
}

/// Template of the public half: readable without login, so that a sealed token can still be recognised.
///
/// What may be done with it does not matter, because everybody has it; and a TPM derives these attributes from those of
/// the private half and refuses a sign-only key whose public half is said to verify. So usage is left to the device.
pub(crate) fn public(algorithm: Algorithm, name: &KeyName, id: &KeyId) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::EcParams(algorithm.params()),
        Attribute::Modifiable(false),
        Attribute::Label(name.as_str().as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
    ]
}

/// Template of the private half.
pub(crate) fn private(algorithm: Algorithm, name: &KeyName, id: &KeyId) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::SignRecover(false),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::Modifiable(false),
        Attribute::Copyable(false),
        Attribute::Destroyable(true),
        Attribute::AllowedMechanisms(vec![algorithm.signing()]),
        Attribute::Label(name.as_str().as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
    ]
}
