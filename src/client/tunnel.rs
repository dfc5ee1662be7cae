//! Tunnels through a gate: TLS with its pinned key and the own one, one HTTP/1.1 request with the token, then bytes.
//!
//! ```text
//! GET /tunnel HTTP/1.1                        101 Switching Protocols     bytes, both ways
//! Upgrade: breakglass-tunnel/1            →   or a refusal, with the      (without Upgrade: 200,
//! Authorization: Bearer JWT                   reason in a header and      "it would pass")
//! Breakglass-Resource: postgres/prod/orders   in JSON
//! ```
//!
//! Invariants: the token goes only to a gate whose key is pinned; the certificate shown is one of the key that the token is
//! bound to, so that the handshake proves possession. An end that TLS announces (`close_notify`) is the application's; one that
//! it does not is a cut, and [`Tunnels::ask`] says why.

use std::{io, time::Duration};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue, UPGRADE},
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{dial::Connector, error::ConnectError};
use crate::{
    grpc::tls::{HTTP1, Identity, client_config_for},
    jose::Digest,
};

/// Where a gate takes tunnels.
pub const PATH: &str = "/tunnel";
/// What the connection is upgraded to.
pub const PROTOCOL: &str = "breakglass-tunnel/1";
/// The header that names the resource.
pub const RESOURCE: &str = "breakglass-resource";
/// The header with the reason of a refusal.
pub const REASON: &str = "breakglass-reason";

/// TCP and TLS to the gate.
const CONNECT: Duration = Duration::from_secs(5);
/// From there to the answer: the gate reaches for the target meanwhile.
const ANSWER: Duration = Duration::from_secs(15);
/// An answer's body at most, bytes.
const MAX_BODY: usize = 4 * 1024;

/// What a gate says of a tunnel that it would open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The resource.
    pub resource: String,
    /// What is spoken there, where the gate's configuration says so: `postgresql`, `ssh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// When it ends at the latest, Unix seconds.
    pub expires_at: i64,
}

/// Why a gate opens none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Stable, `UPPER_SNAKE`.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// Not `host:port`.
    #[error("{0:?} is not the address of a gate: give HOST:PORT")]
    Address(String),
    /// Nothing to know the gate by.
    #[error("no key of the gate is pinned: the charter names none for this audience")]
    NoPin,
    /// The own key.
    #[error("TLS could not be set up with the key of the request")]
    Setup(#[source] Box<ConnectError>),
    /// Nobody answers.
    #[error("the gate {address} cannot be reached")]
    Unreachable {
        /// Where to.
        address: String,
        /// Why.
        #[source]
        source: Box<ConnectError>,
    },
    /// Somebody else answers.
    #[error(
        "{0} is not the gate: its key is not one that the charter gives the verifier. The token was not sent"
    )]
    NotPinned(String),
    /// The connection broke before the answer.
    #[error("the connection to the gate broke before it answered")]
    Broken(#[from] hyper::Error),
    /// No answer in time.
    #[error("the gate did not answer within {} s", ANSWER.as_secs())]
    Timeout,
    /// Not a gate's answer.
    #[error("what answers is no gate of this version: {0}")]
    Answer(&'static str),
    /// The gate refuses.
    #[error("the gate refuses: {message}")]
    Refused {
        /// Whether the same token may be let through later.
        is_final: bool,
        /// Stable, `UPPER_SNAKE`; what the gate sent, so escape it before showing it.
        reason: String,
        /// For people; the same.
        message: String,
    },
}

impl TunnelError {
    /// Stable, `UPPER_SNAKE`.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Address(_) => "GATE_ADDRESS_INVALID",
            Self::NoPin => "GATE_PIN_MISSING",
            Self::Setup(_) => "CLIENT_CERTIFICATE_UNUSABLE",
            Self::Unreachable { .. } | Self::Timeout | Self::Broken(_) => "GATE_UNREACHABLE",
            Self::NotPinned(_) => "GATE_NOT_PINNED",
            Self::Answer(_) => "GATE_ANSWER_INVALID",
            Self::Refused { reason, .. } => reason,
        }
    }

    /// Whether nothing that this token asks for will be opened any more.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::NotPinned(_) | Self::Refused { is_final: true, .. })
    }

    fn connect(error: ConnectError) -> Self {
        match error {
            ConnectError::Address { address } => Self::Address(address),
            ConnectError::NoPin => Self::NoPin,
            ConnectError::Setup(_) => Self::Setup(Box::new(error)),
            ConnectError::Pin { address } => Self::NotPinned(address),
            ConnectError::Tcp { ref address, .. }
            | ConnectError::Timeout { ref address }
            | ConnectError::Tls { ref address, .. } => {
                Self::Unreachable { address: address.clone(), source: Box::new(error) }
            }
        }
    }
}

