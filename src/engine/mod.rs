//! The one place that sequences decide, durable append and effects.
//!
//! Invariants:
//! - One queue (`queue`) decides commands against the newest state, appends the events of a whole batch in one durable
//!   transaction, and only then answers. A refused command has changed nothing.
//! - Kills and lifts overtake everything (`kills`), a closed latch and a full disk included.
//! - `state` is what is durable; nobody sees an event before its append returned.
//! - The HSM is asked to sign (`issue`) only for an authorization that is in the log and under a checkpoint.
//! - An invariant found broken latches: nothing is decided any more until a person has looked.

mod alarm;
mod canary;
mod charters;
mod clock;
mod destroy;
mod error;
mod events;
mod failover;
mod gates;
mod genesis;
mod hooks;
mod initialise;
mod introspect;
mod issue;
mod kills;
mod latch;
mod operational;
mod patient;
mod probes;
mod queue;
pub mod quota;
mod recheck;
mod requests;
mod setback;
mod snapshot;
mod start;
mod status_list;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, broadcast, mpsc, oneshot, watch};

pub use charters::Standing;
pub use clock::{Clock, ClockFault, SystemClock};
pub use error::EngineError;
pub use gates::{GateGuard, GateKey, GateView, SpreadView};
pub use initialise::initialise;
pub use kills::KillStanding;
pub use latch::Latch;
pub use probes::{Asked, CanaryKey};
pub use setback::Setback;
pub use start::{Options, Running};
pub use status_list::{StatusList, TTL as STATUS_LIST_TTL};

use crate::{
    domain::{
        Command, State,
        event::Actor,
        id::{InstanceId, RequestId},
        time::Timestamp,
    },
    fetch::Fetcher,
    hsm::{LogSigner, SigningDevice},
    jose::GeneralJws,
    store::SqliteStore,
    tlog::{Checkpoint, SignedCheckpoint, VerifierKey},
};

/// Threads that may be inside the devices at a time, those that hang included: twice what the issuer keeps busy.
const DEVICE_THREADS: usize = 8;

/// The devices that hold the daemon's keys.
#[derive(Clone)]
pub struct Keys {
    /// Issuing keys.
    pub issuing: Arc<dyn SigningDevice>,
    /// The key of the log.
    pub log: Arc<dyn LogSigner>,
    /// Operational keys, which sign what is said about tokens; without a device for them nothing is.
    pub operational: Option<Arc<dyn SigningDevice>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("issuing", self.issuing.describe()).finish_non_exhaustive()
    }
}

/// What became of an accepted command; durable.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Index of its first entry; the size of the log where there is none.
    pub index: u64,
    /// The time of its entries.
    pub at: Timestamp,
    /// Whether the log has it. A kill is in force without, and tried again.
    pub recorded: bool,
}

type Reply = oneshot::Sender<Result<Decided, EngineError>>;

/// A command on its way to the queue.
struct Job {
    actor: Actor,
    command: Command,
    reply: Reply,
    /// A redemption that waits for its token instead of being refused before it is there.
    waits: bool,
}

/// A command in the queue.
struct Queued(oneshot::Receiver<Result<Decided, EngineError>>);

impl Queued {
    async fn answer(self) -> Result<Decided, EngineError> {
        self.0.await.unwrap_or(Err(EngineError::Stopping))
    }
}

/// A handle to the engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    jobs: mpsc::Sender<Job>,
    urgent: mpsc::Sender<Job>,
    state: RwLock<State>,
    store: Arc<SqliteStore>,
    keys: Keys,
    clock: Arc<dyn Clock>,
    instance: InstanceId,
    verifier_key: VerifierKey,
    changes: broadcast::Sender<RequestId>,
    /// How often a kill or a lift was recorded, or kept in memory, by this process.
    killed: watch::Sender<u64>,
    /// Kills in force that the log has not taken.
    unrecorded: RwLock<Arc<Vec<GeneralJws>>>,
    checkpoint: watch::Sender<Option<SignedCheckpoint>>,
    /// The longest that anything waits for a device.
    device_patience: Duration,
    /// One for each thread inside the devices.
    device_threads: Arc<Semaphore>,
    /// Held by whoever makes a checkpoint.
    checkpointing: Arc<Mutex<()>>,
    latch: Latch,
    /// Woken by each new charter.
    adopted: tokio::sync::Notify,
    setbacks: setback::Setbacks,
    /// Counts tokens that ended before their time, besides those that were killed, and new charters, which may end some.
    ended: watch::Sender<u64>,
    operational: operational::Operational,
    undestroyed: destroy::Undestroyed,
    /// Absent where no canaries are made.
    canary_key: Option<CanaryKey>,
    /// Made when it is first needed.
    fetcher: std::sync::OnceLock<Fetcher>,
    asking: probes::Asking,
    /// From when on after a kill an answer that is no refusal is recorded.
    probe_deadline: Duration,
    /// Woken when a canary is there to be shown.
    probing: tokio::sync::Notify,
    resting: failover::Resting,
    gates: gates::Gates,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("instance", &self.shared.instance).finish_non_exhaustive()
    }
}

