//! Dials a daemon: TCP, TLS with the pinned key, HTTP/2; reconnects by itself, under the same pins.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Endpoint, Uri};
use tower::service_fn;

use super::error::{ClientError, ConnectError};
use crate::grpc::server::MAX_MESSAGE;
use crate::grpc::tls::{Identity, client_config};
use crate::grpc::v1::access_service_client::AccessServiceClient;
use crate::grpc::v1::audit_service_client::AuditServiceClient;
use crate::grpc::v1::charter_service_client::CharterServiceClient;
use crate::grpc::v1::gate_service_client::GateServiceClient;
use crate::grpc::v1::genesis_service_client::GenesisServiceClient;
use crate::grpc::v1::kill_service_client::KillServiceClient;
use crate::grpc::v1::verifier_service_client::VerifierServiceClient;
use crate::jose::Digest;

/// Largest message accepted from the daemon, in bytes: a page of requests with all their signatures.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Whom to dial and as whom.
#[derive(Debug)]
pub struct Dial {
    /// `host:port`; an IPv6 address in brackets.
    pub address: String,
    /// SPKI digests of the daemons that may answer.
    pub pins: Vec<Digest>,
    /// The own certificate; without one the daemon knows nobody.
    pub identity: Option<Identity>,
    /// How long TCP and TLS may take together.
    pub connect_timeout: Duration,
    /// How long a call may take until its answer begins.
    pub call_timeout: Duration,
}

impl Dial {
    /// With the usual timeouts: 5 s to connect; 40 s for a call, longer than the longest wait of `Redeem`.
    #[must_use]
    pub fn new(address: impl Into<String>, pins: Vec<Digest>, identity: Option<Identity>) -> Self {
        Self {
            address: address.into(),
            pins,
            identity,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(40),
        }
    }
}

/// A connection to a daemon; cloning it is cheap and shares the connection.
#[derive(Clone, Debug)]
pub struct Channel {
    inner: tonic::transport::Channel,
}

impl Channel {
    /// Connects, so that a wrong address, pin or certificate is said at once.
    pub async fn connect(dial: Dial) -> Result<Self, ClientError> {
        let (endpoint, connector) = prepare(dial)?;
        let connect = service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move { connector.connect().await.map(TokioIo::new) }
        });
        Ok(Self { inner: endpoint.connect_with_connector(connect).await? })
    }

    /// A client of `AccessService`.
    #[must_use]
    pub fn access(&self) -> AccessServiceClient<tonic::transport::Channel> {
        AccessServiceClient::new(self.inner.clone())
            .max_decoding_message_size(MAX_ANSWER)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// A client of `AuditService`.
    #[must_use]
    pub fn audit(&self) -> AuditServiceClient<tonic::transport::Channel> {
        AuditServiceClient::new(self.inner.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// A client of `KillService`.
    #[must_use]
    pub fn kill(&self) -> KillServiceClient<tonic::transport::Channel> {
        KillServiceClient::new(self.inner.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// A client of `GateService`.
    #[must_use]
    pub fn gate(&self) -> GateServiceClient<tonic::transport::Channel> {
        GateServiceClient::new(self.inner.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// A client of `VerifierService`.
    #[must_use]
    pub fn verifier(&self) -> VerifierServiceClient<tonic::transport::Channel> {
        VerifierServiceClient::new(self.inner.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// A client of `CharterService`.
    #[must_use]
    pub fn charter(&self) -> CharterServiceClient<tonic::transport::Channel> {
        CharterServiceClient::new(self.inner.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// A client of `GenesisService`.
    #[must_use]
    pub fn genesis(&self) -> GenesisServiceClient<tonic::transport::Channel> {
        GenesisServiceClient::new(self.inner.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// The channel itself, for services that are not of this API (health, reflection).
    #[must_use]
    pub fn raw(&self) -> tonic::transport::Channel {
        self.inner.clone()
    }
}

fn prepare(dial: Dial) -> Result<(Endpoint, Connector), ConnectError> {
    if dial.pins.is_empty() {
        return Err(ConnectError::NoPin);
    }
    let wrong = || ConnectError::Address { address: dial.address.clone() };
    let uri: Uri = format!("https://{}", dial.address).parse().map_err(|_| wrong())?;
    let tls = client_config(dial.pins, dial.identity.as_ref()).map_err(ConnectError::Setup)?;
    let connector = Connector::new(dial.address.clone(), tls, dial.connect_timeout)?;
    let endpoint = Endpoint::from(uri)
        .timeout(dial.call_timeout)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    Ok((endpoint, connector))
}

/// TCP and TLS to one place.
#[derive(Clone)]
pub(super) struct Connector {
    address: String,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

impl Connector {
    /// `address`: `host:port`; an IPv6 address in brackets.
    pub(super) fn new(
        address: String,
        tls: Arc<ClientConfig>,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        let wrong = || ConnectError::Address { address: address.clone() };
        let uri: Uri = format!("https://{address}").parse().map_err(|_| wrong())?;
        let host = uri.host().filter(|_| uri.port_u16().is_some()).ok_or_else(wrong)?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| wrong())?;
        Ok(Self { address, name, tls, timeout })
    }

    pub(super) async fn connect(self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let address = self.address.clone();
        let connected = tokio::time::timeout(self.timeout, self.handshake()).await;
        connected.unwrap_or(Err(ConnectError::Timeout { address }))
    }

    async fn handshake(self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let address = self.address;
        let tcp = TcpStream::connect(&address)
            .await
            .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
            .map_err(|source| ConnectError::Tcp { address: address.clone(), source })?;
        TlsConnector::from(self.tls).connect(self.name, tcp).await.map_err(|source| {
            if is_pin_mismatch(&source) {
                ConnectError::Pin { address }
            } else {
                ConnectError::Tls { address, source }
            }
        })
    }
}

/// The pin's verifier is the only one here that answers with this error.
fn is_pin_mismatch(error: &std::io::Error) -> bool {
    use rustls::{CertificateError::ApplicationVerificationFailure, Error::InvalidCertificate};
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(InvalidCertificate(ApplicationVerificationFailure)))
}
