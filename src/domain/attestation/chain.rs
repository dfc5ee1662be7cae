//! The path from the statement to a root, found by names and signatures and checked from the top.

use der::Decode as _;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use super::AttestationError;
use super::certificate::Certificate;

const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";

/// The longest path between f9 and a root; the makers' longest has two.
const MAX_INTERMEDIATES: usize = 4;

/// Accepts a path statement → f9 → (intermediates) → root of which every certificate may do what it does there, now.
pub(super) fn verify(
    statement: &Certificate,
    device: &Certificate,
    intermediates: &[Certificate],
    roots: &[Certificate],
    now: i64,
) -> Result<(), AttestationError> {
    if roots.is_empty() {
        return Err(AttestationError::NoRoots);
    }
    let mut path = path_to_root(device, intermediates, roots)?;
    path.push(device);
    for (place, issuer) in path.iter().enumerate() {
        check_validity(issuer, now)?;
        // What follows in the path are the authorities below; the statement is none.
        check_authority(issuer, path.len() - place - 1)?;
    }
    check_validity(statement, now)?;
    check_critical(statement)?;
    if statement.issuer() != device.subject() {
        return Err(untrusted(statement));
    }
    statement.is_signed_by(device)
}

/// The certificates above `device`, the root first. Where several have the right name, the one whose key fits counts.
fn path_to_root<'a>(
    device: &'a Certificate,
    intermediates: &'a [Certificate],
    roots: &'a [Certificate],
) -> Result<Vec<&'a Certificate>, AttestationError> {
    let mut path = Vec::new();
    let mut lowest = device;
    loop {
        if let Some(root) = issuer_among(lowest, roots)? {
            path.push(root);
            path.reverse();
            return Ok(path);
        }
        match issuer_among(lowest, intermediates)? {
            Some(next) if path.len() < MAX_INTERMEDIATES => {
                path.push(next);
                lowest = next;
            }
            _ => return Err(untrusted(lowest)),
        }
    }
}

/// The certificate that has signed `child`, or `None` if none has its issuer's name. The right name and a wrong signature
/// is an error.
fn issuer_among<'a>(
    child: &Certificate,
    candidates: &'a [Certificate],
) -> Result<Option<&'a Certificate>, AttestationError> {
    let mut outcome = Ok(None);
    for candidate in candidates.iter().filter(|candidate| candidate.subject() == child.issuer()) {
        match child.is_signed_by(candidate) {
            Ok(()) => return Ok(Some(candidate)),
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}

fn untrusted(child: &Certificate) -> AttestationError {
    AttestationError::Untrusted { link: child.link, issuer: child.issuer().to_string() }
}

fn check_validity(certificate: &Certificate, now: i64) -> Result<(), AttestationError> {
    let (from, until) = certificate.validity();
    let valid = u64::try_from(now).is_ok_and(|now| (from..=until).contains(&now));
    if valid {
        Ok(())
    } else {
        Err(AttestationError::NotValidNow { link: certificate.link, from, until, now })
    }
}

/// A certificate that issues others must be an authority, with at most so many authorities below as it allows.
fn check_authority(issuer: &Certificate, below: usize) -> Result<(), AttestationError> {
    let link = issuer.link;
    check_critical(issuer)?;
    let constraints = issuer
        .extension(BASIC_CONSTRAINTS)
        .and_then(|content| BasicConstraints::from_der(content).ok())
        .filter(|constraints| constraints.ca)
        .ok_or(AttestationError::NotAuthority { link })?;
    if let Some(allowed) = constraints.path_len_constraint
        && below > usize::from(allowed)
    {
        return Err(AttestationError::PathLength { link, allowed, found: below });
    }
    if let Some(content) = issuer.extension(KEY_USAGE) {
        let usage = KeyUsage::from_der(content).map_err(|_| AttestationError::KeyUsage { link })?;
        if !usage.key_cert_sign() {
            return Err(AttestationError::KeyUsage { link });
        }
    }
    Ok(())
}

/// What is marked critical must be understood.
fn check_critical(certificate: &Certificate) -> Result<(), AttestationError> {
    let unknown = certificate
        .extensions()
        .filter(|extension| extension.critical)
        .map(|extension| extension.extn_id.to_string())
        .find(|oid| oid != BASIC_CONSTRAINTS && oid != KEY_USAGE);
    match unknown {
        None => Ok(()),
        Some(oid) => Err(AttestationError::CriticalExtension { link: certificate.link, oid }),
    }
}
