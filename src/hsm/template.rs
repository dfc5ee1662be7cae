//! The attributes with which keys are generated.
//!
//! Invariants: sensitive, not extractable, sign only, one mechanism, neither modifiable nor copyable; but destroyable,
//! because a key that is neither modifiable nor destroyable can never be stopped from signing.
//! Spec: PKCS #11 v3.0 sections 4.9 and 4.10; RFC 5480 (P-256, P-384), RFC 8410 (Ed25519), RFC 8017 (RSA).

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::Attribute;
use cryptoki::types::Ulong;

use super::names::KeyName;
use crate::jose::TokenAlg;

/// Length of the random `CKA_ID` that ties the halves of a key together.
pub(crate) const ID_LEN: usize = 16;
/// `CKA_ID`: random, because the key may not be modified, so it must be known before the key is.
pub(crate) type KeyId = [u8; ID_LEN];

/// DER of the object identifier 1.2.840.10045.3.1.7, secp256r1.
const SECP256R1: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// DER of the object identifier 1.3.132.0.34, secp384r1.
const SECP384R1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
/// DER of the object identifier 1.3.101.112, Ed25519.
const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// Bits of an RSA key that is made here: as strong as P-256 (NIST SP 800-57 part 1, table 2).
const RSA_BITS: u16 = 3_072;

/// The mechanism that makes a key.
pub(crate) fn generation(alg: TokenAlg) -> Mechanism<'static> {
    match alg {
        TokenAlg::Es256 | TokenAlg::Es384 => Mechanism::EccKeyPairGen,
        TokenAlg::EdDsa => Mechanism::EccEdwardsKeyPairGen,
        TokenAlg::Rs256 | TokenAlg::Ps256 => Mechanism::RsaPkcsKeyPairGen,
    }
}

/// The one mechanism that a key may be used with. RSA ones hash in the device, so that the key signs no bare digest of
/// another kind; those of ECDSA do not exist everywhere.
pub(crate) fn allowed(alg: TokenAlg) -> MechanismType {
    match alg {
        TokenAlg::Es256 | TokenAlg::Es384 => MechanismType::ECDSA,
        TokenAlg::EdDsa => MechanismType::EDDSA,
        TokenAlg::Rs256 => MechanismType::SHA256_RSA_PKCS,
        TokenAlg::Ps256 => MechanismType::SHA256_RSA_PKCS_PSS,
    }
}

/// The size of key that a device has to offer with the mechanism, where the mechanism itself does not say enough.
pub(crate) fn least_bits(alg: TokenAlg) -> Option<usize> {
    match alg {
        TokenAlg::Es256 | TokenAlg::EdDsa => None,
        TokenAlg::Es384 => Some(384),
        TokenAlg::Rs256 | TokenAlg::Ps256 => Some(usize::from(RSA_BITS)),
    }
}

/// What says which kind of key is to be made.
fn kind(alg: TokenAlg) -> Vec<Attribute> {
    match alg {
        TokenAlg::Es256 => vec![Attribute::EcParams(SECP256R1.to_vec())],
        TokenAlg::Es384 => vec![Attribute::EcParams(SECP384R1.to_vec())],
        TokenAlg::EdDsa => vec![Attribute::EcParams(ED25519.to_vec())],
        TokenAlg::Rs256 | TokenAlg::Ps256 => {
            vec![
                Attribute::ModulusBits(Ulong::from(u64::from(RSA_BITS))),
                Attribute::PublicExponent(vec![1, 0, 1]),
            ]
        }
    }
}

/// Template of the public half: readable without login, so that a sealed token can still be recognised.
///
/// What may be done with it does not matter, because everybody has it; and a TPM derives these attributes from those of
/// the private half and refuses a sign-only key whose public half is said to verify. So usage is left to the device.
pub(crate) fn public(alg: TokenAlg, name: &KeyName, id: &KeyId) -> Vec<Attribute> {
    let mut template = kind(alg);
    template.extend([
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Modifiable(false),
        Attribute::Label(name.as_str().as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
    ]);
    template
}

/// Template of the private half.
pub(crate) fn private(alg: TokenAlg, name: &KeyName, id: &KeyId) -> Vec<Attribute> {
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
        Attribute::AllowedMechanisms(vec![allowed(alg)]),
        Attribute::Label(name.as_str().as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
    ]
}
