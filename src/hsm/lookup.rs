//! Finding keys on an `hsm_token` by their public half.
//!
//! A private object cannot tell its own thumbprint, so a key is found through the public object beside it: thumbprint
//! → `CKA_ID` → private object. Invariants: the pair must be unambiguous in both directions, else nothing is signed; a
//! public object planted by someone else only makes the lookup refuse or the signature fail verification.
//! Spec: PKCS #11 v3.0 section 6.3.3 (`CKA_EC_POINT` is a DER OCTET STRING; some devices give the bare point).

use cryptoki::error::Error;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::fault::{Remedy, remedy};
use crate::jose::{Digest, Ed25519PublicKey, P256PublicKey, P384PublicKey, PublicKey, RsaPublicKey};

/// A public object that could be read and understood.
#[derive(Debug, Clone)]
pub(crate) struct PublicObject {
    pub(crate) handle: ObjectHandle,
    pub(crate) id: Vec<u8>,
    pub(crate) key: PublicKey,
}

/// What a look-up found.
pub(crate) enum Lookup {
    /// Exactly one private object.
    Found(ObjectHandle),
    /// No private object.
    Nothing,
    /// Several objects claim to be this key.
    Ambiguous(usize),
}

/// All public keys that this program understands. Others are skipped here, and listed by the inventory.
pub(crate) fn public_objects(session: &Session) -> Result<Vec<PublicObject>, Error> {
    let mut found = Vec::new();
    for key_type in [KeyType::EC, KeyType::EC_EDWARDS, KeyType::RSA] {
        let template =
            [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::KeyType(key_type), Attribute::Token(true)];
        for handle in session.find_objects(&template)? {
            let id = read_bytes(session, handle, AttributeType::Id)?;
            if let (Some(id), Some(key)) = (id, public_key(session, handle, key_type)?) {
                found.push(PublicObject { handle, id, key });
            }
        }
    }
    Ok(found)
}

/// The key that an object is; `None` if it is none that issuing or log keys can be.
fn public_key(
    session: &Session,
    handle: ObjectHandle,
    key_type: KeyType,
) -> Result<Option<PublicKey>, Error> {
    let bytes = |kind| Ok::<_, Error>(read_bytes(session, handle, kind)?.unwrap_or_default());
    Ok(match key_type {
        KeyType::EC => parse_ec(&bytes(AttributeType::EcPoint)?),
        KeyType::EC_EDWARDS => parse_ed25519(&bytes(AttributeType::EcPoint)?),
        _ => {
            let (modulus, exponent) = (bytes(AttributeType::Modulus)?, bytes(AttributeType::PublicExponent)?);
            RsaPublicKey::new(without_zeros(&modulus), without_zeros(&exponent)).ok().map(PublicKey::Rsa)
        }
    })
}

/// The private object that belongs to the public key called `name`.
pub(crate) fn private_object(session: &Session, name: &Digest) -> Result<Lookup, Error> {
    let public = public_objects(session)?;
    let mut ids: Vec<&[u8]> =
        public.iter().filter(|o| o.key.thumbprint() == *name).map(|o| o.id.as_slice()).collect();
    ids.sort_unstable();
    ids.dedup();
    let [id] = ids.as_slice() else {
        return Ok(if ids.is_empty() { Lookup::Nothing } else { Lookup::Ambiguous(ids.len()) });
    };
    let strangers = public.iter().filter(|o| o.id == *id && o.key.thumbprint() != *name).count();
    let private = private_objects(session, id)?;
    Ok(match private.as_slice() {
        [] => Lookup::Nothing,
        [handle] if strangers == 0 => Lookup::Found(*handle),
        _ => Lookup::Ambiguous(private.len() + strangers),
    })
}

/// Private keys with this `CKA_ID`.
pub(crate) fn private_objects(session: &Session, id: &[u8]) -> Result<Vec<ObjectHandle>, Error> {
    session.find_objects(&[
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
        Attribute::Id(id.to_vec()),
    ])
}

/// One attribute of bytes; `None` if the object has none, or one that cannot be read: a single broken object must not
/// make all the others unusable.
pub(crate) fn read_bytes(
    session: &Session,
    object: ObjectHandle,
    kind: AttributeType,
) -> Result<Option<Vec<u8>>, Error> {
    Ok(match read(session, object, kind)? {
        Some(
            Attribute::Id(bytes)
            | Attribute::EcParams(bytes)
            | Attribute::EcPoint(bytes)
            | Attribute::Modulus(bytes)
            | Attribute::PublicExponent(bytes)
            | Attribute::Label(bytes),
        ) => Some(bytes),
        _ => None,
    })
}

/// One attribute; `None` if the object has none, or one that cannot be read. Only faults of the device are errors.
pub(crate) fn read(
    session: &Session,
    object: ObjectHandle,
    kind: AttributeType,
) -> Result<Option<Attribute>, Error> {
    match session.get_attributes(object, &[kind]) {
        Ok(read) => Ok(read.into_iter().next()),
        Err(error) if remedy(&error) == Remedy::None => Ok(None),
        Err(error) => Err(error),
    }
}

/// Some devices put zeros before a number, so that it is a whole number of words, or a positive one.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn parse_ec(point: &[u8]) -> Option<PublicKey> {
    let sec1 = match point {
        [0x04, 0x41, rest @ ..] if rest.len() == 65 => rest,
        [0x04, 0x61, rest @ ..] if rest.len() == 97 => rest,
        bare => bare,
    };
    match sec1.len() {
        97 => P384PublicKey::from_sec1(sec1).ok().map(PublicKey::P384),
        _ => P256PublicKey::from_sec1(sec1).ok().map(PublicKey::P256),
    }
}

fn parse_ed25519(point: &[u8]) -> Option<PublicKey> {
    let raw = match point {
        [0x04, 0x20, rest @ ..] | [0x03, 0x21, 0x00, rest @ ..] if rest.len() == 32 => rest,
        bare => bare,
    };
    let raw: [u8; 32] = raw.try_into().ok()?;
    Some(PublicKey::Ed25519(Ed25519PublicKey::from_bytes(raw)))
}
