//! Randomness of the operating system, for nonces and keys.

use anyhow::{Context as _, Result};
use p256::{SecretKey, elliptic_curve::Generate as _};

use super::statement::FileKey;
use crate::domain::id::Nonce;

/// 128 random bits.
pub(crate) fn nonce() -> Result<Nonce> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the system gives no randomness")?;
    Ok(Nonce::from_random(bytes))
}

/// A fresh P-256 key.
pub(crate) fn key() -> Result<FileKey> {
    let secret =
        SecretKey::try_generate_from_rng(&mut getrandom::SysRng).context("the system gives no randomness")?;
    FileKey::new(secret)
}
