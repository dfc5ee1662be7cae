//! `breakglassd`: runs until it is told to stop.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use super::{devices, key_file, process};
use crate::{
    config::DaemonConfig,
    engine::{CanaryKey, Options, Running, SystemClock, quota::Rate},
    grpc::{api as grpc, front::Rates, tls::Identity},
    http,
    store::{SqliteStore, StoreOptions},
    telemetry::Metrics,
};

/// Opens everything, serves, and drains at SIGTERM or SIGINT.
pub(super) async fn serve(config: &DaemonConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let identity = Identity::from_files(&config.grpc.certificate, &config.grpc.key)?;
    let grpc_listener = TcpListener::bind(config.grpc.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", config.grpc.listen))?;
    let http_listener = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", config.http.listen))?;
    let (store, running) = start(config).await?;
    let engine = running.engine.clone();
    let stop = watch::Sender::new(false);
    let metrics = Arc::new(Metrics::default());
    let mut servers = JoinSet::new();
    {
        let (engine, stop) = (engine.clone(), stop.subscribe());
        let client = Rate { per_minute: config.grpc.calls_per_minute, burst: config.grpc.burst };
        let rates = Rates { client, ..Rates::default() };
        let metrics = Arc::clone(&metrics);
        let options = grpc::Options { rates, metrics, ..grpc::Options::default() };
        servers.spawn(async move { Ok(grpc::serve(engine, grpc_listener, &identity, options, stop).await?) });
    }
    {
        let (engine, stop) = (engine.clone(), stopped(stop.subscribe()));
        servers.spawn(async move { Ok(http::serve(http_listener, engine, metrics, stop).await?) });
    }
    process::notify("READY=1");
    tracing::info!(instance = %engine.instance(), "breakglassd serves");
    // A server that ends by itself ends the daemon: half a daemon would be worse than a restart.
    let early: Option<anyhow::Result<()>> = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = servers.join_next() => ended.map(|ended| ended?),
    };
    process::notify("STOPPING=1");
    tracing::info!("stopping: what is queued is still decided");
    stop.send_replace(true);
    let ended = servers.join_all().await;
    running.stop().await;
    drop(engine);
    if let Ok(store) = Arc::try_unwrap(store) {
        store.close().await;
    }
    early.into_iter().chain(ended).collect()
}

async fn start(config: &DaemonConfig) -> anyhow::Result<(Arc<SqliteStore>, Running)> {
    let keys = devices::keys_at_hand(config)?;
    let store = Arc::new(SqliteStore::open(&config.log_path(), StoreOptions::default()).await?);
    let canary_key = Some(CanaryKey::new(key_file::read_or_make(&config.data_dir.join("canary.key"))?));
    let events_folder = Some(config.data_dir.join("events"));
    let options =
        Options { canary_key, events_folder, ..Options::new(config.id.to_string(), config.snapshot_every) };
    let running =
        Running::start(Arc::clone(&store), keys, Arc::new(SystemClock::default()), &options).await?;
    Ok((store, running))
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await.map(drop);
}

/// `--check`: everything that can be wrong before serving, without touching the log.
pub(super) fn check(config: &DaemonConfig) -> anyhow::Result<()> {
    let identity = Identity::from_files(&config.grpc.certificate, &config.grpc.key)?;
    let keys = devices::keys(config)?;
    keys.log.health()?;
    for key in keys.issuing.public_keys()? {
        // Only the charter knows which one an RSA key has; the device lets it do no other.
        let kid = key.thumbprint();
        let signs = key.algorithms().iter().find(|alg| keys.issuing.health(&kid, **alg).is_ok());
        if let (None, Some(alg)) = (signs, key.algorithms().first()) {
            keys.issuing.health(&kid, *alg)?;
        }
    }
    let log = config.log_path();
    if !log.exists() {
        process::print_line(&format!(
            "configuration and devices are in order; there is no log yet at {}",
            log.display()
        ));
        return Ok(());
    }
    process::print_line(&format!("configuration and devices are in order; TLS key {}", identity.spki()));
    Ok(())
}
