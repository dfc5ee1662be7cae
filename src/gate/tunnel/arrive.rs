//! From an accepted TCP connection to a tunnel: handshake, one request, its answer.
//!
//! Invariants: whoever has not been admitted holds one of [`ARRIVING`] places, [`ARRIVING_EACH`] from one host, for [`ARRIVE`]
//! at most; what he sends is bounded in bytes; a fault of one connection ends only that one.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE},
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{
    admit::{Admitted, Session, Shown, Turned, admit},
    carry::carry,
};
use crate::{
    client::tunnel::{Open, PROTOCOL, REASON, Refused},
    gate::{Gate, config::TunnelConfig},
    grpc::{
        places::{Place, Places},
        tls::{HTTP1, Identity, IdentityError, server_config_for},
    },
    jose::Digest,
};

/// Connections that have not been admitted yet.
const ARRIVING: usize = 128;
/// Those of one host.
const ARRIVING_EACH: usize = 16;
/// From the first packet to the answer, the reach for the target included.
const ARRIVE: Duration = Duration::from_secs(15);
/// Of these, for the handshake and the head of the request.
const HEAD: Duration = Duration::from_secs(8);
/// A token of 8 kB and what goes with it.
const HEAD_BYTES: usize = 16 * 1024;
const FIELDS: usize = 32;
/// Pause after a failed accept: it fails for want of file descriptors, which takes a moment to pass.
const PAUSE: Duration = Duration::from_millis(50);
/// How long cut connections may take to say why to the log.
const DRAIN: Duration = Duration::from_secs(2);

/// Why there can be no tunnels.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// The address.
    #[error("{address} cannot be listened on for tunnels")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The gate's certificate and key.
    #[error("the gate's certificate and key cannot be used for tunnels")]
    Identity(#[from] IdentityError),
    /// TLS.
    #[error("TLS could not be set up for tunnels")]
    Tls(#[from] rustls::Error),
}

/// The socket for tunnels, bound.
pub(in crate::gate) struct Sockets {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    config: TunnelConfig,
}

impl Sockets {
    /// Binds what the configuration names, if it names something.
    pub(in crate::gate) async fn bind(gate: &Gate) -> Result<Option<Self>, SocketsError> {
        let Some(config) = gate.config.tunnel.clone() else { return Ok(None) };
        let identity = Identity::from_files(&gate.config.certificate, &gate.config.key)?;
        let tls = server_config_for(&identity, HTTP1)?;
        let address = config.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| SocketsError::Bind { address, source })?;
        Ok(Some(Self { listener, tls, config }))
    }

    /// Takes connections until `stop`, then cuts them.
    pub(in crate::gate) async fn serve(self, gate: Arc<Gate>, mut stop: watch::Receiver<bool>) {
        let hosts = Places::new(ARRIVING, ARRIVING_EACH);
        let door = Arc::new(Door {
            tls: TlsAcceptor::from(self.tls),
            places: Places::new(self.config.connections, self.config.connections_each),
            config: self.config,
            gate,
        });
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut stop) => break,
                accepted = self.listener.accept() => accepted,
                // Finished ones are taken off the list while it is quiet.
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, from)) => match hosts.take(Some(host(from))) {
                    Some(place) => {
                        connections.spawn(Arc::clone(&door).converse(stream, place, stop.clone()));
                    }
                    None => door.gate.metrics.tunnel.crowded(),
                },
                Err(error) => {
                    tracing::debug!(%error, "no connection could be accepted; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        drop(self.listener);
        // Each sees the stop by itself.
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            connections.shutdown().await;
        }
    }
}

/// What connections of one host are counted under: an IPv6 host has a network of its own.
fn host(from: SocketAddr) -> Digest {
    match from.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => Digest::of(&ip.octets()),
        std::net::IpAddr::V6(ip) => Digest::of(ip.octets().split_at(8).0),
    }
}

/// Waits until a stop is asked for, or nobody is left to ask.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await.map(drop);
}

/// What every connection goes through.
struct Door {
    gate: Arc<Gate>,
    tls: TlsAcceptor,
    config: TunnelConfig,
    places: Arc<Places>,
}

/// What the answer leaves behind: the stream to come, and where it leads.
type Opening = Mutex<Option<(OnUpgrade, Session)>>;

impl Door {
    async fn converse(self: Arc<Self>, tcp: TcpStream, place: Place, stop: watch::Receiver<bool>) {
        let arrived = tokio::time::timeout(ARRIVE, self.arrive(tcp, stop.clone())).await;
        drop(place);
        if let Ok(Some((client, session))) = arrived {
            carry(&self.gate, self.config.grace, client, session, stop).await;
        }
    }

    /// Handshake, request, answer; a stream if it became a tunnel.
    async fn arrive(
        &self,
        tcp: TcpStream,
        stop: watch::Receiver<bool>,
    ) -> Option<(TokioIo<Upgraded>, Session)> {
        let _ = tcp.set_nodelay(true);
        let stream = tokio::time::timeout(HEAD, self.tls.accept(tcp)).await.ok()?;
        let stream =
            stream.inspect_err(|error| tracing::debug!(%error, "a tunnel's handshake failed")).ok()?;
        let shown = Shown::of(stream.get_ref().1.peer_certificates());
        let opening = Opening::default();
        let service = service_fn(|request| self.answer(request, shown, &stop, &opening));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_BYTES)
            .max_headers(FIELDS)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(error) = connection.await {
            // What was sent is not repeated.
            tracing::debug!(
                parse = error.is_parse(),
                timeout = error.is_timeout(),
                "a tunnel's request failed"
            );
        }
        let (upgrade, session) = opening.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some((TokioIo::new(upgrade.await.ok()?), session))
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        shown: Shown,
        stop: &watch::Receiver<bool>,
        opening: &Opening,
    ) -> Result<Response<String>, Infallible> {
        let admitted = if *stop.borrow() {
            Err(Turned::Stopping)
        } else {
            admit(&self.gate, &self.config, &self.places, shown, &request).await
        };
        Ok(match admitted {
            Ok(Admitted::Opens(session)) => {
                let upgrade = hyper::upgrade::on(&mut request);
                *opening.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, session));
                switching()
            }
            Ok(Admitted::Would(route, token)) => {
                let open = Open {
                    resource: route.need.location.to_string(),
                    protocol: route.protocol.clone(),
                    expires_at: token.claims.exp,
                };
                json(StatusCode::OK, &open)
            }
            Err(turned) => {
                if !matches!(turned, Turned::Refused(_)) {
                    self.gate.metrics.refused(turned.reason());
                }
                refused(&turned)
            }
        })
    }
}

fn switching() -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    response
}

fn refused(turned: &Turned) -> Response<String> {
    let told = Refused { reason: turned.reason().to_owned(), message: turned.to_string() };
    let mut response = json(turned.status(), &told);
    response.headers_mut().insert(REASON, HeaderValue::from_static(turned.reason()));
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<String> {
    // Texts and numbers always have a JSON form.
    let mut response = Response::new(serde_json::to_string(body).unwrap_or_default());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
