//! Randomness of the operating system, for nonces and keys.

use anyhow::{Context as _, Result};
use p256::{SecretKey, elliptic_curve::Generate as _};
use zeroize::Zeroizing;

use super::statement::FileKey;
use crate::{domain::id::Nonce, jose::b64};

/// 128 random bits.
pub(crate) fn nonce() -> Result<Nonce> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the system gives no randomness")?;
    Ok(Nonce::from_random(bytes))
}

/// A secret of 256 random bits, as text.
pub(crate) fn secret() -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice()).context("the system gives no randomness")?;
    Ok(Zeroizing::new(b64::encode(bytes.as_slice())))
}

/// A fresh P-256 key.
pub(crate) fn key() -> Result<FileKey> {
    let secret =
        SecretKey::try_generate_from_rng(&mut getrandom::SysRng).context("the system gives no randomness")?;
    FileKey::new(secret)
}
