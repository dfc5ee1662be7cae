//! HTTP: discovery, JWKS, checkpoint and hash tiles, health, metrics; introspection, revocation and status list of tokens.
//!
//! Invariants: what is read with GET is public and changes nothing. Three routes read a body, of a bounded size: introspection
//! and the poll of security events answer verifiers that show their secret, and revocation can end the one token in its body. No route
//! reaches the signing path, so that verifiers which refetch or ask cannot slow down an issuance beyond the processor they
//! take. What a peer may hold is bounded (`connection`), and how often it may ask (`desk`).

pub(crate) mod connection;
mod desk;
mod discovery;
mod form;
mod health;
mod introspect;
mod log;
mod monitor;
mod operational;
mod poll;
mod revoke;
mod router;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use crate::{
    engine::{Engine, quota::Rate},
    telemetry::Metrics,
};

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
    /// How often each verifier may ask about tokens.
    pub verifiers: Rate,
    /// How often all may together whose credentials are wrong, or who hand in a token without any.
    pub strangers: Rate,
}

impl Default for Settings {
    fn default() -> Self {
        let rate = |per_minute, burst| Rate { per_minute, burst };
        let n = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Self {
            connections: 256,
            head: Duration::from_secs(10),
            answer: Duration::from_secs(10),
            life: Duration::from_mins(2),
            drain: Duration::from_secs(5),
            checkpoint_every: Duration::from_secs(10),
            canary_every: Duration::from_secs(10),
            canary: Duration::from_secs(5),
            verifiers: rate(n(30_000), n(1_000)),
            strangers: rate(n(120), n(60)),
        }
    }
}

/// Head of a request, bytes. Twice what proxies add to a plain GET.
const MAX_HEAD: usize = 16 * 1024;
/// Header fields of a request.
const MAX_FIELDS: usize = 64;

impl Settings {
    const fn limits(&self) -> connection::Limits {
        let Self { connections, head, life, drain, .. } = *self;
        connection::Limits { connections, head, life, drain, head_bytes: MAX_HEAD, fields: MAX_FIELDS }
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
    desk: desk::Desk,
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
        desk: desk::Desk::new(&settings),
        log_fault: seen,
        published,
        tiles: Semaphore::new(1),
        settings: settings.clone(),
    };
    let shared = Arc::new(shared);
    let router = router::router(Arc::clone(&shared));
    let stop = watch::Sender::new(false);
    let stopping = async {
        shutdown.await;
        stop.send_replace(true);
        std::future::pending::<()>().await;
    };
    let (listener, limits) = (connection::Listener::Tcp(listener), settings.limits());
    tokio::select! {
        () = connection::accept(listener, |_| Some(router.clone()), &limits, stop.subscribe()) => {}
        // These never end by themselves.
        () = monitor => {}
        () = shared.desk.keep(&shared.engine) => {}
        () = stopping => {}
    }
    shared.desk.record(&shared.engine, true).await;
    Ok(())
}
