//! The client's configuration: which daemon, which charter, which key.
//!
//! Invariants: unknown keys are refused; paths are relative to the file that names them; the genesis digest stands here,
//! in the client's own file, so no daemon can choose the charter that it is judged by. Secrets only by file, and a key
//! that others could read is refused.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::chain::{self, ChainError};
use crate::{
    domain::{
        charter::{CharterError, Follower, Memory, Seen},
        id::Audience,
    },
    jose::Digest,
};

/// Where requests' keys are kept unless the file says otherwise, relative to it.
const STATE_DIR: &str = "state";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file at all.
    #[error(
        "there is no configuration: give --config FILE, set BREAKGLASS_CONFIG, or write {expected} (see breakglass --help)"
    )]
    Missing {
        /// Where it was looked for.
        expected: PathBuf,
    },
    /// A file could not be read.
    #[error("{path} could not be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not TOML of the right shape.
    #[error("{path} is not a client configuration")]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
    /// Not an address.
    #[error("daemon = {text:?} in {path} is no address: write \"https://HOST:PORT\"")]
    Address {
        /// The file.
        path: PathBuf,
        /// What it says.
        text: String,
    },
    /// A key that this command needs.
    #[error("{path} lacks {key}, which this command needs: add {key} = \"…\"")]
    Lacks {
        /// The file.
        path: PathBuf,
        /// The missing key.
        key: &'static str,
    },
    /// A private key that others can read.
    #[error(
        "{path} can be read by others (mode {mode:o}): chmod 600 it, and consider whether the key is still yours alone"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The charter.
    #[error("the charter {path} cannot be used")]
    Charter {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CharterError,
    },
}

impl ConfigError {
    /// Stable, `UPPER_SNAKE`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "CONFIG_MISSING",
            Self::Read { .. } => "FILE_UNREADABLE",
            Self::Shape { .. } => "CONFIG_SHAPE",
            Self::Address { .. } => "CONFIG_ADDRESS",
            Self::Lacks { .. } => "CONFIG_LACKS_KEY",
            Self::Exposed { .. } => "KEY_FILE_EXPOSED",
            Self::Charter { source, .. } => source.reason(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    daemon: Option<String>,
    genesis: Digest,
    charter: PathBuf,
    #[serde(default)]
    minimum_version: u32,
    key: Option<PathBuf>,
    certificate: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    #[serde(default)]
    verify: VerifyDefaults,
}

/// What `breakglass verify` assumes unless told otherwise.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyDefaults {
    /// The verifier's own name: the only audience it accepts.
    pub audience: Option<Audience>,
    /// Whether tokens under a development charter are accepted.
    #[serde(default)]
    pub development: bool,
}

/// A client's configuration, read and checked.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The file it came from.
    pub path: PathBuf,
    /// The pinned digest of charter version 1.
    pub genesis: Digest,
    /// Where the signed charter is, or the chain up to the newest one held.
    pub charter: PathBuf,
    /// The lowest version that is believed, for a client that is installed late.
    pub minimum_version: u32,
    /// Where keys of requests are kept.
    pub state_dir: PathBuf,
    /// Defaults of verification.
    pub verify: VerifyDefaults,
    daemon: Option<String>,
    key: Option<PathBuf>,
    certificate: Option<PathBuf>,
}

impl ClientConfig {
    /// Reads the file given, or the one that `default` names.
    pub fn load(given: Option<&Path>, default: &Path) -> Result<Self, ConfigError> {
        let path = given.unwrap_or(default);
        if given.is_none() && !path.exists() {
            return Err(ConfigError::Missing { expected: path.to_owned() });
        }
        let text = read(path)?;
        Self::parse(path, &String::from_utf8_lossy(&text))
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let shape = |source| ConfigError::Shape { path: path.to_owned(), source: Box::new(source) };
        let raw: Raw = toml::from_str(text).map_err(shape)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let beside = |relative: PathBuf| folder.join(relative);
        let daemon = raw.daemon.map(|url| authority(path, url)).transpose()?;
        Ok(Self {
            path: path.to_owned(),
            genesis: raw.genesis,
            charter: beside(raw.charter),
            minimum_version: raw.minimum_version,
            state_dir: beside(raw.state_dir.unwrap_or_else(|| STATE_DIR.into())),
            verify: raw.verify,
            daemon,
            key: raw.key.map(beside),
            certificate: raw.certificate.map(beside),
        })
    }

