//! What most commands begin with: the configuration, the charter it pins, the own key, the daemon.
//!
//! Invariant: the charter in here was verified against the pinned genesis in this very run.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{clock, daemon::Daemon, exit::Problem, files, statement::FileKey};
use crate::{
    client::Dial,
    config::client::ClientConfig,
    domain::charter::{Charter, Holder, Seen},
    grpc::tls::Identity,
};

/// A verified set-up.
pub(crate) struct Setup {
    pub(crate) config: ClientConfig,
    pub(crate) charter: Charter,
}

impl Setup {
    /// Reads the configuration, and follows the chain of charters from the genesis that it pins.
    pub(crate) fn load(given: Option<&Path>) -> Result<Self> {
        let config = config(given)?;
        let place = config.state_dir.join(format!("charter-{}.json", config.genesis));
        let seen: Option<Seen> = if place.exists() {
            Some(files::read_json(&place, "what this program remembers of the charters it has seen")?)
        } else {
            None
        };
        let follower = config.follow(seen, clock::now())?;
        let now_seen = follower.memory().seen;
        if now_seen != seen && follower.newest().document().version > 1 {
            // From here on no older chain is believed here any more.
            files::private_folder(&config.state_dir)?;
            files::write_json(&place, &now_seen)?;
        }
        Ok(Self { charter: follower.newest().clone(), config })
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
