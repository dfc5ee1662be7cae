//! What a kill stops.

use std::{fmt, str::FromStr};

use crate::{
    domain::{
        charter::KillLevel,
        id::{PrincipalId, ProfileId, RequestId},
    },
    jose::Digest,
};

impl fmt::Display for KillLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for KillLevel {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::EVERY
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no level: jti, request, requester, profile, key or all"))
    }
}

/// One thing that can be stopped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The token with this `jti`.
    Jti(RequestId),
    /// The request with this id.
    Request(RequestId),
    /// Requests with this `sub` or `client_id`.
    Requester(PrincipalId),
    /// Requests under this profile.
    Profile(ProfileId),
    /// The key with this thumbprint.
    Key(Digest),
    /// Everything.
    All,
}

impl Target {
    /// From the two members of a statement.
    pub fn new(level: KillLevel, target: Option<&str>) -> Result<Self, String> {
        let wrong = |error: &dyn fmt::Display| format!("the target of a kill of level {level}: {error}");
        let target = match (level, target) {
            (KillLevel::All, None) => return Ok(Self::All),
            (KillLevel::All, Some(_)) => return Err("a kill of everything has no target".into()),
            (_, None) => return Err(format!("a kill of level {level} has a target")),
            (_, Some(target)) => target,
        };
        match level {
            KillLevel::Jti => target.parse().map(Self::Jti).map_err(|error| wrong(&error)),
            KillLevel::Request => target.parse().map(Self::Request).map_err(|error| wrong(&error)),
            KillLevel::Requester => target.parse().map(Self::Requester).map_err(|error| wrong(&error)),
            KillLevel::Profile => target.parse().map(Self::Profile).map_err(|error| wrong(&error)),
            KillLevel::Key => target.parse().map(Self::Key).map_err(|error| wrong(&error)),
            KillLevel::All => Ok(Self::All),
        }
    }

    /// Its level.
    #[must_use]
    pub const fn level(&self) -> KillLevel {
        match self {
            Self::Jti(_) => KillLevel::Jti,
            Self::Request(_) => KillLevel::Request,
            Self::Requester(_) => KillLevel::Requester,
            Self::Profile(_) => KillLevel::Profile,
            Self::Key(_) => KillLevel::Key,
            Self::All => KillLevel::All,
        }
    }

    /// What of that level; none for everything.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Jti(id) | Self::Request(id) => Some(id.to_string()),
            Self::Requester(id) => Some(id.to_string()),
            Self::Profile(id) => Some(id.to_string()),
            Self::Key(kid) => Some(kid.to_string()),
            Self::All => None,
        }
    }

    /// The one request, where it is one.
    #[must_use]
    pub const fn request(&self) -> Option<&RequestId> {
        match self {
            Self::Jti(id) | Self::Request(id) => Some(id),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jti(id) => write!(f, "the token {id}"),
            Self::Request(id) => write!(f, "the request {id}"),
            Self::Requester(id) => write!(f, "the requester {id}"),
            Self::Profile(id) => write!(f, "the profile {id}"),
            Self::Key(kid) => write!(f, "the key {kid}"),
            Self::All => f.write_str("everything (lockdown)"),
        }
    }
}
