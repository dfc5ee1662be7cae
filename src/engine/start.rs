//! Starting and stopping: fold, check that things fit together, reconcile, serve.
//!
//! Invariant: nothing is served before the state is that of the whole log and the daemon's keys are those of the
//! charter; requests that a crash left authorized are taken up again, by an entry.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
};

use super::{
    CanaryKey, Clock, Engine, EngineError, Keys, Latch, Shared, canary, clock::Reference, issue,
    patient::Patient, probes::Asking, queue::Queue, snapshot,
};
use crate::{
    domain::{
        Command, State,
        charter::Charter,
        id::{InstanceId, RequestId},
        request::Life,
    },
    jose::b64,
    store::{AppendError, SqliteStore},
    tlog::{SignedCheckpoint, VerifierKey},
};

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How many times over a snapshot may be due while the log keeps growing.
const SNAPSHOT_PATIENCE: u64 = 9;
/// Commands that may wait.
const QUEUE: usize = 4_096;
/// Kills and lifts that may wait.
const URGENT: usize = 1_024;

/// How the engine runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The daemon's id, as in the charter.
    pub daemon: String,
    /// Entries between snapshots.
    pub snapshot_every: u64,
    /// The longest that anything waits for a device.
    pub device_patience: Duration,
    /// The key that canaries are encrypted to; without one none are made, and no verifier is asked.
    pub canary_key: Option<CanaryKey>,
    /// How long after a kill a verifier may take to refuse what the key has signed, before there is an alarm.
    pub probe_deadline: Duration,
    /// Where it is kept which security events verifiers have taken; in memory alone without.
    pub events_folder: Option<std::path::PathBuf>,
}

impl Options {
    /// With half a minute of patience for the devices.
    #[must_use]
    pub fn new(daemon: impl Into<String>, snapshot_every: u64) -> Self {
        Self {
            daemon: daemon.into(),
            snapshot_every,
            device_patience: Duration::from_secs(30),
            canary_key: None,
            probe_deadline: Duration::from_mins(1),
            events_folder: None,
        }
    }
}

/// A running engine, to be stopped.
#[derive(Debug)]
pub struct Running {
    /// The handle.
    pub engine: Engine,
    stop: watch::Sender<bool>,
    queue: JoinHandle<()>,
    issuer: JoinHandle<()>,
    /// What hands in commands of its own, and ends once it is asked to.
    tended: Vec<JoinHandle<()>>,
    /// What may be inside a device that hangs, and is not waited for.
    at_devices: Vec<JoinHandle<()>>,
}

