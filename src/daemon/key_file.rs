//! A P-256 key of the daemon's own in a file, PKCS#8 PEM, mode 0600.

use std::{fs, path::Path};

use anyhow::Context as _;
use p256::{
    SecretKey,
    elliptic_curve::Generate as _,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding},
};
use zeroize::Zeroizing;

use crate::hsm::write_new;

/// Reads the key; it is made if there is none. What is there is never overwritten.
pub(super) fn read_or_make(path: &Path) -> anyhow::Result<SecretKey> {
    if !path.exists() {
        let key = SecretKey::try_generate_from_rng(&mut getrandom::SysRng)
            .context("the system gave no randomness")?;
        let pem = key
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_| anyhow::anyhow!("a key for {} cannot be encoded", path.display()))?;
        write_new(path, 0o600, pem.as_bytes())
            .with_context(|| format!("{} cannot be created", path.display()))?;
    }
    let pem = Zeroizing::new(
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?,
    );
    SecretKey::from_pkcs8_pem(&pem)
        .with_context(|| format!("{} is no P-256 key in PKCS#8 PEM", path.display()))
}