    /// `host:port` of the daemon's gRPC.
    pub fn daemon(&self) -> Result<&str, ConfigError> {
        self.daemon.as_deref().ok_or_else(|| self.lacks("daemon"))
    }

    /// The file key, for TLS and statements: a file that nobody else can read.
    pub fn key(&self) -> Result<&Path, ConfigError> {
        let path = self.key.as_deref().ok_or_else(|| self.lacks("key"))?;
        let status =
            fs::metadata(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mode = status.permissions().mode() & 0o777;
        if mode & 0o777 & !0o700 == 0 {
            Ok(path)
        } else {
            Err(ConfigError::Exposed { path: path.to_owned(), mode })
        }
    }

    /// The certificate of the file key.
    pub fn certificate(&self) -> Result<&Path, ConfigError> {
        self.certificate.as_deref().ok_or_else(|| self.lacks("certificate"))
    }

    /// The chain of charters held, verified from the pinned digest each time it is used, and never older than what was
    /// `seen`. `now`: Unix seconds.
    pub fn follow(&self, seen: Option<Seen>, now: i64) -> Result<Follower, ConfigError> {
        let refused = |source| ConfigError::Charter { path: self.charter.clone(), source };
        let chain = chain::read(&self.charter).map_err(|error| match error {
            ChainError::Read { path, source } => ConfigError::Read { path, source },
            ChainError::Shape { source, .. } => refused(source),
        })?;
        let memory = Memory { genesis: self.genesis, minimum_version: self.minimum_version, seen };
        Follower::start(memory, chain, now).map_err(refused)
    }

    fn lacks(&self, key: &'static str) -> ConfigError {
        ConfigError::Lacks { path: self.path.clone(), key }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// `https://HOST:PORT`, without the scheme: TLS is not optional, so nothing else can be meant.
fn authority(path: &Path, url: String) -> Result<String, ConfigError> {
    let rest = url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
    let port = rest.and_then(|rest| rest.rsplit_once(':')).filter(|(host, _)| !host.is_empty());
    match (rest, port.map(|(_, port)| port.parse::<u16>())) {
        (Some(rest), Some(Ok(_))) => Ok(rest.to_owned()),
        _ => Err(ConfigError::Address { path: path.to_owned(), text: url }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    fn parse(text: &str) -> Result<ClientConfig, ConfigError> {
        let text = format!("genesis = \"{GENESIS}\"\ncharter = \"charter.json\"\n{text}");
        ClientConfig::parse(Path::new("/etc/bg/config.toml"), &text)
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = parse("daemon = \"https://[::1]:8443/\"\nstate_dir = \"/var/lib/bg\"").unwrap();
        assert_eq!(config.charter, Path::new("/etc/bg/charter.json"));
        assert_eq!(config.state_dir, Path::new("/var/lib/bg"));
        assert_eq!(config.daemon().unwrap(), "[::1]:8443");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, reason) in [
            ("deamon = \"https://localhost:1\"", "CONFIG_SHAPE"),
            ("daemon = \"http://localhost:1\"", "CONFIG_ADDRESS"),
            ("daemon = \"https://localhost\"", "CONFIG_ADDRESS"),
            ("daemon = \"https://:1\"", "CONFIG_ADDRESS"),
            ("[verify]\naudience = \"a b\"", "CONFIG_SHAPE"),
        ] {
            assert_eq!(parse(text).unwrap_err().reason(), reason, "{text}");
        }
        assert_eq!(parse("").unwrap().daemon().unwrap_err().reason(), "CONFIG_LACKS_KEY");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = testkit::temp_dir();
        let key = folder.path().join("key.pem");
        fs::write(&key, "secret").unwrap();
        let config = parse(&format!("key = {key:?}")).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(config.key().unwrap_err().reason(), "KEY_FILE_EXPOSED");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(config.key().unwrap(), key);
    }
}
