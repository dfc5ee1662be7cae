//! The daemon's configuration file.
//!
//! Invariants: unknown members are refused; relative paths are relative to the file; secrets are named by path, never
//! written here. Nothing in this file decides about power: an edited one changes where things are, not who may do what.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::domain::id::PrincipalId;

/// Where the daemon finds things.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonConfig {
    /// The daemon's id, as the charter lists it.
    pub id: PrincipalId,
    /// Directory of the audit log; must exist, mode 0700.
    pub data_dir: PathBuf,
    /// The gRPC endpoint.
    pub grpc: GrpcConfig,
    /// The HTTP endpoint.
    pub http: HttpConfig,
    /// Where the issuing keys are.
    pub hsm: DeviceConfig,
    /// Where standby issuing keys are, which sign when the device of the others fails.
    #[serde(default)]
    pub standby: Option<DeviceConfig>,
    /// Where operational keys are, which sign what is said about tokens: on a device of their own.
    #[serde(default)]
    pub operational: Option<DeviceConfig>,
    /// Where the log key is.
    pub log_key: LogKeyConfig,
    /// Entries between snapshots.
    #[serde(default = "default_snapshot_every")]
    pub snapshot_every: u64,
    /// How the daemon's own log lines look.
    #[serde(default)]
    pub tracing: TracingFormat,
}

const fn default_snapshot_every() -> u64 {
    10_000
}

/// The gRPC endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// PEM of the TLS key, mode 0600.
    pub key: PathBuf,
    /// PEM of its self-signed certificate.
    pub certificate: PathBuf,
    /// Names and addresses under which clients reach it, for the certificate that `setup` makes.
    #[serde(default)]
    pub names: Vec<String>,
    /// Calls per minute that an enrolled client may make in the long run.
    #[serde(default = "default_calls_per_minute")]
    pub calls_per_minute: NonZeroU32,
    /// Calls that it may make at once after a pause.
    #[serde(default = "default_burst")]
    pub burst: NonZeroU32,
}

const fn default_calls_per_minute() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(2_999)
}

const fn default_burst() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(299)
}

/// The HTTP endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Address to listen on. It speaks plain HTTP: a proxy in front of it adds TLS for an https issuer.
    pub listen: SocketAddr,
}

/// A device with issuing keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "backend", rename_all = "lowercase", deny_unknown_fields)]
pub enum DeviceConfig {
    /// An `hsm_token` behind a PKCS#11 module.
    Pkcs11(Pkcs11Config),
    /// A YubiKey's PIV application on this host.
    Yubikey {
        /// Its serial number.
        serial: u32,
        /// File with its PIN of 8 bytes, mode 0600.
        pin_file: PathBuf,
    },
}

/// An `hsm_token`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Config {
    /// The module's shared library.
    pub module: PathBuf,
    /// Label of the `hsm_token`.
    pub token: String,
    /// Its serial number, where labels are not unique.
    #[serde(default)]
    pub token_serial: Option<String>,
    /// File with the user PIN, mode 0600, or a systemd credential.
    pub pin_file: PathBuf,
    /// `pkcs11_session`s that sign at the same time.
    #[serde(default = "default_sessions")]
    pub sessions: usize,
}

impl Pkcs11Config {
    /// Whether both name the same `hsm_token`.
    fn is_token_of(&self, other: &Self) -> bool {
        self.module == other.module && self.token == other.token && self.token_serial == other.token_serial
    }
}

const fn default_sessions() -> usize {
    2
}

/// Where the log key is.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum LogKeyConfig {
    /// In a protected file, where the HSM has no Ed25519.
    File(FileKeyConfig),
    /// On an `hsm_token` of its own.
    Pkcs11(Pkcs11Config),
}

/// A key in a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileKeyConfig {
    /// PKCS#8 DER, mode 0600.
    pub file: PathBuf,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TracingFormat {
    /// For people.
    #[default]
    Plain,
    /// One JSON object a line.
    Json,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the configuration {path} cannot be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not valid.
    #[error("the configuration {path} is not valid")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        source: toml::de::Error,
    },
    /// A rule is broken.
    #[error("the configuration {path} is not valid: {why}")]
    Rule {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl DaemonConfig {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config: Self =
            toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
        let base = path.parent().unwrap_or(Path::new("."));
        let config = config.relative_to(base);
        config.check().map_err(|why| ConfigError::Rule { path: path.to_owned(), why })?;
        Ok(config)
    }

    /// The file of the audit log.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.data_dir.join("log.sqlite")
    }

    fn relative_to(mut self, base: &Path) -> Self {
        let join = |path: &mut PathBuf| *path = base.join(&*path);
        join(&mut self.data_dir);
        join(&mut self.grpc.key);
        join(&mut self.grpc.certificate);
        let devices = [Some(&mut self.hsm), self.standby.as_mut(), self.operational.as_mut()];
        for device in devices.into_iter().flatten() {
            match device {
                DeviceConfig::Pkcs11(config) => join(&mut config.pin_file),
                DeviceConfig::Yubikey { pin_file, .. } => join(pin_file),
            }
        }
        match &mut self.log_key {
            LogKeyConfig::File(config) => join(&mut config.file),
            LogKeyConfig::Pkcs11(config) => join(&mut config.pin_file),
        }
        self
    }

    fn check(&self) -> Result<(), String> {
        let named = [("[hsm]", Some(&self.hsm)), ("[standby]", self.standby.as_ref())];
        let named = named.into_iter().chain([("[operational]", self.operational.as_ref())]);
        let mut tokens: Vec<(&str, &Pkcs11Config)> = named
            .filter_map(|(name, device)| match device? {
                DeviceConfig::Pkcs11(config) => Some((name, config)),
                DeviceConfig::Yubikey { .. } => None,
            })
            .collect();
        if let LogKeyConfig::Pkcs11(log) = &self.log_key {
            tokens.push(("[log_key]", log));
        }
        while let Some((name, token)) = tokens.pop() {
            if let Some((other, _)) = tokens.iter().find(|(_, other)| other.is_token_of(token)) {
                return Err(format!(
                    "each has an hsm_token of its own: give {name} another token than {other}"
                ));
            }
        }
        if self.snapshot_every == 0 {
            return Err("snapshot_every must be at least 1".into());
        }
        Ok(())
    }
}
