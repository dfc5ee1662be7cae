//! What a call can end with, as the caller's program sees it.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::{fmt, io};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not `host:port`.
    #[error("{address:?} is not an address: give host:port")]
    Address {
        /// The address as given.
        address: String,
    },
    /// No pin: a client without one would talk to anybody.
    #[error("no server key is pinned: give the SPKI digest of the daemon's certificate")]
    NoPin,
    /// The own certificate and key cannot be used.
    #[error("TLS could not be set up with this certificate and key")]
    Setup(#[source] rustls::Error),
    /// TCP failed.
    #[error("{address} cannot be reached: is breakglassd running there?")]
    Tcp {
        /// Where to.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// TCP or TLS took too long.
    #[error("{address} did not answer in time")]
    Timeout {
        /// Where to.
        address: String,
    },
    /// The server shows a key that is not pinned.
    #[error(
        "{address} is not the daemon: its key is not the pinned one. Stop, and ask whoever gave you the pin"
    )]
    Pin {
        /// Where to.
        address: String,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake with {address} failed")]
    Tls {
        /// Where to.
        address: String,
        /// What TLS says.
        #[source]
        source: io::Error,
    },
}

impl ConnectError {
    /// Stable, `UPPER_SNAKE_CASE`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Address { .. } => "ADDRESS_INVALID",
            Self::NoPin => "SERVER_PIN_MISSING",
            Self::Setup(_) => "CLIENT_CERTIFICATE_UNUSABLE",
            Self::Tcp { .. } => "SERVER_UNREACHABLE",
            Self::Timeout { .. } => "SERVER_TIMEOUT",
            Self::Pin { .. } => "SERVER_NOT_PINNED",
            Self::Tls { .. } => "SERVER_TLS_FAILED",
        }
    }
}

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// The gRPC code; `Unavailable` where no connection came about.
    pub code: Code,
    /// The stable reason: the daemon's, or one of [`ConnectError::reason`], or `TRANSPORT` when a connection broke.
    pub reason: String,
    /// What happened, for people. It may come from the other side: escape it before showing it.
    pub message: String,
    /// Facts that a program may act on.
    pub metadata: BTreeMap<String, String>,
}

impl ClientError {
    /// The daemon may have carried out the command although this error came back: the answer was lost, not refused.
    /// Commands are idempotent by their statements' digests, so asking again is safe.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        // A daemon that stops no longer knows what became of the commands that were still queued.
        matches!(self.reason.as_str(), "TRANSPORT" | "STOPPING")
            || matches!(self.code, Code::DeadlineExceeded | Code::Cancelled)
    }
}

impl ClientError {
    /// Nobody answers where the daemon should be: it may come back, and has not heard of this call.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self.reason.as_str(), "SERVER_UNREACHABLE" | "SERVER_TIMEOUT" | "SERVER_TLS_FAILED")
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.reason)
    }
}

impl StdError for ClientError {}

impl From<ConnectError> for ClientError {
    fn from(error: ConnectError) -> Self {
        (&error).into()
    }
}

impl From<&ConnectError> for ClientError {
    fn from(error: &ConnectError) -> Self {
        let code = match error {
            ConnectError::Address { .. } | ConnectError::NoPin | ConnectError::Setup(_) => {
                Code::InvalidArgument
            }
            ConnectError::Tcp { .. } | ConnectError::Tls { .. } => Code::Unavailable,
            ConnectError::Timeout { .. } => Code::DeadlineExceeded,
            ConnectError::Pin { .. } => Code::Unauthenticated,
        };
        let message = match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        Self { code, reason: error.reason().to_owned(), message, metadata: BTreeMap::new() }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        if let Some(error) = status.source().and_then(find_connect_error) {
            return error.into();
        }
        let info = status.get_details_error_info();
        let (reason, metadata) = info.map_or_else(
            || ("TRANSPORT".to_owned(), BTreeMap::new()),
            |i| (i.reason, i.metadata.into_iter().collect()),
        );
        Self { code: status.code(), reason, message: status.message().to_owned(), metadata }
    }
}

impl From<tonic::transport::Error> for ClientError {
    fn from(error: tonic::transport::Error) -> Self {
        if let Some(error) = find_connect_error(&error) {
            return error.into();
        }
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Self { code: Code::Unavailable, reason: "TRANSPORT".to_owned(), message, metadata: BTreeMap::new() }
    }
}

/// tonic and hyper wrap what the connector said; it is somewhere down the chain.
fn find_connect_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a ConnectError> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<ConnectError>() {
            return Some(found);
        }
        current = error.source();
    }
    None
}