impl Running {
    /// Folds the log and begins to serve.
    pub async fn start(
        store: Arc<SqliteStore>,
        keys: Keys,
        clock: Arc<dyn Clock>,
        options: &Options,
    ) -> Result<Self, EngineError> {
        let (state, from_snapshot) = snapshot::restore(&store).await?;
        let charter = state.charter().ok_or_else(|| {
            EngineError::Start(
                "the log has no charter; run breakglassd init --charter FILE --digest D".into(),
            )
        })?;
        if from_snapshot > 0 {
            super::charters::verify(&store, &state).await?;
        }
        super::recheck::live_requests(&state)?;
        let verifier_key = check_keys(charter, &keys)?;
        let instance = instance(&options.daemon)?;
        let (jobs, queued) = mpsc::channel(QUEUE);
        let (urgent, queued_urgent) = mpsc::channel(URGENT);
        let (device, folder) = (keys.operational.clone(), options.events_folder.clone());
        let shared = Shared {
            jobs,
            urgent,
            state: RwLock::new(state.clone()),
            checkpoint: watch::Sender::new(store.latest_checkpoint().await?),
            checkpointing: Arc::default(),
            store,
            keys,
            clock: Arc::clone(&clock),
            instance,
            verifier_key,
            changes: broadcast::Sender::new(4_096),
            killed: watch::Sender::new(0),
            unrecorded: RwLock::default(),
            device_patience: options.device_patience,
            device_threads: Arc::new(tokio::sync::Semaphore::new(super::DEVICE_THREADS)),
            latch: Latch::default(),
            adopted: tokio::sync::Notify::new(),
            setbacks: super::setback::Setbacks::default(),
            ended: watch::Sender::new(0),
            operational: super::operational::Operational::new(device, folder),
            undestroyed: super::destroy::Undestroyed::default(),
            canary_key: options.canary_key.clone(),
            fetcher: std::sync::OnceLock::new(),
            asking: Asking::default(),
            probe_deadline: options.probe_deadline,
            probing: tokio::sync::Notify::new(),
            resting: super::failover::Resting::default(),
            gates: super::gates::Gates::default(),
        };
        let engine = Engine { shared: Arc::new(shared) };
        let (issuer, todo) = issue::Issuer::new(&engine);
        let stop = watch::Sender::new(false);
        let left = left_over(&state);
        let queue = Queue {
            engine: engine.clone(),
            jobs: queued,
            urgent: queued_urgent,
            unrecorded: super::kills::Unrecorded::default(),
            working: state,
            reference: Reference::new(clock.as_ref()),
            issuer,
            patient: Patient::default(),
        };
        let tended = tend(&engine, &stop, options, &left)?;
        let mut at_devices = vec![tokio::spawn(super::destroy::run(engine.clone(), stop.subscribe()))];
        at_devices.extend(super::operational::begin(&engine, &stop));
        let running = Self {
            queue: tokio::spawn(queue.run(stop.subscribe())),
            issuer: tokio::spawn(issue::run(engine.clone(), todo)),
            tended,
            at_devices,
            engine: engine.clone(),
            stop,
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        match engine.submit(engine.daemon(), Command::Start { version: version.clone() }).await {
            // Of all daemons, one on a full disk must be there to be told of a kill.
            Err(error @ EngineError::Log(AppendError::Full)) => {
                tracing::error!(%error, "the disk is full: nothing but kills and lifts is recorded until there is room");
                tokio::spawn(announce(engine.clone(), version));
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        take_over(&engine, &left).await;
        if from_snapshot > 0 {
            tokio::spawn(snapshot::recheck(engine, from_snapshot));
        }
        Ok(running)
    }

    /// Decides what is queued, finishes what is being signed, and closes the log.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tended {
            let _ = task.await;
        }
        let _ = self.queue.await;
        // The queue is gone, and with it the issuer's work; what is being signed has nowhere to be recorded.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.issuer).await;
        // A device that hangs is not waited for: what was not recorded is done again at the next start.
        for task in self.at_devices {
            task.abort();
        }
    }
}

/// Starts what works beside the queue and hands in commands of its own. `left`: what earlier processes left authorized.
fn tend(
    engine: &Engine,
    stop: &watch::Sender<bool>,
    options: &Options,
    left: &[RequestId],
) -> Result<Vec<JoinHandle<()>>, EngineError> {
    let stopped = || stop.subscribe();
    let timer = timer(engine.clone(), stopped(), options.snapshot_every, left.to_vec());
    let mut tended = vec![
        tokio::spawn(timer),
        tokio::spawn(super::gates::run(engine.clone(), stopped())),
        tokio::spawn(super::hooks::run(engine.clone(), stopped())),
    ];
    if let Some(key) = &options.canary_key {
        tended.push(tokio::spawn(canary::tend(engine.clone(), key.public()?, stopped())));
        tended.push(tokio::spawn(super::probes::run(engine.clone(), stopped())));
    }
    Ok(tended)
}

/// The devices hold the keys that the charter lists.
fn check_keys(charter: &Charter, keys: &Keys) -> Result<VerifierKey, EngineError> {
    let log_key = keys.log.public_key();
    let listed = charter.document().log_keys.iter().find(|log| log.key == *log_key);
    let listed = listed.ok_or_else(|| {
        EngineError::Start(
            "the log key on the device is not in the charter; check [log_key] in the configuration".into(),
        )
    })?;
    match keys.issuing.public_keys() {
        Ok(present) => {
            for key in &charter.document().issuing_keys {
                if !present.contains(key.key.key()) {
                    tracing::warn!(kid = %key.key.thumbprint(), "the device does not have this issuing key of the charter");
                }
            }
        }
        // A device that is away now may come back: requests wait for it.
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the issuing device cannot be read at start"
            );
        }
    }
    Ok(VerifierKey::new(listed.origin.clone(), *log_key.as_bytes()))
}

fn instance(daemon: &str) -> Result<InstanceId, EngineError> {
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(EngineError::Randomness)?;
    let suffix = b64::encode(&random).to_ascii_lowercase().replace('_', "-");
    format!("{daemon}.{suffix}").parse().map_err(|error| EngineError::Start(format!("daemon id: {error}")))
}

