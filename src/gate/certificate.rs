//! The client's certificate as proxies write it into a header, down to what a token is bound to: SHA-256 of its DER.
//!
//! Nothing is verified here but the form: that the client has the key, the proxy has seen in the TLS handshake, and a token
//! names the one certificate that counts (RFC 8705 section 3).

use std::borrow::Cow;

use base64::Engine as _;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::config::CertificateFormat;
use crate::jose::Digest;

/// A header at most, in bytes.
const MAX_BYTES: usize = 12_000;

/// What Caddy writes where there is no certificate: its placeholder, as it stands in its configuration.
const CADDY_NONE: &str = "{http.request.tls.client.certificate_der_base64}";

/// What a header is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proxy's header with the client certificate cannot be read: {0}")]
pub struct CertificateError(&'static str);

/// What the certificate in a header is known by; nothing if the proxy says that there is none.
pub fn digest(text: &str, format: CertificateFormat) -> Result<Option<Digest>, CertificateError> {
    if text.len() > MAX_BYTES {
        return Err(CertificateError("it is longer than any client certificate"));
    }
    if text.is_empty() || text == CADDY_NONE {
        return Ok(None);
    }
    match format {
        CertificateFormat::Pem => pem(text),
        CertificateFormat::Der => der(text),
        CertificateFormat::Xfcc => xfcc(text),
    }
    .map(Some)
}

fn pem(text: &str) -> Result<Digest, CertificateError> {
    let text = percent_decode(text)?;
    let mut certificates = CertificateDer::pem_slice_iter(text.as_bytes());
    match (certificates.next(), certificates.next()) {
        (Some(Ok(one)), None) => Ok(Digest::of(&one)),
        _ => Err(CertificateError("it is not one URL-encoded PEM certificate")),
    }
}

/// The client's certificate comes first, those of its issuers after commas.
fn der(text: &str) -> Result<Digest, CertificateError> {
    let text = percent_decode(text)?;
    let first = text.split(',').next().unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD.decode(first.trim());
    let is_sequence = |bytes: &Vec<u8>| bytes.first() == Some(&0x30);
    let bytes =
        bytes.ok().filter(is_sequence).ok_or(CertificateError("it is not the base64 of a certificate"))?;
    Ok(Digest::of(&bytes))
}

/// `Key=value;Key="value"`, elements after commas. Envoy appends one for each hop, so that only a single one says whose it is.
fn xfcc(text: &str) -> Result<Digest, CertificateError> {
    let malformed = CertificateError("it is not one element of X-Forwarded-Client-Cert with Hash or Cert");
    let (mut hash, mut certificate) = (None, None);
    let mut rest = text;
    loop {
        let (key, after) = rest.split_once('=').ok_or(malformed)?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                quoted.split_once('"').filter(|(value, _)| !value.contains('\\')).ok_or(malformed)?
            }
            None => after.split_at(after.find([';', ',']).unwrap_or(after.len())),
        };
        let place = match key.trim().to_ascii_lowercase().as_str() {
            "hash" => Some(&mut hash),
            "cert" => Some(&mut certificate),
            _ => None,
        };
        if place.is_some_and(|place| place.replace(value).is_some()) {
            return Err(malformed);
        }
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix(';').ok_or(malformed)?;
    }
    match (hash, certificate) {
        (Some(hash), _) => hex(hash).ok_or(malformed),
        (None, Some(certificate)) => pem(certificate),
        (None, None) => Err(malformed),
    }
}

fn hex(text: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Digest::from_bytes(bytes))
}

/// A plus sign stays one: it is a character of base64.
fn percent_decode(text: &str) -> Result<Cow<'_, str>, CertificateError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let wrong = CertificateError("it has an escape that is none");
    let (mut decoded, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('%') {
        decoded += before;
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii);
        decoded.push(char::from(byte.ok_or(wrong)?));
        rest = after.get(2..).unwrap_or_default();
    }
    decoded += rest;
    Ok(Cow::Owned(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> (String, Digest) {
        let key = p256::SecretKey::from_slice(&[9; 32]).unwrap();
        let pem = crate::grpc::cert::self_signed(&key, "a client", &[]).unwrap();
        let digest = Digest::of(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
        (pem, digest)
    }

    fn escaped(text: &str) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric();
        let escape =
            |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        text.bytes().map(escape).collect::<Vec<_>>().concat()
    }

    #[test]
    fn the_text_of_every_proxy_leads_to_the_same_certificate() {
        let (pem, expected) = certificate();
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let hash: String = expected.as_bytes().map(|byte| format!("{byte:02x}")).concat();
        for (format, text) in [
            (CertificateFormat::Pem, escaped(&pem)),
            (CertificateFormat::Der, base64.clone()),
            (CertificateFormat::Der, escaped(&base64)),
            (CertificateFormat::Der, format!("{base64},{base64}")),
            (CertificateFormat::Xfcc, format!("By=spiffe://a;Hash={hash};Subject=\"CN=a,O=b;c\"")),
            (CertificateFormat::Xfcc, format!("Cert=\"{}\";URI=", escaped(&pem))),
        ] {
            assert_eq!(digest(&text, format), Ok(Some(expected)), "{text}");
        }
        assert_eq!(digest("", CertificateFormat::Pem), Ok(None));
        assert_eq!(digest(CADDY_NONE, CertificateFormat::Der), Ok(None));
    }

    #[test]
    fn what_could_be_somebody_elses_is_refused() {
        let (pem, expected) = certificate();
        let hash: String = expected.as_bytes().map(|byte| format!("{byte:02x}")).concat();
        for (format, text) in [
            (CertificateFormat::Pem, escaped(&format!("{pem}{pem}"))),
            (CertificateFormat::Pem, "(null)".to_owned()),
            (CertificateFormat::Pem, "%2".to_owned()),
            (CertificateFormat::Pem, "%é1".to_owned()),
            (CertificateFormat::Der, "AAAA".to_owned()),
            (CertificateFormat::Der, "*".to_owned()),
            (CertificateFormat::Xfcc, format!("Hash={hash},Hash={hash}")),
            (CertificateFormat::Xfcc, format!("Hash={hash};Hash={hash}")),
            (CertificateFormat::Xfcc, format!("Subject=\"a\\\";Hash={hash};\";Hash={hash}")),
            (CertificateFormat::Xfcc, format!("Hash={}", &hash[1..])),
            (CertificateFormat::Xfcc, "Subject=\"CN=a\"".to_owned()),
            (CertificateFormat::Xfcc, "Hash".to_owned()),
            (CertificateFormat::Pem, "a".repeat(MAX_BYTES + 1)),
        ] {
            assert!(digest(&text, format).is_err(), "{text}");
        }
    }
}
