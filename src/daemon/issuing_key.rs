//! `breakglassd issuing-key`: one more issuing key, made in the HSM, for the next charter to name.
//!
//! The daemon may be running meanwhile: nothing uses a key before a charter lists it. Run again with the same name, it
//! finds the key that it made.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use super::{devices, process};
use crate::{
    config::{DaemonConfig, DeviceConfig},
    hsm::{KeyName, SigningDevice as _},
    jose::{IssuingPublicKey, TokenAlg},
};

/// Arguments of `issuing-key`.
#[derive(Debug, clap::Args)]
pub(super) struct IssuingKey {
    /// Name of the key on the `hsm_token`, e.g. `issuing-2`.
    #[arg(long)]
    name: String,
    /// How it signs tokens: ES256, ES384, `EdDSA`, RS256 or PS256 (RSA keys have 3,072 bits)
    #[arg(long, default_value_t)]
    alg: TokenAlg,
    /// Make it on the standby's `hsm_token`: listed as active after the others, it signs when their device fails.
    #[arg(long)]
    standby: bool,
    /// Make an operational key (ES256) instead, on the device of [operational]: it signs status lists and security events,
    /// and no token.
    #[arg(long, conflicts_with_all = ["standby", "alg"])]
    operational: bool,
    /// File to write the public key to (JWK).
    #[arg(long)]
    public: PathBuf,
}

impl IssuingKey {
    pub(super) fn run(&self, config: &DaemonConfig) -> anyhow::Result<()> {
        let device = match (self.standby, self.operational) {
            (true, _) => config.standby.as_ref().context("the configuration has no [standby]")?,
            (_, true) => config.operational.as_ref().context("the configuration has no [operational]")?,
            _ => &config.hsm,
        };
        let DeviceConfig::Pkcs11(device) = device else {
            bail!("a YubiKey holds one issuing key: plug in another, and configure that as the device");
        };
        let name = KeyName::new(&self.name)?;
        let token = devices::token(device)?;
        let inventory = token.inventory(&[])?;
        let made = inventory.keys.iter().find(|key| key.label == self.name);
        let made = made.map(|key| key.kid);
        let key = match made {
            Some(kid) => IssuingPublicKey::new(token.public_key(&kid)?, self.alg)
                .with_context(|| format!("{} is a key of another algorithm", self.name))?,
            None => token.generate_issuing(self.alg, &name, &mut super::setup::rng())?.public_key,
        };
        std::fs::write(&self.public, serde_json::to_vec_pretty(&key)?)
            .with_context(|| format!("{} cannot be written", self.public.display()))?;
        let what = if self.operational { "operational" } else { "issuing" };
        process::print_line(&format!(
            "{what} key {} ({}) is ready; its public half is in {}",
            key.thumbprint(),
            key.alg(),
            self.public.display()
        ));
        Ok(())
    }
}
