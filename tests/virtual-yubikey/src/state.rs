//! What a card keeps when it loses power: PIN, PUK, management key, keys and data objects, as one JSON file.
//!
//! Secrets are in the clear. That is the point of a virtual key, and why it is never part of what is shipped.

use crate::attestation::{self, AttestationCa, AttestationError};
use crate::tlv;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use rand_core::CryptoRng;
use rsa::RsaPrivateKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Firmware version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(u8, u8, u8);

impl Version {
    /// The firmware most keys in the field have: 3DES management key.
    pub const V5_4_3: Self = Self(5, 4, 3);
    /// The first with the newer attestation authority: AES-192 management key.
    pub const V5_7_4: Self = Self(5, 7, 4);

    /// Major, minor, patch.
    #[must_use]
    pub fn bytes(self) -> [u8; 3] {
        [self.0, self.1, self.2]
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<u8> = text.split('.').filter_map(|part| part.parse().ok()).collect();
        match parts.as_slice() {
            [major, minor, patch] => Ok(Self(*major, *minor, *patch)),
            _ => Err(format!("not a firmware version: {text:?}; expected for example 5.7.4")),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

/// Bytes, as base64 in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// PIN or PUK: always eight bytes, padded with 0xff, and a counter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reference {
    /// The eight bytes a client sends.
    pub value: Bytes,
    /// Whether it still is what the factory set.
    pub default: bool,
    /// Tries after a success.
    pub tries: u8,
    /// Tries left.
    pub left: u8,
}

impl Reference {
    /// A factory value with three tries.
    #[must_use]
    pub fn factory(value: &[u8]) -> Self {
        Self { value: Bytes(padded(value)), default: true, tries: 3, left: 3 }
    }

    /// Replaces the value; the counter starts anew.
    pub fn set(&mut self, value: &[u8]) {
        self.value = Bytes(padded(value));
        self.default = false;
        self.left = self.tries;
    }
}

/// The key that authorises administration (slot 9b).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Management {
    /// PIV algorithm: 0x03 3DES, 0x08, 0x0a, 0x0c AES-128, 192, 256.
    pub algorithm: u8,
    /// The key.
    pub key: Bytes,
    /// Whether it still is the factory's.
    pub default: bool,
}

/// PIN and touch policy of a key, as PIV numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies {
    /// 1 never, 2 once, 3 always.
    pub pin: u8,
    /// 1 never, 2 always, 3 cached.
    pub touch: u8,
}

/// One private key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredKey {
    /// PIV algorithm: 0x11 P-256, 0x07 RSA-2048 (slot f9 only).
    pub algorithm: u8,
    /// PKCS #8, PEM.
    pub private: String,
    /// When PIN and touch are asked.
    pub policies: Policies,
    /// Made on the card, so that it can be attested.
    pub generated: bool,
}

impl StoredKey {
    /// P-256 in the numbering of PIV.
    pub const P256: u8 = 0x11;
    /// RSA-2048 in the numbering of PIV.
    pub const RSA2048: u8 = 0x07;

    pub(crate) fn from_p256(key: &p256::SecretKey, policies: Policies, generated: bool) -> Option<Self> {
        let private = key.to_pkcs8_pem(LineEnding::LF).ok()?.to_string();
        Some(Self { algorithm: Self::P256, private, policies, generated })
    }

    pub(crate) fn p256(&self) -> Option<p256::SecretKey> {
        p256::SecretKey::from_pkcs8_pem(&self.private).ok()
    }

    pub(crate) fn rsa(&self) -> Option<RsaPrivateKey> {
        attestation::rsa_from_pem(&self.private).ok()
    }
}

/// Everything persistent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CardState {
    /// Serial number, printed on a real key.
    pub serial: u32,
    /// Firmware.
    pub version: Version,
    /// User PIN.
    pub pin: Reference,
    /// PIN unblocking key.
    pub puk: Reference,
    /// Management key.
    pub management: Management,
    /// Private keys by slot.
    pub keys: BTreeMap<u8, StoredKey>,
    /// Data objects by tag, with the content of their 0x53.
    pub objects: BTreeMap<u32, Bytes>,
}

impl CardState {
    /// The PIV slot of the attestation key.
    pub const ATTESTATION_SLOT: u8 = 0xf9;
    /// The object that holds its certificate.
    pub const ATTESTATION_OBJECT: u32 = 0x5f_ff01;

    /// A card as it leaves the factory: PIN 123456, PUK 12345678, the well-known management key, and an attestation
    /// key certified by `ca`.
    ///
    /// # Errors
    /// When the attestation key cannot be made.
    pub fn factory(
        serial: u32,
        version: Version,
        ca: &AttestationCa,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, AttestationError> {
        let device = attestation::generate_rsa(rng)?;
        let certificate = ca.issue_device(serial, version, &device)?;
        let key = StoredKey {
            algorithm: StoredKey::RSA2048,
            private: attestation::rsa_to_pem(&device)?,
            policies: Policies { pin: 1, touch: 1 },
            generated: false,
        };
        let mut card = Self {
            serial,
            version,
            pin: Reference::factory(b"123456"),
            puk: Reference::factory(b"12345678"),
            management: Management::factory(version),
            keys: BTreeMap::from([(Self::ATTESTATION_SLOT, key)]),
            objects: BTreeMap::new(),
        };
        card.objects.insert(Self::ATTESTATION_OBJECT, certificate_object(&certificate));
        Ok(card)
    }

    /// Back to the factory's values; the attestation key and its certificate survive, as on a real key.
    pub fn reset(&mut self) {
        self.pin = Reference::factory(b"123456");
        self.puk = Reference::factory(b"12345678");
        self.management = Management::factory(self.version);
        self.keys.retain(|slot, _| *slot == Self::ATTESTATION_SLOT);
        self.objects.retain(|tag, _| *tag == Self::ATTESTATION_OBJECT);
    }
}

impl Management {
    fn factory(version: Version) -> Self {
        let algorithm = if version >= Version(5, 7, 0) { 0x0a } else { 0x03 };
        let key = [1, 2, 3, 4, 5, 6, 7, 8].repeat(3);
        Self { algorithm, key: Bytes(key), default: true }
    }
}

/// A certificate as PIV stores it: 70 certificate, 71 uncompressed, FE checksum (empty).
fn certificate_object(certificate: &[u8]) -> Bytes {
    Bytes([tlv::write(0x70, certificate), tlv::write(0x71, &[0]), tlv::write(0xfe, &[])].concat())
}

fn padded(value: &[u8]) -> Vec<u8> {
    let mut bytes = value.to_vec();
    bytes.resize(8, 0xff);
    bytes
}
