//! Names, keys and signature lines of signed notes.
//!
//! Invariants: an [`Origin`] obeys the rules for key names; a [`VerifierKey`] has the key id that belongs to its name
//! and key. Only Ed25519 (type 0x01) is verified here; lines of other keys and types are kept as opaque bytes, because
//! witnesses add theirs. Signing happens elsewhere, in the HSM: this module says which bytes, and takes the result.
//!
//! Spec: C2SP signed-note.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::TlogError;

/// The signature type byte of plain Ed25519.
const ED25519: u8 = 0x01;
/// What each signature line starts with: an em dash and a space.
const LINE_START: &str = "\u{2014} ";
/// Longest origin or key name, in bytes; what witnesses accept.
const MAX_ORIGIN_BYTES: usize = 255;
/// Longest signature of a line in bytes, key id included; room for post-quantum cosignatures.
const MAX_SIGNATURE_BYTES: usize = 8 * 1024;

/// The name of a log, or of a key: 1 to 255 bytes without spaces, control characters or plus signs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Origin(String);

impl Origin {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if text.is_empty() || text.len() > MAX_ORIGIN_BYTES || text.contains(forbidden) {
            return Err(TlogError::BadOrigin);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Origin {
    type Error = TlogError;

    fn try_from(text: String) -> Result<Self, TlogError> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The public half of a key that signs notes. Its text form, the *vkey*, is `name+keyid+base64(0x01 ‖ key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: Origin,
    public_key: [u8; 32],
}

impl VerifierKey {
    /// A key by its name and its 32 bytes as of RFC 8032.
    #[must_use]
    pub fn new(name: Origin, public_key: [u8; 32]) -> Self {
        Self { name, public_key }
    }

    /// The key's name; of a log's own key it is the log's origin.
    #[must_use]
    pub fn name(&self) -> &Origin {
        &self.name
    }

    /// The Ed25519 public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// The first four bytes of SHA-256(name ‖ newline ‖ type ‖ key): an identifier, not a commitment.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(self.name.as_str())
            .chain_update([b'\n', ED25519])
            .chain_update(self.public_key)
            .finalize()
            .into();
        let [a, b, c, d, ..] = digest;
        [a, b, c, d]
    }

    /// Checks an Ed25519 signature over `text`.
    pub fn verify(&self, text: &str, signature: &[u8]) -> Result<(), TlogError> {
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &self.public_key)
            .verify(text.as_bytes(), signature)
            .map_err(|_| TlogError::BadSignature)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = vec![ED25519];
        typed.extend_from_slice(&self.public_key);
        write!(f, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.id()), STANDARD.encode(typed))
    }
}

impl FromStr for VerifierKey {
    type Err = TlogError;

    fn from_str(vkey: &str) -> Result<Self, TlogError> {
        let bad = TlogError::BadVerifierKey;
        // Base64 may hold plus signs of its own, so the parts are cut from the left.
        let (name, rest) = vkey.split_once('+').ok_or(bad("name+id+key is expected"))?;
        let (id, key) = rest.split_once('+').ok_or(bad("name+id+key is expected"))?;
        if key.len() != 44 {
            return Err(bad("the key is not 33 bytes of base64"));
        }
        let key = STANDARD.decode(key).map_err(|_| bad("the key is not base64"))?;
        let (kind, key) = key.split_first().ok_or(bad("the key is empty"))?;
        if *kind != ED25519 {
            return Err(bad("the key is not of type Ed25519 (0x01)"));
        }
        let public_key = key.try_into().map_err(|_| bad("an Ed25519 key has 32 bytes"))?;
        let parsed = Self { name: name.parse()?, public_key };
        // Compared as text, so that upper case and leading zeroes have one form only.
        if format!("{:08x}", u32::from_be_bytes(parsed.id())) != id {
            return Err(bad("the key id does not belong to this name and key"));
        }
        Ok(parsed)
    }
}

/// One signature line of a note, of whatever key and type: a log's signature, or a witness's cosignature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key that signed.
    pub name: Origin,
    /// Its key id.
    pub key_id: [u8; 4],
    /// What the key made, in the format of its type.
    pub signature: Vec<u8>,
}

impl NoteSignature {
    /// A line made by this Ed25519 key.
    #[must_use]
    pub fn by(key: &VerifierKey, signature: &[u8; 64]) -> Self {
        Self { name: key.name.clone(), key_id: key.id(), signature: signature.to_vec() }
    }

    /// Whether this line claims to be of this key. A claim: [`VerifierKey::verify`] decides.
    #[must_use]
    pub fn is_of(&self, key: &VerifierKey) -> bool {
        self.name == key.name && self.key_id == key.id()
    }
}

impl fmt::Display for NoteSignature {
    /// The line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.as_slice(), &self.signature].concat();
        write!(f, "{LINE_START}{} {}", self.name, STANDARD.encode(bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = TlogError;

    fn from_str(line: &str) -> Result<Self, TlogError> {
        let bad = TlogError::BadNote;
        let rest = line
            .strip_prefix(LINE_START)
            .ok_or(bad("a signature line starts with an em dash and a space"))?;
        let (name, encoded) = rest.split_once(' ').ok_or(bad("a signature line is a key name and base64"))?;
        if encoded.len() > MAX_SIGNATURE_BYTES.div_ceil(3) * 4 {
            return Err(bad("a signature is too long"));
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| bad("a signature is not base64"))?;
        let (key_id, signature) = bytes.split_first_chunk::<4>().ok_or(bad("a signature has no key id"))?;
        if signature.is_empty() {
            return Err(bad("a signature is empty"));
        }
        Ok(Self { name: name.parse()?, key_id: *key_id, signature: signature.to_vec() })
    }
}
