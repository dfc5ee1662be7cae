//! Why an attestation is refused: one variant for each rule.

use std::fmt;

use thiserror::Error;

/// Which certificate of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The device's statement about the key.
    Statement,
    /// The device's own certificate, f9.
    Device,
    /// One between f9 and a root.
    Intermediate,
    /// A root of the charter.
    Root,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Statement => "the attestation statement",
            Self::Device => "the device's f9 certificate",
            Self::Intermediate => "an intermediate certificate",
            Self::Root => "a root certificate",
        })
    }
}

/// Why a chain or its statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of a variant says what its fields are")]
pub enum AttestationError {
    /// Not a certificate.
    #[error("{link} is not a DER certificate of version 3")]
    Malformed { link: Link },
    /// No root given.
    #[error("the charter lists no attestation roots: add the maker's root certificate")]
    NoRoots,
    /// No certificate with the issuer's name and a key that made the signature leads on to a root.
    #[error("{link} was issued by {issuer:?}, which is neither a root of the charter nor leads to one")]
    Untrusted { link: Link, issuer: String },
    /// The names fit, the signature does not.
    #[error("the signature of {link} does not verify with its issuer's key")]
    Signature { link: Link },
    /// An algorithm outside the short list.
    #[error(
        "{link} uses a signature algorithm or a key that is not accepted: RSA from 2,048 bits or ECDSA with SHA-2"
    )]
    Algorithm { link: Link },
    /// Before the first or after the last second of validity.
    #[error("{link} is not valid now: valid from {from} to {until}, and it is {now} (Unix seconds)")]
    NotValidNow { link: Link, from: u64, until: u64, now: i64 },
    /// An issuer without basicConstraints CA:TRUE.
    #[error("{link} has issued a certificate, and is not a certificate authority (basicConstraints)")]
    NotAuthority { link: Link },
    /// keyUsage without keyCertSign.
    #[error("{link} has issued a certificate, and its key usage forbids that (keyCertSign)")]
    KeyUsage { link: Link },
    /// Too many authorities below one that limits them.
    #[error("{link} allows {allowed} authorities below it, and {found} are there (path length)")]
    PathLength { link: Link, allowed: u8, found: usize },
    /// A critical extension this code does not know.
    #[error("{link} has the critical extension {oid}, which is not known here")]
    CriticalExtension { link: Link, oid: String },
    /// One extension twice.
    #[error("{link} has the extension {oid} more than once")]
    DuplicateExtension { link: Link, oid: String },
    /// The statement is about another slot, or is none.
    #[error("the statement's subject is {subject:?}, and must be \"CN=YubiKey PIV Attestation 9c\"")]
    Subject { subject: String },
    /// The attested key is no P-256 key.
    #[error("the attested key is not a P-256 key")]
    PublicKey,
    /// An extension is missing or has another form.
    #[error("the statement lacks a readable {what} (extension {oid})")]
    Extension { what: &'static str, oid: &'static str },
}

impl AttestationError {
    /// A stable name for machines.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "ATTESTATION_MALFORMED",
            Self::NoRoots => "ATTESTATION_NO_ROOTS",
            Self::Untrusted { .. } => "ATTESTATION_UNTRUSTED",
            Self::Signature { .. } => "ATTESTATION_SIGNATURE",
            Self::Algorithm { .. } => "ATTESTATION_ALGORITHM",
            Self::NotValidNow { .. } => "ATTESTATION_NOT_VALID_NOW",
            Self::NotAuthority { .. } => "ATTESTATION_NOT_AUTHORITY",
            Self::KeyUsage { .. } => "ATTESTATION_KEY_USAGE",
            Self::PathLength { .. } => "ATTESTATION_PATH_LENGTH",
            Self::CriticalExtension { .. } => "ATTESTATION_CRITICAL_EXTENSION",
            Self::DuplicateExtension { .. } => "ATTESTATION_DUPLICATE_EXTENSION",
            Self::Subject { .. } => "ATTESTATION_SUBJECT",
            Self::PublicKey => "ATTESTATION_PUBLIC_KEY",
            Self::Extension { .. } => "ATTESTATION_EXTENSION",
        }
    }
}
