//! Connections: how many, how long, how large.
//!
//! Invariants: never more than [`Settings::connections`] at once; a peer that sends slowly, sends nothing or reads
//! nothing is cut after a bounded time; a fault of one connection ends only that one.

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::Settings;

/// Head of a request, bytes. Twice what proxies add to a plain GET.
const MAX_HEAD: usize = 16 * 1024;
/// Header fields of a request.
const MAX_FIELDS: usize = 64;
/// Pause after a failed accept: it fails for want of file descriptors, which takes a moment to pass.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop`, then gives connections [`Settings::drain`] to finish.
pub(super) async fn accept(
    listener: TcpListener,
    router: Router,
    settings: &Settings,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(settings.connections));
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
            Ok((stream, _)) => {
                let (router, settings, stop) = (router.clone(), settings.clone(), stop.clone());
                connections.spawn(async move {
                    converse(stream, router, &settings, stop).await;
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
    if tokio::time::timeout(settings.drain, drained).await.is_err() {
        connections.shutdown().await;
    }
}

/// Serves one connection to its end.
async fn converse(stream: TcpStream, router: Router, settings: &Settings, mut stop: watch::Receiver<bool>) {
    // Answers are small and whole: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.head)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopped(&mut stop) => None,
        () = tokio::time::sleep(settings.life) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        tokio::time::timeout(settings.drain, connection).await.unwrap_or(Ok(()))
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
