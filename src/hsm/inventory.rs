//! What is on an `hsm_token`, sorted into what the charter knows and what nobody knows.
//!
//! Invariant: nothing is changed. An unknown object is quarantined, that is reported and never used, because deleting
//! what one does not know has destroyed keys elsewhere.

use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use serde::Serialize;

use super::attributes::{AttributeReport, rsa_alg};
use super::error::HsmError;
use super::lookup::{private_objects, public_objects, read, read_bytes};
use super::token::Pkcs11Token;
use crate::jose::{Digest, PublicKey, TokenAlg};

/// A complete key: one public and one private object under one `CKA_ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyEntry {
    /// RFC 7638 thumbprint.
    pub kid: Digest,
    /// What it signs; of an RSA key, what the device lets it sign, and RS256 where it does not say.
    pub algorithm: TokenAlg,
    /// Label of the private object, with what is not printable escaped.
    pub label: String,
    /// Whether the caller named this key. If not, it is quarantined.
    pub known: bool,
    /// What the device says about the private half.
    pub attributes: AttributeReport,
}

/// An object that is no half of a complete key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnknownObject {
    /// Class, as PKCS#11 names it.
    pub class: String,
    /// Label, with what is not printable escaped.
    pub label: String,
    /// `CKA_ID` in hexadecimal.
    pub id: String,
}

/// Everything on one token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// Complete keys.
    pub keys: Vec<KeyEntry>,
    /// Everything else: halves, certificates, secrets, data.
    pub quarantined: Vec<UnknownObject>,
}

impl Pkcs11Token {
    /// Lists all objects. `known` are the names of the keys that the charter lists for this token.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn inventory(&self, known: &[Digest]) -> Result<Inventory, HsmError> {
        self.run("C_FindObjects", |open| {
            open.still_there()?;
            let session = open.session;
            let mut keys = Vec::new();
            let mut explained = Vec::new();
            let public = public_objects(session)?;
            for object in &public {
                let same_id = public.iter().filter(|other| other.id == object.id).count();
                let [private] = private_objects(session, &object.id)?[..] else { continue };
                if same_id != 1 {
                    continue;
                }
                explained.extend([object.handle, private]);
                let alg = match object.key {
                    PublicKey::P256(_) => TokenAlg::Es256,
                    PublicKey::P384(_) => TokenAlg::Es384,
                    PublicKey::Ed25519(_) => TokenAlg::EdDsa,
                    PublicKey::Rsa(_) => rsa_alg(session, private),
                };
                let kid = object.key.thumbprint();
                keys.push(KeyEntry {
                    kid,
                    algorithm: alg,
                    label: printable(read_bytes(session, private, AttributeType::Label)?),
                    known: known.contains(&kid),
                    attributes: AttributeReport::read(session, private, alg),
                });
            }
            let mut quarantined = Vec::new();
            // Without a template: what a failed generation leaves may lack every attribute.
            for object in session.find_objects(&[])? {
                if explained.contains(&object) {
                    continue;
                }
                let class = match read(session, object, AttributeType::Class)? {
                    Some(Attribute::Class(class)) => class_name(class),
                    _ => "unreadable".into(),
                };
                quarantined.push(UnknownObject {
                    class,
                    label: printable(read_bytes(session, object, AttributeType::Label)?),
                    id: hex(&read_bytes(session, object, AttributeType::Id)?.unwrap_or_default()),
                });
            }
            Ok(Inventory { keys, quarantined })
        })
    }
}

fn class_name(class: ObjectClass) -> String {
    match class {
        ObjectClass::PUBLIC_KEY => "public key".into(),
        ObjectClass::PRIVATE_KEY => "private key".into(),
        ObjectClass::SECRET_KEY => "secret key".into(),
        ObjectClass::CERTIFICATE => "certificate".into(),
        ObjectClass::DATA => "data".into(),
        other => other.to_string(),
    }
}

fn printable(label: Option<Vec<u8>>) -> String {
    label.unwrap_or_default().escape_ascii().to_string()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
