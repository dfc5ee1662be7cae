//! Connections: how many, how long, how large. A gate serves with the same limits.
//!
//! Invariants: never more than [`Limits::connections`] at once; a peer that sends slowly, sends nothing or reads
//! nothing is cut after a bounded time; a fault of one connection ends only that one.

use std::{io, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// Pause after a failed accept: it fails for want of file descriptors, which takes a moment to pass.
const PAUSE: Duration = Duration::from_millis(50);

/// What a peer may hold at most.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Connections at once; more wait in the listener's backlog.
    pub(crate) connections: usize,
    /// How long a peer may take to send the head of a request, the pause before it included.
    pub(crate) head: Duration,
    /// How long a connection lives, however busy.
    pub(crate) life: Duration,
    /// How long requests in progress may take to finish once the server stops.
    pub(crate) drain: Duration,
    /// Head of a request, bytes.
    pub(crate) head_bytes: usize,
    /// Header fields of a request.
    pub(crate) fields: usize,
}

/// Where connections come in.
#[derive(Debug)]
pub(crate) enum Listener {
    /// From the network.
    Tcp(TcpListener),
    /// From processes of this machine that may open the socket.
    Unix(UnixListener),
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A host.
    Ip(IpAddr),
    /// A process of this machine.
    Unix,
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Listener {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                // Answers are small and whole: nothing is gained by waiting for more.
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), Peer::Ip(from.ip().to_canonical())))
            }
            Self::Unix(listener) => Ok((Box::new(listener.accept().await?.0), Peer::Unix)),
        }
    }
}

/// Accepts until `stop`, then gives connections [`Limits::drain`] to finish. `router` makes what serves a peer; a peer that
/// nothing serves takes no place.
pub(crate) async fn accept(
    listener: Listener,
    router: impl Fn(Peer) -> Option<Router>,
    limits: &Limits,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stopped(&mut stop) => break,
            next = next => next,
            // Finished ones are taken off the list while it is quiet.
            Some(_) = connections.join_next() => continue,
        };
        let Ok(place) = place else { break };
        match accepted {
            Ok((stream, peer)) => {
                let Some(router) = router(peer) else { continue };
                let (limits, stop) = (limits.clone(), stop.clone());
                connections.spawn(async move {
                    converse(stream, router, &limits, stop).await;
                    drop(place);
                });
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, drained).await.is_err() {
        connections.shutdown().await;
    }
}

/// Serves one connection to its end.
async fn converse(stream: Box<dyn Stream>, router: Router, limits: &Limits, mut stop: watch::Receiver<bool>) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes)
        .max_headers(limits.fields);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopped(&mut stop) => None,
        () = tokio::time::sleep(limits.life) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        tokio::time::timeout(limits.drain, connection).await.unwrap_or(Ok(()))
    };
    if let Err(error) = ended {
        // Peers come and go; what they sent is not repeated.
        tracing::debug!(timeout = error.is_timeout(), parse = error.is_parse(), "an HTTP connection failed");
    }
}

/// Waits until a stop is asked for, or nobody is left to ask.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await.map(drop);
}

/// Errors of accept that concern one peer, who is gone.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
