//! `[tunnel]`: where connections are carried to, and for whom.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::domain::detail::{Need, Word};

/// Seconds after which a connection is cut on a view that is stale, unless the file says otherwise.
const GRACE: u32 = 60;
/// The most that the file may say.
const LONGEST_GRACE: u32 = 300;
/// Open connections at once, and those of one token.
const CONNECTIONS: usize = 256;
const CONNECTIONS_EACH: usize = 8;
/// The most that the file may say.
const MOST_CONNECTIONS: usize = 10_000;
/// Resources at most.
const MAX_ROUTES: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    listen: SocketAddr,
    #[serde(default = "default_grace")]
    grace: u32,
    #[serde(default = "default_connections")]
    connections: usize,
    #[serde(default = "default_connections_each")]
    connections_each: usize,
    #[serde(default)]
    to: Vec<RawRoute>,
}

const fn default_grace() -> u32 {
    GRACE
}

const fn default_connections() -> usize {
    CONNECTIONS
}

const fn default_connections_each() -> usize {
    CONNECTIONS_EACH
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    resource: Word,
    #[serde(rename = "type")]
    kind: Word,
    action: Word,
    identifier: Option<Word>,
    address: String,
    protocol: Option<Word>,
}

/// How tunnels are taken, and where they lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelConfig {
    /// Where clients come in.
    pub listen: SocketAddr,
    /// Milliseconds for which a connection outlives a view that is stale.
    pub grace: i64,
    /// Open connections at once.
    pub connections: usize,
    /// Those of one token.
    pub connections_each: usize,
    /// By the name of the resource, as a client asks for it and a grant names it.
    pub routes: BTreeMap<String, Route>,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What a token has to allow.
    pub need: Need,
    /// Where it is.
    pub target: Target,
    /// What is spoken there, for people who ask what to do next.
    pub protocol: Option<String>,
}

/// Where a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `host:port`.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Raw {
    pub(super) fn check(self, folder: &Path) -> Result<TunnelConfig, String> {
        if self.grace > LONGEST_GRACE {
            return Err(format!("[tunnel] grace is 0 to {LONGEST_GRACE} seconds"));
        }
        if !(1..=MOST_CONNECTIONS).contains(&self.connections)
            || !(1..=self.connections).contains(&self.connections_each)
        {
            return Err(format!(
                "[tunnel] connections are 1 to {MOST_CONNECTIONS}, and connections_each at most as many"
            ));
        }
        if !(1..=MAX_ROUTES).contains(&self.to.len()) {
            return Err(format!("[tunnel] leads somewhere: 1 to {MAX_ROUTES} [[tunnel.to]]"));
        }
        let mut routes = BTreeMap::new();
        for raw in self.to {
            let name = raw.resource.to_string();
            if routes.insert(name.clone(), raw.check(folder)?).is_some() {
                return Err(format!("[[tunnel.to]] names the resource {name} twice"));
            }
        }
        Ok(TunnelConfig {
            listen: self.listen,
            grace: i64::from(self.grace) * 1000,
            connections: self.connections,
            connections_each: self.connections_each,
            routes,
        })
    }
}

impl RawRoute {
    fn check(self, folder: &Path) -> Result<Route, String> {
        let target = if let Some(path) = self.address.strip_prefix("unix:") {
            Target::Unix(folder.join(path))
        } else {
            let port = self.address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            match port.map(|(_, port)| port.parse::<u16>()) {
                Some(Ok(1..)) => Target::Tcp(self.address),
                _ => {
                    return Err(format!(
                        "[[tunnel.to]] address = {:?} is neither HOST:PORT nor unix:PATH",
                        self.address
                    ));
                }
            }
        };
        Ok(Route {
            need: Need {
                kind: self.kind,
                action: self.action,
                location: self.resource,
                identifier: self.identifier,
            },
            target,
            protocol: self.protocol.map(String::from),
        })
    }
}
