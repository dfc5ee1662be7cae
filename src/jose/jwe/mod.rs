//! Delivery: an issued JWT encrypted to the redeem key of its grant, so that it never rests in the clear.
//!
//! Invariants: a fresh ephemeral key per message, so key and nonce never repeat; the header is exactly `alg`, `cty`,
//! `enc`, `epk` and canonical, without `zip`, `apu`, `apv` or `kid`; plaintext and keys are wiped when dropped.
//! Specs: RFC 7516 section 7.1 (compact), RFC 7518 sections 4.6 (ECDH-ES, Concat KDF) and 5.3 (A256GCM).

use p256::SecretKey;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SecureRandom;
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
/// The key agreement is ring's, which takes a fifth of the time of p256's and is on the path of every issuance; its
/// price is that the randomness has to come from a source of ring, in practice `SystemRandom`.
///
/// # Errors
/// [`JoseError::Randomness`] where the random source fails.
pub fn encrypt(
    plaintext: &[u8],
    recipient: &P256PublicKey,
    rng: &dyn SecureRandom,
) -> Result<String, JoseError> {
    let ephemeral = EphemeralPrivateKey::generate(&ECDH_P256, rng).map_err(|_| JoseError::Randomness)?;
    let mut nonce = [0; 12];
    rng.fill(&mut nonce).map_err(|_| JoseError::Randomness)?;
    let point = ephemeral.compute_public_key().map_err(|_| JoseError::Randomness)?;
    let epk = P256PublicKey::from_sec1(point.as_ref())?;
    let header = strict::canonical(&json!({ "alg": ALG, "cty": CTY, "enc": ENC, "epk": epk }))?;
    let protected = b64::encode(&header);
    let recipient = UnparsedPublicKey::new(&ECDH_P256, recipient.to_sec1());
    let key = agree_ephemeral(ephemeral, &recipient, content_key)
        .map_err(|_| JoseError::Key { kind: "P-256", detail: "no key could be agreed with it" })?;
    let mut text = Zeroizing::new(plaintext.to_vec());
    let tag = cipher(&key)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(protected.as_bytes()),
            &mut text,
        )
        .map_err(|_| JoseError::TooLong { limit: MAX_COMPACT, actual: plaintext.len() })?;
    // The second part, an encrypted key, is empty where the agreed key is used directly.
    let [nonce, ciphertext, tag] = [&nonce, text.as_slice(), tag.as_ref()].map(b64::encode);
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
    let nonce = Nonce::assume_unique_for_key(b64::decode_array(nonce)?);
    let mut sealed = Zeroizing::new(b64::decode(ciphertext)?);
    let length = sealed.len();
    sealed.extend_from_slice(&b64::decode_array::<TAG>(tag)?);
    let key = content_key(secret.diffie_hellman(&epk.to_p256()?).raw_secret_bytes());
    cipher(&key)?
        .open_in_place(nonce, Aad::from(protected.as_bytes()), &mut sealed)
        .map_err(|_| JoseError::Decrypt)?;
    sealed.truncate(length);
    Ok(sealed)
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

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, JoseError> {
    let key = UnboundKey::new(&AES_256_GCM, key)
        .map_err(|_| JoseError::Length { expected: 32, actual: key.len() })?;
    Ok(LessSafeKey::new(key))
}

/// The key of the one message, out of the agreed secret.
fn content_key(z: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(concat_kdf(z, ENC, b"", b"", 256))
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
