//! Delivery: an issued JWT encrypted to the redeem key of its grant, so that it never rests in the clear.
//!
//! Invariants: a fresh ephemeral key per message, so key and nonce never repeat; the header is exactly `alg`, `cty`,
//! `enc`, `epk` and canonical, without `zip`, `apu`, `apv` or `kid`; plaintext and keys are wiped when dropped.
//! Specs: RFC 7516 section 7.1 (compact), RFC 7518 sections 4.6 (ECDH-ES, Concat KDF) and 5.3 (A256GCM).

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use p256::SecretKey;
use p256::elliptic_curve::Generate as _;
use rand_core::TryCryptoRng;
use serde_json::json;
use sha2::Digest as _;
use zeroize::Zeroizing;

use super::error::excerpt;
use super::header::Members;
use super::{JoseError, P256PublicKey, b64, json as strict};

const ALG: &str = "ECDH-ES";
const ENC: &str = "A256GCM";
const CTY: &str = "JWT";
const TAG: usize = 16;
/// Longest JWE that is read: that of a JWT of 8 kB has about 11,000 bytes.
const MAX_COMPACT: usize = 32_768;

/// Encrypts a JWT to one recipient, as compact JWE.
///
/// # Errors
/// [`JoseError::Randomness`] where the random source fails.
pub fn encrypt<R: TryCryptoRng + ?Sized>(
    plaintext: &[u8],
    recipient: &P256PublicKey,
    rng: &mut R,
) -> Result<String, JoseError> {
    let ephemeral = SecretKey::try_generate_from_rng(rng).map_err(|_| JoseError::Randomness)?;
    let mut nonce = [0; 12];
    rng.try_fill_bytes(&mut nonce).map_err(|_| JoseError::Randomness)?;
    let epk = P256PublicKey::try_from(&ephemeral.public_key())?;
    let header = strict::canonical(&json!({ "alg": ALG, "cty": CTY, "enc": ENC, "epk": epk }))?;
    let protected = b64::encode(&header);
    let sealed = cipher(&ephemeral, recipient)?
        .encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad: protected.as_bytes() })
        .map_err(|_| JoseError::TooLong { limit: MAX_COMPACT, actual: plaintext.len() })?;
    let (ciphertext, tag) = sealed.split_at(sealed.len().saturating_sub(TAG));
    // The second part, an encrypted key, is empty where the agreed key is used directly.
    let [nonce, ciphertext, tag] = [b64::encode(&nonce), b64::encode(ciphertext), b64::encode(tag)];
    Ok(format!("{protected}..{nonce}.{ciphertext}.{tag}"))
}

/// Opens a JWE that was encrypted to `secret`.
///
/// # Errors
/// [`JoseError::Decrypt`] for a foreign or changed message; `ALG_NOT_ALLOWED`, `HEADER_…` or another reason for one of
/// another form.
pub fn decrypt(compact: &str, secret: &SecretKey) -> Result<Zeroizing<Vec<u8>>, JoseError> {
    if compact.len() > MAX_COMPACT {
        return Err(JoseError::TooLong { limit: MAX_COMPACT, actual: compact.len() });
    }
    let parts: Vec<&str> = compact.split('.').collect();
    let [protected, "", nonce, ciphertext, tag] = parts.as_slice() else {
        return Err(JoseError::Compact { expected: 5 });
    };
    let epk = ephemeral_key(protected)?;
    let nonce = Nonce::from(b64::decode_array::<12>(nonce)?);
    let mut sealed = b64::decode(ciphertext)?;
    sealed.extend_from_slice(&b64::decode_array::<TAG>(tag)?);
    cipher(secret, &epk)?
        .decrypt(&nonce, Payload { msg: &sealed, aad: protected.as_bytes() })
        .map(Zeroizing::new)
        .map_err(|_| JoseError::Decrypt)
}

/// Reads a JWE header: everything in it but the ephemeral key is a constant.
fn ephemeral_key(protected: &str) -> Result<P256PublicKey, JoseError> {
    let mut members = Members::decode(protected)?;
    members.constant_alg(ALG)?;
    let enc = members.text("enc")?;
    if enc != ENC {
        return Err(JoseError::Alg { expected: ENC, found: excerpt(&enc) });
    }
    if members.text("cty")? != CTY {
        return Err(JoseError::HeaderValue { name: "cty" });
    }
    let epk = members.take("epk").ok_or(JoseError::HeaderMissing { name: "epk" })?;
    members.end()?;
    // A point off the curve would leak the secret key piece by piece (RFC 7518 errata, invalid curve attack).
    serde_json::from_value(epk).map_err(|_| JoseError::HeaderValue { name: "epk" })
}

fn cipher(secret: &SecretKey, public: &P256PublicKey) -> Result<Aes256Gcm, JoseError> {
    let shared = secret.diffie_hellman(&public.to_p256()?);
    let key = Zeroizing::new(concat_kdf(shared.raw_secret_bytes(), ENC, b"", b"", 256));
    Aes256Gcm::new_from_slice(key.as_slice())
        .map_err(|_| JoseError::Length { expected: 32, actual: key.len() })
}

/// One round of Concat KDF with SHA-256 (NIST SP 800-56A section 5.8.1, RFC 7518 section 4.6.2): enough for 256 bits.
/// For a key of fewer `bits`, the first ones count.
fn concat_kdf(z: &[u8], algorithm_id: &str, apu: &[u8], apv: &[u8], bits: u32) -> [u8; 32] {
    let mut hash = sha2::Sha256::new();
    hash.update(1u32.to_be_bytes());
    hash.update(z);
    for field in [algorithm_id.as_bytes(), apu, apv] {
        // All three are constants of a few bytes; a longer one could not be written in the header either.
        hash.update(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(field);
    }
    hash.update(bits.to_be_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
