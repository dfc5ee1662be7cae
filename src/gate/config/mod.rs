//! A gate's configuration file.
//!
//! Invariants: unknown keys are refused; paths are relative to the file; the genesis digest stands here, so no daemon can
//! choose the charter that the gate judges by; secrets by file only, and a key that others could read is refused.

mod error;
mod proxy;
mod rule;
mod tunnel;

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;

pub use error::GateConfigError;
pub use proxy::{CertificateFormat, CertificateHeader, Handed, Proxy, ProxyKind};
pub use tunnel::{Route, Target, TunnelConfig};

use super::map::Map;
use crate::{
    config::TracingFormat,
    domain::id::{Audience, GateId},
    jose::Digest,
};

/// Seconds without a word of any daemon after which a gate refuses, unless the file says otherwise.
const MAX_STALE: u32 = 10;
/// The most that the file may say: beyond a minute no kill is one of seconds.
const LONGEST_STALE: u32 = 60;
/// Daemons of one gate at most.
const MAX_DAEMONS: usize = 8;
/// Rules at most.
const MAX_RULES: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: GateId,
    audience: Audience,
    genesis: Digest,
    charter: PathBuf,
    #[serde(default)]
    minimum_version: u32,
    state_dir: PathBuf,
    #[serde(default)]
    development: bool,
    key: PathBuf,
    certificate: PathBuf,
    #[serde(default = "default_max_stale")]
    max_stale: u32,
    listen: Option<String>,
    envoy: Option<String>,
    control: SocketAddr,
    #[serde(default)]
    daemons: Vec<RawDaemon>,
    #[serde(default)]
    proxy: proxy::Raw,
    #[serde(default)]
    headers: Handed,
    #[serde(default)]
    map: Vec<rule::Raw>,
    tunnel: Option<tunnel::Raw>,
    #[serde(default)]
    tracing: TracingFormat,
}

const fn default_max_stale() -> u32 {
    MAX_STALE
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDaemon {
    address: String,
}

/// Where a gate listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address.
    Tcp(SocketAddr),
    /// A socket in the file system; whoever may open it is trusted.
    Unix(PathBuf),
}

/// A gate's configuration, read and checked.
#[derive(Debug, Clone)]
pub struct GateConfig {
    /// What this process calls itself: several gates of one verifier share its key and have names of their own.
    pub name: GateId,
    /// The only audience it serves.
    pub audience: Audience,
    /// The pinned digest of charter version 1.
    pub genesis: Digest,
    /// The signed charter, or the chain up to the newest one held.
    pub charter: PathBuf,
    /// The lowest version that is believed.
    pub minimum_version: u32,
    /// Where it keeps what it must not forget.
    pub state_dir: PathBuf,
    /// Whether tokens under a development charter are accepted.
    pub development: bool,
    /// PEM of the verifier's key, for TLS and statements.
    pub key: PathBuf,
    /// PEM of its certificate.
    pub certificate: PathBuf,
    /// Milliseconds without a word of any daemon after which everything is refused.
    pub max_stale: i64,
    /// Where proxies ask, if any do.
    pub listen: Option<Listen>,
    /// Where Envoy asks over gRPC, if it does.
    pub envoy: Option<Listen>,
    /// Where operators look.
    pub control: SocketAddr,
    /// `host:port` of each daemon's gRPC.
    pub daemons: Vec<String>,
    /// How the proxy speaks.
    pub proxy: Proxy,
    /// What is handed to the application.
    pub headers: Handed,
    /// Which requests need what.
    pub map: Map,
    /// Where tunnels come in and lead to, if there are any.
    pub tunnel: Option<TunnelConfig>,
    /// How log lines look.
    pub tracing: TracingFormat,
}