/// Opens tunnels to one resource with one token.
pub struct Tunnels {
    connector: Connector,
    address: HeaderValue,
    resource: HeaderValue,
    authorization: HeaderValue,
}

/// An open tunnel.
pub type Tunnel = TokioIo<Upgraded>;

impl Tunnels {
    /// `address`: the gate's `host:port`. `pins`: SPKI digests of its keys. `identity`: a certificate of the key that `token` is
    /// bound to.
    pub fn new(
        address: &str,
        pins: Vec<Digest>,
        identity: &Identity,
        resource: &str,
        token: &str,
    ) -> Result<Self, TunnelError> {
        if pins.is_empty() {
            return Err(TunnelError::NoPin);
        }
        let tls = client_config_for(pins, Some(identity), HTTP1).map_err(ConnectError::Setup);
        let connector = tls
            .and_then(|tls| Connector::new(address.to_owned(), tls, CONNECT))
            .map_err(TunnelError::connect)?;
        let value = |text: &str| {
            HeaderValue::try_from(text)
                .map_err(|_| TunnelError::Answer("the token or the resource is no text"))
        };
        let mut authorization = value(&format!("Bearer {token}"))?;
        authorization.set_sensitive(true);
        Ok(Self { connector, address: value(address)?, resource: value(resource)?, authorization })
    }

    /// Whether the gate would open a tunnel now; opens none, and is no use of the token.
    pub async fn ask(&self) -> Result<Open, TunnelError> {
        within(async {
            let response = self.send(false).await?;
            match response.status() {
                StatusCode::OK => body(response).await,
                _ => Err(refused(response).await),
            }
        })
        .await
    }

    /// Opens one.
    pub async fn open(&self) -> Result<Tunnel, TunnelError> {
        within(async {
            let response = self.send(true).await?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(refused(response).await);
            }
            if response.headers().get(UPGRADE).is_none_or(|protocol| protocol != PROTOCOL) {
                return Err(TunnelError::Answer("it switches to another protocol"));
            }
            Ok(TokioIo::new(hyper::upgrade::on(response).await?))
        })
        .await
    }

    async fn send(&self, upgrade: bool) -> Result<Response<Incoming>, TunnelError> {
        let stream = self.connector.clone().connect().await.map_err(TunnelError::connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer, or hands the stream over.
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = hyper::Uri::from_static(PATH);
        let headers = request.headers_mut();
        headers.insert(HOST, self.address.clone());
        headers.insert(RESOURCE, self.resource.clone());
        headers.insert(AUTHORIZATION, self.authorization.clone());
        if upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        }
        Ok(sender.send_request(request).await?)
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, TunnelError>>) -> Result<T, TunnelError> {
    tokio::time::timeout(CONNECT + ANSWER, answer).await.unwrap_or(Err(TunnelError::Timeout))
}

/// A refusal is final where another token is needed: the statuses 401, and 403 for what the token does not cover.
async fn refused(response: Response<Incoming>) -> TunnelError {
    let status = response.status();
    let Ok(Refused { reason, message }) = body(response).await else {
        return TunnelError::Answer("its refusal has no reason");
    };
    let is_final = status == StatusCode::UNAUTHORIZED || reason == "DETAILS_NOT_COVERED";
    TunnelError::Refused { is_final, reason, message }
}

async fn body<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, TunnelError> {
    let wrong = |_| TunnelError::Answer("its answer is not the JSON that was expected");
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    let bytes = body.map_err(|_| TunnelError::Answer("its answer broke off, or is too long"))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(wrong)
}

/// Carries bytes both ways until both sides have ended, or one of them is cut. Half of a connection may end before the other.
pub async fn carry(
    local: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
    tunnel: &mut Tunnel,
) -> io::Result<(u64, u64)> {
    tokio::io::copy_bidirectional_with_sizes(local, tunnel, BUFFER, BUFFER).await
}

/// What is read from one side before the other has taken it, bytes: a TLS record.
pub const BUFFER: usize = 16 * 1024;
