//! The one request of a connection: whether it becomes a tunnel, and where to.
//!
//! Invariant: the target is reached for only after the gate accepted the token for it.

use std::{sync::Arc, time::Duration};

use hyper::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, HeaderName, UPGRADE},
};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::{
    client::tunnel::{PATH, PROTOCOL, RESOURCE},
    domain::strict::Accepted,
    gate::{
        Gate,
        config::{Route, Target, TunnelConfig},
        decide::{Kind, Pass, Possession, Refusal, authorization},
        serve::described,
    },
    grpc::places::{Place, Places},
    jose::{Digest, P256PublicKey},
};

/// How long a target may take to be reached.
const REACH: Duration = Duration::from_secs(5);

/// What the handshake proved.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown {
    /// SHA-256 of the client's certificate.
    certificate: Option<Digest>,
    /// The thumbprint of its key.
    key: Option<Digest>,
}

impl Shown {
    /// By the certificates of a handshake whose signature was checked.
    pub(super) fn of(certificates: Option<&[CertificateDer<'_>]>) -> Self {
        let Some(certificate) = certificates.and_then(<[_]>::first) else { return Self::default() };
        let spki = rustls::server::ParsedCertificate::try_from(certificate)
            .map(|parsed| parsed.subject_public_key_info());
        // Requesters' keys are P-256; another key can be bound by its certificate.
        let key = spki.ok().and_then(|spki| P256PublicKey::from_spki_der(&spki).ok());
        Self { certificate: Some(Digest::of(certificate)), key: key.map(|key| key.thumbprint()) }
    }
}

/// Why there is no tunnel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Turned {
    /// Not what is asked for here.
    #[error("there is nothing here but GET {PATH}")]
    Request,
    /// An upgrade to something else.
    #[error("this gate upgrades to {PROTOCOL} and nothing else")]
    Protocol,
    /// No such resource.
    #[error("this gate has no way to such a resource")]
    Resource,
    /// The token.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many connections.
    #[error("too many connections are open: {0}")]
    Full(&'static str),
    /// The target is down.
    #[error("the gate cannot reach {0} now; its log says why")]
    Unreachable(String),
    /// The gate is going away.
    #[error("this gate is stopping")]
    Stopping,
}

impl Turned {
    /// Stable, `UPPER_SNAKE`.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Request => "TUNNEL_REQUEST_INVALID",
            Self::Protocol => "TUNNEL_PROTOCOL_UNKNOWN",
            Self::Resource => "RESOURCE_UNKNOWN",
            Self::Refused(refusal) => refusal.reason(),
            Self::Full(_) => "TUNNELS_FULL",
            Self::Unreachable(_) => "TARGET_UNREACHABLE",
            Self::Stopping => "GATE_STOPPING",
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Request | Self::Resource => StatusCode::NOT_FOUND,
            Self::Protocol => StatusCode::BAD_REQUEST,
            Self::Refused(refusal) => match refusal.kind() {
                Kind::Challenge | Kind::Token | Kind::Proof => StatusCode::UNAUTHORIZED,
                Kind::Scope | Kind::Forbidden => StatusCode::FORBIDDEN,
            },
            Self::Full(_) | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

/// The other end.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection that is about to be carried.
pub(super) struct Session {
    pub(super) pass: Pass,
    pub(super) resource: String,
    pub(super) target: Box<dyn Stream>,
    /// Kept for as long as it is open.
    pub(super) _place: Place,
}

/// What becomes of a request.
pub(super) enum Admitted<'a> {
    /// It asked only whether.
    Would(&'a Route, Arc<Accepted>),
    /// It becomes a tunnel.
    Opens(Session),
}

/// Judges a request.
pub(super) async fn admit<'a, B>(
    gate: &Gate,
    config: &'a TunnelConfig,
    places: &Arc<Places>,
    shown: Shown,
    request: &Request<B>,
) -> Result<Admitted<'a>, Turned> {
    if request.method() != Method::GET || request.uri().path() != PATH {
        return Err(Turned::Request);
    }
    let headers = request.headers();
    let upgrades = match headers.get(UPGRADE) {
        None => false,
        Some(protocol) if protocol == PROTOCOL => true,
        Some(_) => return Err(Turned::Protocol),
    };
    if shown.certificate.is_none() {
        return Err(gate.refused(Refusal::NoCertificate).into());
    }
    let (_, token) = authorization(described::once(headers, &AUTHORIZATION, "Authorization")?)?;
    let resource = described::once(headers, &HeaderName::from_static(RESOURCE), "of the resource")?;
    let (resource, route) =
        resource.and_then(|name| config.routes.get_key_value(name)).ok_or(Turned::Resource)?;
    let possession = Possession { certificate: shown.certificate, key: shown.key, dpop: None };
    if !upgrades {
        let pass = gate.look(token, &possession, route.need.clone())?;
        return Ok(Admitted::Would(route, pass.token));
    }
    // Before it counts as a use.
    let pass = gate.ask_for(token, None, &possession, route.need.clone())?;
    let place = places.take(Some(pass.token.claims.jti.0));
    let place = place.ok_or(Turned::Full("of this token, or of all"))?;
    let target = reach(&route.target).await.map_err(|error| {
        tracing::warn!(%resource, %error, "a tunnel's target cannot be reached");
        Turned::Unreachable(resource.clone())
    })?;
    Ok(Admitted::Opens(Session { pass, resource: resource.clone(), target, _place: place }))
}

async fn reach(target: &Target) -> std::io::Result<Box<dyn Stream>> {
    let reached = async {
        Ok::<Box<dyn Stream>, std::io::Error>(match target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Target::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    };
    tokio::time::timeout(REACH, reached).await?
}
