//! HTTP: discovery, JWKS, checkpoint and hash tiles, health, metrics.
//!
//! Invariants: everything here is public and read-only; nothing reads a request's body; no route reaches the signing
//! path, so that verifiers which refetch cannot slow down an issuance. What a peer may hold is bounded (`connection`).

mod connection;
mod discovery;
mod health;
mod log;
mod monitor;
mod router;

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use crate::{engine::Engine, telemetry::Metrics};

/// What a peer may hold at most, and how often devices are examined.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections at once; more wait in the listener's backlog.
    pub connections: usize,
    /// How long a peer may take to send the head of a request, the pause before it included.
    pub head: Duration,
    /// How long an answer may take to make.
    pub answer: Duration,
    /// How long a connection lives, however busy.
    pub life: Duration,
    /// How long requests in progress may take to finish once the server stops.
    pub drain: Duration,
    /// Pause between checkpoints of a log that grows.
    pub checkpoint_every: Duration,
    /// Pause between canary signatures.
    pub canary_every: Duration,
    /// How long a canary signature may take.
    pub canary: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 256,
            head: Duration::from_secs(10),
            answer: Duration::from_secs(10),
            life: Duration::from_mins(2),
            drain: Duration::from_secs(5),
            checkpoint_every: Duration::from_secs(10),
            canary_every: Duration::from_secs(10),
            canary: Duration::from_secs(5),
        }
    }
}

/// What the handlers share.
#[derive(Debug)]
struct Shared {
    engine: Engine,
    metrics: Arc<Metrics>,
    documents: discovery::Cache,
    /// Why the log takes no entries, as far as known.
    log_fault: watch::Receiver<Option<&'static str>>,
    /// Whether the engine has a checkpoint.
    published: watch::Receiver<bool>,
    /// Who may read a tile now.
    tiles: Semaphore,
    settings: Settings,
}

/// Serves until `shutdown` resolves, then finishes what is in progress and returns.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    serve_with(listener, engine, metrics, Settings::default(), shutdown).await
}

/// As [`serve`], with other limits.
pub async fn serve_with(
    listener: TcpListener,
    engine: Engine,
    metrics: Arc<Metrics>,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "serving HTTP");
    let (log_fault, seen) = watch::channel(None);
    let signed = watch::Sender::new(false);
    let published = signed.subscribe();
    let monitor = monitor::run(engine.clone(), Arc::clone(&metrics), settings.clone(), log_fault, signed);
    let shared = Shared {
        engine,
        metrics,
        documents: discovery::Cache::default(),
        log_fault: seen,
        published,
        tiles: Semaphore::new(1),
        settings: settings.clone(),
    };
    let router = router::router(Arc::new(shared));
    let stop = watch::Sender::new(false);
    let stopping = async {
        shutdown.await;
        stop.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = connection::accept(listener, router, &settings, stop.subscribe()) => {}
        // These two never end by themselves.
        () = monitor => {}
        () = stopping => {}
    }
    Ok(())
}
