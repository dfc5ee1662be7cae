//! What a kill stops.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    domain::id::{PrincipalId, ProfileId, RequestId},
    jose::Digest,
};

/// How much a kill stops, from one token to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// One token.
    Jti,
    /// One request. Its id is the `jti` of its token, so this and [`Self::Jti`] stop the same; kill rights tell them apart.
    Request,
    /// Whatever somebody asks for, or is asked for him.
    Requester,
    /// A kind of access.
    Profile,
    /// A key: one that issues tokens, one that asks, or one that approves.
    Key,
    /// Lockdown.
    All,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Jti, Self::Request, Self::Requester, Self::Profile, Self::Key, Self::All];

    /// The word in statements and commands.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Request => "request",
            Self::Requester => "requester",
            Self::Profile => "profile",
            Self::Key => "key",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Level {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
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
    pub fn new(level: Level, target: Option<&str>) -> Result<Self, String> {
        let wrong = |error: &dyn fmt::Display| format!("the target of a kill of level {level}: {error}");
        let target = match (level, target) {
            (Level::All, None) => return Ok(Self::All),
            (Level::All, Some(_)) => return Err("a kill of everything has no target".into()),
            (_, None) => return Err(format!("a kill of level {level} has a target")),
            (_, Some(target)) => target,
        };
        match level {
            Level::Jti => target.parse().map(Self::Jti).map_err(|error| wrong(&error)),
            Level::Request => target.parse().map(Self::Request).map_err(|error| wrong(&error)),
            Level::Requester => target.parse().map(Self::Requester).map_err(|error| wrong(&error)),
            Level::Profile => target.parse().map(Self::Profile).map_err(|error| wrong(&error)),
            Level::Key => target.parse().map(Self::Key).map_err(|error| wrong(&error)),
            Level::All => Ok(Self::All),
        }
    }

    /// Its level.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::Jti(_) => Level::Jti,
            Self::Request(_) => Level::Request,
            Self::Requester(_) => Level::Requester,
            Self::Profile(_) => Level::Profile,
            Self::Key(_) => Level::Key,
            Self::All => Level::All,
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
