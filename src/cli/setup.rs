//! What most commands begin with: the configuration, the charter it pins, the own key, the daemon.
//!
//! Invariant: the charter in here was verified against the pinned genesis in this very run.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{daemon::Daemon, exit::Problem, statement::FileKey};
use crate::{
    client::Dial,
    config::client::ClientConfig,
    domain::charter::{Charter, Holder},
    grpc::tls::Identity,
};

/// A verified set-up.
pub(crate) struct Setup {
    pub(crate) config: ClientConfig,
    pub(crate) charter: Charter,
}

impl Setup {
    /// Reads the configuration, and verifies the charter that it pins.
    pub(crate) fn load(given: Option<&Path>) -> Result<Self> {
        let config = config(given)?;
        let charter = config.charter()?;
        Ok(Self { config, charter })
    }

    /// The own file key.
    pub(crate) fn file_key(&self) -> Result<FileKey> {
        FileKey::read(self.config.key()?)
    }

    /// Whom the charter knows this key as.
    pub(crate) fn holder(&self, key: &FileKey) -> Result<&Holder> {
        let kid = key.public.thumbprint();
        let holder = self.charter.holder(&kid).ok_or_else(|| {
            let message = format!(
                "the charter does not know your key ({kid}): ask for it to be added, or use another --config"
            );
            Problem::refused("KEY_UNKNOWN", message)
        })?;
        Ok(holder)
    }

    /// Connects to the daemon, whose key the charter pins.
    pub(crate) fn connect(&self) -> Result<Daemon> {
        let identity = Identity::from_files(self.config.certificate()?, self.config.key()?)
            .context("your certificate and key cannot be used")?;
        let pins = self.charter.document().daemons.iter().map(|daemon| daemon.spki).collect();
        Daemon::connect(Dial::new(self.config.daemon()?, pins, Some(identity)))
    }
}

/// The configuration alone.
pub(crate) fn config(given: Option<&Path>) -> Result<ClientConfig> {
    Ok(ClientConfig::load(given, &default_path())?)
}

/// `~/.config/breakglass/config.toml`.
fn default_path() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let config = std::env::var_os("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    config.join("breakglass/config.toml")
}
