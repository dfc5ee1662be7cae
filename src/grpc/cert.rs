//! Self-signed certificates that carry a pinned P-256 key.
//!
//! A peer is known by its public key alone, so nothing else in the certificate means anything; it only has to please
//! every TLS stack: CA:FALSE and a SAN (a rustls client refuses a CA certificate as an end entity, RFC 9525 wants a
//! SAN), and a validity without end (RFC 5280, section 4.1.2.5: 99991231235959Z), because terms are the charter's matter.

use std::net::IpAddr;

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    SanType,
};

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A name is neither an IP address nor ASCII.
    #[error("{name:?} cannot stand in a certificate: give a DNS name or an IP address")]
    Name {
        /// The name as given.
        name: String,
        /// What rcgen says.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate could not be encoded.
    #[error("the certificate could not be encoded")]
    Encode(#[from] rcgen::Error),
}

/// Makes a certificate for `key`, in PEM. `names` are the DNS names and IP addresses of the host; `localhost`,
/// 127.0.0.1 and `::1` are always added. The same key and names give the same certificate but for the signature.
pub fn self_signed(key: &p256::SecretKey, common_name: &str, names: &[String]) -> Result<String, CertError> {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let always = ["localhost", "127.0.0.1", "::1"];
    for name in names.iter().map(String::as_str).chain(always) {
        let san = match name.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(
                name.try_into().map_err(|source| CertError::Name { name: name.to_owned(), source })?,
            ),
        };
        if !params.subject_alt_names.contains(&san) {
            params.subject_alt_names.push(san);
        }
    }
    Ok(params.self_signed(&CertKey::new(key))?.pem())
}

/// Lets rcgen sign with a key that stays in its own, zeroizing type.
struct CertKey {
    signing: SigningKey,
    public: Vec<u8>,
}

impl CertKey {
    fn new(key: &p256::SecretKey) -> Self {
        use p256::elliptic_curve::sec1::ToSec1Point as _;
        let public = key.public_key().to_sec1_point(false).as_bytes().to_vec();
        Self { signing: SigningKey::from(key), public }
    }
}

impl rcgen::PublicKeyData for CertKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for CertKey {
    fn sign(&self, msg: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: DerSignature = self.signing.try_sign(msg).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_bytes().to_vec())
    }
}