impl Engine {
    /// Has a command decided, and waits until its events are durable.
    pub async fn submit(&self, actor: Actor, command: Command) -> Result<Decided, EngineError> {
        self.enqueue(actor, command, false)?.answer().await
    }

    /// Queues a command; the answer comes when its events are durable.
    fn enqueue(&self, actor: Actor, command: Command, waits: bool) -> Result<Queued, EngineError> {
        let (reply, answer) = oneshot::channel();
        let queue = if queue::is_urgent(&command) { &self.shared.urgent } else { &self.shared.jobs };
        let job = Job { actor, command, reply, waits };
        queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => EngineError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => EngineError::Stopping,
        })?;
        Ok(Queued(answer))
    }

    /// Asks the durable state; the closure must be short, since it holds up the queue.
    pub fn read<T>(&self, question: impl FnOnce(&State) -> T) -> T {
        question(&self.shared.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ids of requests that changed, from now on. A receiver that lags has to look at the state again.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<RequestId> {
        self.shared.changes.subscribe()
    }

    /// The log.
    #[must_use]
    pub fn store(&self) -> &Arc<SqliteStore> {
        &self.shared.store
    }

    /// The signing devices.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    /// The verifier key of the log, as a charter lists it.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.shared.verifier_key
    }

    /// This process.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.shared.instance
    }

    /// Whether and why nothing is decided any more.
    #[must_use]
    pub fn latch(&self) -> &Latch {
        &self.shared.latch
    }

    /// The wall clock, for answers that carry a time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.wall()
    }

    /// For verifiers and their hooks.
    fn fetcher(&self) -> &Fetcher {
        self.shared.fetcher.get_or_init(Fetcher::new)
    }

    fn daemon(&self) -> Actor {
        Actor::Daemon { instance: self.shared.instance.clone() }
    }

    /// A signed checkpoint that covers at least `size` entries; the newest durable ones if it has to be made.
    pub async fn checkpoint(&self, size: u64) -> Result<SignedCheckpoint, EngineError> {
        if let Some(checkpoint) = self.covering(size) {
            return Ok(checkpoint);
        }
        let engine = self.clone();
        self.with_devices(move |_turn| engine.cover(size)).await
    }

    /// The newest signed checkpoint, if it covers so many entries.
    fn covering(&self, size: u64) -> Option<SignedCheckpoint> {
        self.shared.checkpoint.borrow().clone().filter(|newest| newest.unverified().size >= size)
    }

    /// Blocks until the newest checkpoint covers at least `size` entries. It becomes a row of the database later (the
    /// timer does that): the tree it signs is durable, and a lost one is signed again.
    fn cover(&self, size: u64) -> Result<SignedCheckpoint, EngineError> {
        if let Some(checkpoint) = self.covering(size) {
            return Ok(checkpoint);
        }
        let frontier = self.shared.store.frontier();
        let key = &self.shared.verifier_key;
        let checkpoint =
            Checkpoint { origin: key.name().clone(), size: frontier.size(), root: frontier.root() };
        let signature = self.shared.keys.log.sign_ed25519(checkpoint.to_string().as_bytes())?;
        let signed = SignedCheckpoint::assemble(checkpoint, key, &signature)?;
        self.shared.checkpoint.send_if_modified(|current| {
            let is_newer =
                current.as_ref().is_none_or(|old| old.unverified().size <= signed.unverified().size);
            if is_newer {
                *current = Some(signed.clone());
            }
            is_newer
        });
        Ok(signed)
    }

    /// Runs something that asks the devices away from the async threads, and waits for it, but not for ever: a device
    /// that has hung keeps its thread, and the caller tries again. Once as many threads hang as may, nobody waits in vain
    /// for longer, and no more are lost.
    ///
    /// The work is given a turn, to be held while it makes a checkpoint: whoever waited for it mostly finds that the one
    /// made meanwhile covers its entries as well, and no more than one thread hangs in the log's device.
    async fn with_devices<T: Send + 'static>(
        &self,
        work: impl FnOnce(OwnedMutexGuard<()>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let answer = async {
            let turn = Arc::clone(&self.shared.checkpointing).lock_owned().await;
            let place = Arc::clone(&self.shared.device_threads).acquire_owned().await;
            let place = place.map_err(|_| EngineError::Stopping)?;
            blocking(move || {
                let _place = place;
                work(turn)
            })
            .await?
        };
        tokio::time::timeout(self.shared.device_patience, answer)
            .await
            .unwrap_or(Err(EngineError::DeviceSilent))
    }

    /// What failed at the last attempt to sign for a request that is authorized.
    #[must_use]
    pub fn setback(&self, id: &RequestId) -> Option<Setback> {
        self.shared.setbacks.of(id)
    }

    /// The state of a request, in a word.
    #[must_use]
    pub fn state_of(&self, id: &RequestId) -> &'static str {
        self.read(|state| match (state.request(id), state.closed(id)) {
            (Some(request), _) => request.state(),
            (None, Some(closed)) => closed.outcome.as_str(),
            (None, None) => "unknown",
        })
    }
}

/// Runs something that blocks away from the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| EngineError::Stopping)
}
