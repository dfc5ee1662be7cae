//! One certificate: its signed bytes as received, its fields, and whether another one's key has signed it.

use der::{Decode as _, Encode as _, Reader as _, SliceReader};
use ring::signature::{self as ring_signature, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::certificate::Version;
use x509_cert::ext::Extension;
use x509_cert::name::Name;

use super::{AttestationError, Link};

/// No certificate of an attestation is longer; a statement has about 800 bytes.
const MAX_BYTES: usize = 8 * 1024;

/// A certificate of version 3 whose extensions occur once each.
pub(super) struct Certificate {
    pub link: Link,
    inner: x509_cert::Certificate,
    /// The bytes that are signed. Encoding the parsed fields again would not do: it changes how dates are written.
    signed: Vec<u8>,
}

impl Certificate {
    pub fn parse(link: Link, der: &[u8]) -> Result<Self, AttestationError> {
        let malformed = AttestationError::Malformed { link };
        if der.len() > MAX_BYTES {
            return Err(malformed);
        }
        let inner = x509_cert::Certificate::from_der(der).map_err(|_| malformed.clone())?;
        let signed = signed_part(der).map_err(|_| malformed.clone())?;
        if inner.tbs_certificate().version() != Version::V3 {
            return Err(malformed);
        }
        let certificate = Self { link, inner, signed };
        for extension in certificate.extensions() {
            let same = certificate.extensions().filter(|other| other.extn_id == extension.extn_id);
            if same.count() > 1 {
                let oid = extension.extn_id.to_string();
                return Err(AttestationError::DuplicateExtension { link, oid });
            }
        }
        Ok(certificate)
    }

    pub fn subject(&self) -> &Name {
        self.inner.tbs_certificate().subject()
    }

    pub fn issuer(&self) -> &Name {
        self.inner.tbs_certificate().issuer()
    }

    pub fn extensions(&self) -> impl Iterator<Item = &Extension> {
        self.inner.tbs_certificate().extensions().into_iter().flatten()
    }

    /// The content of an extension, by its OID in dotted text.
    pub fn extension(&self, oid: &str) -> Option<&[u8]> {
        let found = self.extensions().find(|extension| extension.extn_id.to_string() == oid);
        found.map(|extension| extension.extn_value.as_bytes())
    }

    /// The DER `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> Result<Vec<u8>, AttestationError> {
        let spki = self.inner.tbs_certificate().subject_public_key_info();
        spki.to_der().map_err(|_| AttestationError::Malformed { link: self.link })
    }

    /// First and last second of validity, both included, Unix time.
    pub fn validity(&self) -> (u64, u64) {
        let validity = self.inner.tbs_certificate().validity();
        let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
        (seconds(validity.not_before), seconds(validity.not_after))
    }

    /// Whether the key of `issuer` has signed this certificate.
    pub fn is_signed_by(&self, issuer: &Self) -> Result<(), AttestationError> {
        let algorithm = self.algorithm(issuer)?;
        let key = issuer.inner.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
        let signature = self.inner.signature().as_bytes().unwrap_or_default();
        UnparsedPublicKey::new(algorithm, key)
            .verify(&self.signed, signature)
            .map_err(|_| AttestationError::Signature { link: self.link })
    }

    /// The algorithm of this certificate's signature, if it is accepted and the issuer's key is of its kind. Key sizes
    /// are ring's to check: RSA from 2,048 to 8,192 bits.
    fn algorithm(&self, issuer: &Self) -> Result<&'static dyn VerificationAlgorithm, AttestationError> {
        const RSA: &str = "1.2.840.113549.1.1.1";
        const EC: &str = "1.2.840.10045.2.1";
        const P256: &str = "1.2.840.10045.3.1.7";
        const P384: &str = "1.3.132.0.34";
        let refused = AttestationError::Algorithm { link: self.link };
        let (outer, inner) = (self.inner.signature_algorithm(), self.inner.tbs_certificate().signature());
        if outer != inner {
            return Err(refused);
        }
        let key = &issuer.inner.tbs_certificate().subject_public_key_info().algorithm;
        let curve =
            key.parameters.as_ref().and_then(|any| any.decode_as::<der::asn1::ObjectIdentifier>().ok());
        let curve = curve.map(|oid| oid.to_string()).unwrap_or_default();
        let names = (outer.oid.to_string(), key.oid.to_string());
        match (names.0.as_str(), names.1.as_str(), curve.as_str()) {
            ("1.2.840.113549.1.1.11", RSA, _) => Ok(&ring_signature::RSA_PKCS1_2048_8192_SHA256),
            ("1.2.840.113549.1.1.12", RSA, _) => Ok(&ring_signature::RSA_PKCS1_2048_8192_SHA384),
            ("1.2.840.113549.1.1.13", RSA, _) => Ok(&ring_signature::RSA_PKCS1_2048_8192_SHA512),
            ("1.2.840.10045.4.3.2", EC, P256) => Ok(&ring_signature::ECDSA_P256_SHA256_ASN1),
            ("1.2.840.10045.4.3.2", EC, P384) => Ok(&ring_signature::ECDSA_P384_SHA256_ASN1),
            ("1.2.840.10045.4.3.3", EC, P256) => Ok(&ring_signature::ECDSA_P256_SHA384_ASN1),
            ("1.2.840.10045.4.3.3", EC, P384) => Ok(&ring_signature::ECDSA_P384_SHA384_ASN1),
            _ => Err(refused),
        }
    }
}

/// The first element of the outer SEQUENCE, as it stands there.
fn signed_part(der: &[u8]) -> der::Result<Vec<u8>> {
    let outer = der::asn1::AnyRef::from_der(der)?;
    Ok(SliceReader::new(outer.value())?.tlv_bytes()?.to_vec())
}
