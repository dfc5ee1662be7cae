//! A side's own certificate and private key, from PEM.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use p256::pkcs8::EncodePrivateKey as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::spki_digest;
use crate::grpc::cert::{self, CertError};
use crate::jose::Digest;

/// Why an identity could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read.
    #[error("{path} could not be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// No certificate in the PEM text.
    #[error("no readable certificate: a PEM block BEGIN CERTIFICATE is expected")]
    Certificate(#[source] rustls::pki_types::pem::Error),
    /// No private key in the PEM text.
    #[error("no readable private key: a PEM block BEGIN PRIVATE KEY (PKCS#8) is expected")]
    Key(#[source] rustls::pki_types::pem::Error),
    /// The key could not be encoded for TLS.
    #[error("the private key could not be encoded")]
    Encode(#[source] p256::pkcs8::Error),
    /// The certificate could not be made.
    #[error("the certificate could not be made")]
    Make(#[from] CertError),
    /// TLS refuses the pair.
    #[error("the certificate and the private key cannot be used together: both must be of one P-256 key")]
    Pair(#[source] rustls::Error),
}

/// A certificate and its private key. Debug shows the pin alone.
pub struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    spki: Digest,
}

impl Identity {
    /// Reads the first certificate and the first private key (PKCS#8, SEC1) of two PEM texts.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let certificate = CertificateDer::from_pem_slice(certificate).map_err(IdentityError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(IdentityError::Key)?;
        Self::new(certificate, key)
    }

    /// Reads two PEM files; they may be one and the same.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let read = |path: &Path| {
            fs::read(path)
                .map(Zeroizing::new)
                .map_err(|source| IdentityError::Read { path: path.to_owned(), source })
        };
        Self::from_pem(&read(certificate)?, &read(key)?)
    }

    /// Makes a self-signed certificate for `key` on the fly: see [`cert::self_signed`].
    pub fn from_key(
        key: &p256::SecretKey,
        common_name: &str,
        names: &[String],
    ) -> Result<Self, IdentityError> {
        let pem = cert::self_signed(key, common_name, names)?;
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(IdentityError::Certificate)?;
        let der = key.to_pkcs8_der().map_err(IdentityError::Encode)?;
        Self::new(certificate, PrivatePkcs8KeyDer::from(der.as_bytes().to_vec()).into())
    }

    fn new(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Result<Self, IdentityError> {
        let spki = spki_digest(&certificate).map_err(IdentityError::Pair)?;
        let signing =
            super::provider().key_provider.load_private_key(key.clone_key()).map_err(IdentityError::Pair)?;
        rustls::sign::CertifiedKey::new(vec![certificate.clone()], signing)
            .keys_match()
            .map_err(IdentityError::Pair)?;
        Ok(Self { certificate, key, spki })
    }

    /// What the other side pins: SHA-256 of this certificate's `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> Digest {
        self.spki
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("spki", &self.spki).finish_non_exhaustive()
    }
}