/// Records the start of this process as soon as the disk has room for it.
async fn announce(engine: Engine, version: String) {
    let start = || engine.submit(engine.daemon(), Command::Start { version: version.clone() });
    while let Err(EngineError::Log(_) | EngineError::Unrecorded) = start().await {
        tokio::time::sleep(TICK).await;
    }
}

/// Waits until a stop is asked for.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Nobody left to ask is a stop, too. The guard must not live across the caller's awaits.
    let _ = stop.wait_for(|stop| *stop).await.map(drop);
}

/// Requests that are authorized, but not issued.
fn left_over(state: &State) -> Vec<RequestId> {
    let authorized = state.requests().filter(|request| matches!(request.life(), Life::Authorized(_)));
    authorized.map(crate::domain::request::Request::id).collect()
}

/// Takes up what another process left; returns what has to wait for its time.
async fn take_over(engine: &Engine, left: &[RequestId]) -> Vec<RequestId> {
    let mut waiting = Vec::new();
    for id in left {
        match engine.submit(engine.daemon(), Command::TakeOver { request: *id }).await {
            Ok(_) => tracing::info!(request = %id, "took up an authorized request that another process left"),
            Err(error) => {
                tracing::info!(request = %id, %error, "an authorized request is left to its process for now");
                waiting.push(*id);
            }
        }
    }
    waiting
}

/// Ends what has reached its deadline, takes snapshots, and takes over what others left.
async fn timer(
    engine: Engine,
    mut stop: watch::Receiver<bool>,
    snapshot_every: u64,
    mut left: Vec<RequestId>,
) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut kept = engine.shared.checkpoint.subscribe();
    let mut seen = engine.shared.store.size();
    let mut snapshot_at = seen.saturating_add(snapshot_every);
    loop {
        let stopping = tokio::select! {
            () = stopped(&mut stop) => true,
            _ = ticks.tick() => false,
        };
        keep_checkpoint(&engine, &mut kept).await;
        if stopping {
            return;
        }
        let now = engine.now().seconds();
        if engine.read(|state| state.next_deadline().is_some_and(|deadline| deadline <= now)) {
            report(engine.submit(engine.daemon(), Command::Tick).await.map(drop), "deadlines");
        }
        left.retain(|id| engine.state_of(id) == "authorized");
        let other = |id: &RequestId| {
            engine.read(|state| match state.request(id).map(crate::domain::request::Request::life) {
                Some(Life::Authorized(authorization)) => authorization.instance != engine.shared.instance,
                _ => false,
            })
        };
        left.retain(other);
        let ripe: Vec<RequestId> = left.iter().copied().filter(|id| is_ripe(&engine, id, now)).collect();
        take_over(&engine, &ripe).await;
        let size = engine.shared.store.size();
        // A snapshot writes out the whole state: it waits for a quiet moment, but not for ever.
        let quiet = size == std::mem::replace(&mut seen, size);
        let overdue = size >= snapshot_at.saturating_add(snapshot_every.saturating_mul(SNAPSHOT_PATIENCE));
        if overdue || (quiet && size >= snapshot_at) {
            snapshot_at = size.saturating_add(snapshot_every);
            report(snapshot::take(&engine).await, "snapshot");
        }
    }
}

/// Stores the newest checkpoint, unless it is stored. Nothing waits for that: whoever needs one finds it in memory.
async fn keep_checkpoint(engine: &Engine, kept: &mut watch::Receiver<Option<SignedCheckpoint>>) {
    if !kept.has_changed().unwrap_or(false) {
        return;
    }
    let newest = kept.borrow_and_update().clone();
    if let Some(newest) = newest
        && let Err(error) = engine.shared.store.put_checkpoint(&newest).await
    {
        kept.mark_changed();
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the checkpoint is not stored yet; trying again"
        );
    }
}

fn is_ripe(engine: &Engine, id: &RequestId, now: i64) -> bool {
    engine.read(|state| match state.request(id).map(crate::domain::request::Request::life) {
        Some(Life::Authorized(authorization)) => {
            now - authorization.since.seconds() >= crate::domain::decide::TAKE_OVER_AFTER
        }
        _ => false,
    })
}

fn report(result: Result<(), EngineError>, what: &str) {
    if let Err(error) = result {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            what,
            "a periodic task failed; it is tried again"
        );
    }
}
