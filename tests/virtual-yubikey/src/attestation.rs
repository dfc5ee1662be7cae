//! The attestation chain of a virtual YubiKey: statement → device certificate (slot f9) → root, shaped like Yubico's.
//!
//! Every key of this chain is RSA-2048, as on a real YubiKey. The root is made per stack and belongs to nobody: a
//! charter that trusts it trusts keys whose private half lies in a JSON file.
//!
//! Spec: <https://developers.yubico.com/PIV/Introduction/PIV_attestation.html>.

use crate::state::{Policies, Version};
use der::asn1::{Int, ObjectIdentifier, OctetString};
use der::pem::LineEnding;
use der::{Decode, DecodePem, Encode, EncodePem};
use rand_core::CryptoRng;
pub use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::sha2::Sha256;
use rsa::signature::Keypair;
use std::str::FromStr;
use std::time::Duration;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate};

/// Attestation certificates of real devices carry these fixed dates: a YubiKey has no clock. Unix seconds.
pub const VALIDITY: (u64, u64) = (1_457_913_600, 2_596_924_800);

/// Form factor "USB-A keychain".
pub const FORM_FACTOR: u8 = 1;

const FIRMWARE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.3");
const SERIAL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.7");
const POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.8");
const FORM: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.9");

/// What can go wrong while keys and certificates are made.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// RSA key generation or encoding.
    #[error("an RSA key could not be made or read: {0}")]
    Key(String),
    /// Encoding or signing a certificate.
    #[error("a certificate could not be made or read: {0}")]
    Certificate(String),
}

impl From<der::Error> for AttestationError {
    fn from(error: der::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

/// A certificate to be issued; public so that tests can build chains that are wrong in one respect.
#[derive(Debug, Clone)]
pub struct Template {
    /// Subject, RFC 4514.
    pub subject: String,
    /// Issuer, RFC 4514.
    pub issuer: String,
    /// First and last second of validity, Unix time.
    pub validity: (u64, u64),
    /// basicConstraints, if the certificate has any.
    pub basic_constraints: Option<BasicConstraints>,
    /// Extensions by OID, with the raw content of the OCTET STRING.
    pub extensions: Vec<(ObjectIdentifier, Vec<u8>)>,
}

impl Template {
    /// Signs a certificate over `public_key` with an RSA key (PKCS #1 v1.5, SHA-256).
    ///
    /// # Errors
    /// When a name is malformed or the encoding fails.
    pub fn issue(
        &self,
        serial: u64,
        public_key: SubjectPublicKeyInfoOwned,
        signer: &RsaPrivateKey,
    ) -> Result<Vec<u8>, AttestationError> {
        let broken = |error: &dyn std::fmt::Display| AttestationError::Certificate(error.to_string());
        let profile =
            Fixed { subject: Name::from_str(&self.subject)?, issuer: Name::from_str(&self.issuer)? };
        let validity = Validity::new(time(self.validity.0)?, time(self.validity.1)?);
        let mut builder = CertificateBuilder::new(profile, SerialNumber::from(serial), validity, public_key)
            .map_err(|error| broken(&error))?;
        for (oid, content) in &self.extensions {
            let extension =
                Extension { extn_id: *oid, critical: false, extn_value: OctetString::new(content.clone())? };
            builder.add_extension(extension).map_err(|_| broken(&"extension"))?;
        }
        if let Some(constraints) = &self.basic_constraints {
            builder.add_extension(RawConstraints(constraints.clone()))?;
        }
        let key = SigningKey::<Sha256>::new(signer.clone());
        let certificate =
            builder.build::<_, rsa::pkcs1v15::Signature>(&key).map_err(|error| broken(&error))?;
        Ok(certificate.to_der()?)
    }
}

/// The authority at the top: one per stack, kept as two PEM files by [`crate::Stack`].
pub struct AttestationCa {
    key: RsaPrivateKey,
    certificate: Vec<u8>,
}

impl AttestationCa {
    const SUBJECT: &'static str = "CN=Virtual YubiKey PIV Root CA (testing only)";

    /// Makes a new root. About a second on a slow machine.
    ///
    /// # Errors
    /// When key generation fails.
    pub fn create(rng: &mut impl CryptoRng) -> Result<Self, AttestationError> {
        let key = generate_rsa(rng)?;
        let template = Template {
            subject: Self::SUBJECT.to_owned(),
            issuer: Self::SUBJECT.to_owned(),
            validity: VALIDITY,
            basic_constraints: Some(BasicConstraints { ca: true, path_len_constraint: Some(1) }),
            extensions: Vec::new(),
        };
        let certificate = template.issue(1, spki(&key)?, &key)?;
        Ok(Self { key, certificate })
    }

    /// Reads a root back from its two PEM texts.
    ///
    /// # Errors
    /// When either is malformed.
    pub fn from_pem(key: &str, certificate: &str) -> Result<Self, AttestationError> {
        Ok(Self { key: rsa_from_pem(key)?, certificate: Certificate::from_pem(certificate)?.to_der()? })
    }

    /// The private key, PKCS #8 PEM.
    ///
    /// # Errors
    /// When encoding fails.
    pub fn key_pem(&self) -> Result<String, AttestationError> {
        rsa_to_pem(&self.key)
    }

    /// The root certificate, DER: what a charter lists among its attestation roots.
    #[must_use]
    pub fn root_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The root certificate, PEM.
    ///
    /// # Errors
    /// When encoding fails.
    pub fn root_pem(&self) -> Result<String, AttestationError> {
        Ok(Certificate::from_der(&self.certificate)?.to_pem(LineEnding::LF)?)
    }

    /// The device certificate for slot f9: a CA of its own, as on a real key.
    ///
    /// # Errors
    /// When encoding fails.
    pub fn issue_device(
        &self,
        serial: u32,
        version: Version,
        device: &RsaPrivateKey,
    ) -> Result<Vec<u8>, AttestationError> {
        let template = Template {
            subject: DEVICE_SUBJECT.to_owned(),
            issuer: Self::SUBJECT.to_owned(),
            validity: VALIDITY,
            basic_constraints: Some(BasicConstraints { ca: true, path_len_constraint: Some(0) }),
            extensions: vec![(FIRMWARE, version.bytes().to_vec())],
        };
        template.issue(u64::from(serial), spki(device)?, &self.key)
    }

    /// The root's private key, so that tests can sign chains that are wrong.
    #[must_use]
    pub fn key(&self) -> &RsaPrivateKey {
        &self.key
    }
}

const DEVICE_SUBJECT: &str = "CN=Yubico PIV Attestation";

/// What an attestation statement says about one key.
pub(crate) struct Statement<'a> {
    pub slot: u8,
    pub public_key: SubjectPublicKeyInfoOwned,
    pub policies: Policies,
    pub serial: u32,
    pub version: Version,
    pub device_key: &'a RsaPrivateKey,
    /// Serial number of the certificate, random.
    pub number: u64,
}

impl Statement<'_> {
    /// The statement as a certificate signed by the device's f9 key.
    pub fn issue(self) -> Result<Vec<u8>, AttestationError> {
        Template {
            subject: format!("CN=YubiKey PIV Attestation {:02x}", self.slot),
            issuer: DEVICE_SUBJECT.to_owned(),
            validity: VALIDITY,
            basic_constraints: None,
            extensions: vec![
                (FIRMWARE, self.version.bytes().to_vec()),
                (SERIAL, Int::new(&positive(self.serial))?.to_der()?),
                (POLICIES, vec![self.policies.pin, self.policies.touch]),
                (FORM, vec![FORM_FACTOR]),
            ],
        }
        .issue(self.number, self.public_key, self.device_key)
    }
}

