//! Accepts TCP, does the TLS handshake under its own deadline, and hands over connections that may stay.
//!
//! Places are bounded at each stage, so that a peer can neither fill the daemon nor crowd out others: handshakes in
//! progress have places and a deadline of their own; an enrolled key gets its share of the connections; peers whose key
//! the charter does not know have a small number together, each for a short life.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;

use super::connection::End;
use super::{Connection, Peer, spki_digest};
use crate::grpc::places::{Place, Places};
use crate::grpc::server::{Limits, Rank};
use crate::jose::Digest;

/// Pause after `accept` failed, which it does when file descriptors run out: without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What decides over a connection once its handshake is done.
#[derive(Clone)]
pub(crate) struct Gate {
    tls: TlsAcceptor,
    rank: Arc<dyn Fn(&Digest) -> Rank + Send + Sync>,
    limits: Limits,
    places: Arc<Places>,
    verifier_places: Arc<Places>,
    stranger_places: Arc<Places>,
    handshakes: Arc<Semaphore>,
    cut: watch::Receiver<bool>,
}

impl Gate {
    /// `rank` says what the charter of this moment knows of a key; once `cut` turns true every connection ends.
    pub(crate) fn new(
        tls: Arc<ServerConfig>,
        limits: Limits,
        rank: Arc<dyn Fn(&Digest) -> Rank + Send + Sync>,
        cut: watch::Receiver<bool>,
    ) -> Self {
        Self {
            tls: TlsAcceptor::from(tls),
            rank,
            places: Places::new(limits.connections, limits.connections_each),
            verifier_places: Places::new(limits.verifiers, limits.verifiers_each),
            stranger_places: Places::new(limits.strangers, limits.strangers),
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            limits,
            cut,
        }
    }

    async fn admit(&self, tcp: TcpStream, address: SocketAddr) -> Option<Connection> {
        // Answers are small and waited for; a socket that refuses the option works all the same.
        if let Err(error) = tcp.set_nodelay(true) {
            debug!(%address, %error, "grpc.accept.nodelay");
        }
        let stream = match tokio::time::timeout(self.limits.handshake, self.tls.accept(tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                debug!(%address, %error, "grpc.handshake.failed");
                return None;
            }
            Err(_) => {
                debug!(%address, "grpc.handshake.timeout");
                return None;
            }
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let key = certificate.and_then(|certificate| spki_digest(certificate).ok());
        let (place, life) = self.place(key)?;
        let peer = Peer { key, address };
        Some(Connection::new(stream, peer, self.limits.idle, self.end(life), place))
    }

    /// A place, and how long it may be kept.
    fn place(&self, key: Option<Digest>) -> Option<(Place, Option<Duration>)> {
        let rank = key.as_ref().map_or(Rank::Stranger, |key| (self.rank)(key));
        let (places, life) = match rank {
            Rank::Client => (&self.places, None),
            Rank::Verifier => (&self.verifier_places, None),
            Rank::Stranger => (&self.stranger_places, Some(self.limits.stranger_life)),
        };
        let client = key.filter(|_| rank != Rank::Stranger);
        let place = places.take(client);
        if place.is_none() {
            debug!(stranger = client.is_none(), "grpc.connections.full");
        }
        Some((place?, life))
    }

    fn end(&self, life: Option<Duration>) -> End {
        let mut cut = self.cut.clone();
        Box::pin(async move {
            let cut = async {
                // An error means that the server is gone, and nobody is left to cut anything.
                if cut.wait_for(|cut| *cut).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            match life {
                Some(life) => drop(tokio::time::timeout(life, cut).await),
                None => cut.await,
            }
        })
    }
}

/// Accepts until the returned stream is dropped; then the listening socket closes at once.
pub(crate) fn incoming(
    listener: TcpListener,
    gate: Gate,
) -> impl tokio_stream::Stream<Item = Result<Connection, Infallible>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        tokio::select! {
            () = accept(listener, gate, sender.clone()) => {}
            () = sender.closed() => {}
        }
    });
    ReceiverStream::new(receiver)
}

async fn accept(listener: TcpListener, gate: Gate, sender: mpsc::Sender<Result<Connection, Infallible>>) {
    loop {
        let Ok(handshake) = Arc::clone(&gate.handshakes).acquire_owned().await else { return };
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "grpc.accept.failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (gate, sender) = (gate.clone(), sender.clone());
        tokio::spawn(async move {
            let admitted = gate.admit(tcp, address).await;
            drop(handshake);
            if let Some(connection) = admitted {
                // An error means that the server stopped meanwhile: the connection closes by being dropped.
                drop(sender.send(Ok(connection)).await);
            }
        });
    }
}