impl GateConfig {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, GateConfigError> {
        let read = |source| GateConfigError::Read { path: path.to_owned(), source };
        Self::parse(path, &fs::read_to_string(path).map_err(read)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, GateConfigError> {
        let shape = |source| GateConfigError::Shape { path: path.to_owned(), source: Box::new(source) };
        let raw: Raw = toml::from_str(text).map_err(shape)?;
        let wrong = |what: String| GateConfigError::Value { path: path.to_owned(), what };
        let folder = path.parent().unwrap_or(Path::new(""));
        if !(1..=LONGEST_STALE).contains(&raw.max_stale) {
            return Err(wrong(format!("max_stale is 1 to {LONGEST_STALE} seconds")));
        }
        let daemons = daemons(raw.daemons).map_err(wrong)?;
        if raw.map.len() > MAX_RULES {
            return Err(wrong(format!("at most {MAX_RULES} [[map]] rules")));
        }
        let rules: Result<Vec<_>, _> =
            raw.map.into_iter().enumerate().map(|(at, rule)| rule.check(at + 1)).collect();
        let map = Map(rules.map_err(wrong)?);
        let place = |text: Option<String>| text.map(|text| listen(&text, folder)).transpose();
        let (listen, envoy) = (place(raw.listen).map_err(wrong)?, place(raw.envoy).map_err(wrong)?);
        if (listen.is_some() || envoy.is_some()) && map.0.is_empty() {
            let why = "proxies that ask need at least one [[map]] rule: what no rule is about is refused";
            return Err(wrong(why.into()));
        }
        raw.headers.check().map_err(wrong)?;
        Ok(Self {
            name: raw.name,
            audience: raw.audience,
            genesis: raw.genesis,
            charter: folder.join(raw.charter),
            minimum_version: raw.minimum_version,
            state_dir: folder.join(raw.state_dir),
            development: raw.development,
            key: folder.join(raw.key),
            certificate: folder.join(raw.certificate),
            max_stale: i64::from(raw.max_stale) * 1000,
            listen,
            envoy,
            control: raw.control,
            daemons,
            proxy: raw.proxy.check().map_err(wrong)?,
            headers: raw.headers,
            map,
            tunnel: raw.tunnel.map(|tunnel| tunnel.check(folder)).transpose().map_err(wrong)?,
            tracing: raw.tracing,
        })
    }

    /// The file key: a file that nobody else can read.
    pub fn private_key(&self) -> Result<&Path, GateConfigError> {
        let path = self.key.as_path();
        let read = |source| GateConfigError::Read { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(read)?.permissions().mode() & 0o777;
        if mode.trailing_zeros() >= 6 {
            // Nothing for group and others.
            Ok(path)
        } else {
            Err(GateConfigError::Exposed { path: path.to_owned(), mode })
        }
    }
}

fn daemons(raw: Vec<RawDaemon>) -> Result<Vec<String>, String> {
    if !(1..=MAX_DAEMONS).contains(&raw.len()) {
        return Err(format!(
            "1 to {MAX_DAEMONS} daemons are needed: add [[daemons]] with address = \"https://HOST:PORT\""
        ));
    }
    let mut seen = BTreeSet::new();
    raw.into_iter()
        .map(|daemon| {
            let RawDaemon { address } = daemon;
            let rest = address.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
            let port = rest.and_then(|rest| rest.rsplit_once(':')).filter(|(host, _)| !host.is_empty());
            match (rest, port.map(|(_, port)| port.parse::<u16>())) {
                (Some(rest), Some(Ok(_))) if seen.insert(rest.to_owned()) => Ok(rest.to_owned()),
                (Some(_), Some(Ok(_))) => Err(format!("the daemon {address} is named twice")),
                _ => Err(format!("the daemon {address:?} is no address: write \"https://HOST:PORT\"")),
            }
        })
        .collect()
}

fn listen(text: &str, folder: &Path) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Listen::Unix(folder.join(path)));
    }
    let wrong = || format!("{text:?} is neither ADDRESS:PORT nor unix:PATH");
    text.parse().map(Listen::Tcp).map_err(|_| wrong())
}

#[cfg(test)]
mod tests;