/// A new RSA-2048 key.
///
/// # Errors
/// When none is found.
pub fn generate_rsa(rng: &mut impl CryptoRng) -> Result<RsaPrivateKey, AttestationError> {
    RsaPrivateKey::new(rng, 2048).map_err(|error| AttestationError::Key(error.to_string()))
}

/// PKCS #8 PEM of an RSA key.
pub(crate) fn rsa_to_pem(key: &RsaPrivateKey) -> Result<String, AttestationError> {
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| AttestationError::Key(error.to_string()))?;
    Ok(pem.to_string())
}

/// An RSA key from PKCS #8 PEM.
pub(crate) fn rsa_from_pem(pem: &str) -> Result<RsaPrivateKey, AttestationError> {
    RsaPrivateKey::from_pkcs8_pem(pem).map_err(|error| AttestationError::Key(error.to_string()))
}

/// The public half of an RSA key.
///
/// # Errors
/// When encoding fails.
pub fn spki(key: &RsaPrivateKey) -> Result<SubjectPublicKeyInfoOwned, AttestationError> {
    let verifying = SigningKey::<Sha256>::new(key.clone()).verifying_key();
    SubjectPublicKeyInfo::from_key(&verifying).map_err(|error| AttestationError::Key(error.to_string()))
}

/// An RSA signature (PKCS #1 v1.5, SHA-256) over any bytes, for certificates that no encoder would write.
#[must_use]
pub fn sign(key: &RsaPrivateKey, message: &[u8]) -> Vec<u8> {
    use rsa::signature::{SignatureEncoding as _, Signer as _};
    SigningKey::<Sha256>::new(key.clone()).sign(message).to_vec()
}

/// Big-endian bytes of a non-negative DER INTEGER: shortest, with a zero byte where the sign bit would be set.
fn positive(number: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    if bytes.first().is_none_or(|first| first & 0x80 != 0) {
        bytes.insert(0, 0);
    }
    bytes
}

fn time(seconds: u64) -> Result<Time, AttestationError> {
    let duration = Duration::from_secs(seconds);
    // RFC 5280: UTCTime through 2049, GeneralizedTime after.
    match der::asn1::UtcTime::from_unix_duration(duration) {
        Ok(utc) => Ok(Time::UtcTime(utc)),
        Err(_) => Ok(Time::GeneralTime(der::asn1::GeneralizedTime::from_unix_duration(duration)?)),
    }
}

/// Names as given, and no extension of its own.
struct Fixed {
    subject: Name,
    issuer: Name,
}

impl BuilderProfile for Fixed {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _subject_key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        Ok(Vec::new())
    }
}

/// basicConstraints, marked critical as in Yubico's certificates.
struct RawConstraints(BasicConstraints);

impl ToExtension for RawConstraints {
    type Error = der::Error;

    fn to_extension(self, _subject: &Name, _before: &[Extension]) -> Result<Extension, der::Error> {
        Ok(Extension {
            extn_id: ObjectIdentifier::new_unwrap("2.5.29.19"),
            critical: true,
            extn_value: OctetString::new(self.0.to_der()?)?,
        })
    }
}
