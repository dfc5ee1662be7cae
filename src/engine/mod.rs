//! The one place that sequences decide, durable append and effects.
//!
//! Invariants:
//! - One queue (`queue`) decides commands against the newest state, appends the events of a whole batch in one durable
//!   transaction, and only then answers. A refused command has changed nothing.
//! - `state` is what is durable; nobody sees an event before its append returned.
//! - The HSM is asked to sign (`issue`) only for an authorization that is in the log and under a checkpoint.
//! - An invariant found broken latches: nothing is decided any more until a person has looked.

mod clock;
mod error;
mod initialise;
mod issue;
mod latch;
mod queue;
mod recheck;
mod requests;
mod setback;
mod snapshot;
mod start;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use clock::{Clock, ClockFault, SystemClock};
pub use error::EngineError;
pub use initialise::initialise;
pub use latch::Latch;
pub use setback::Setback;
pub use start::{Options, Running};

use crate::{
    domain::{
        Command, State,
        event::Actor,
        id::{InstanceId, RequestId},
        time::Timestamp,
    },
    hsm::{LogSigner, SigningDevice},
    store::SqliteStore,
    tlog::{Checkpoint, SignedCheckpoint, VerifierKey},
};

/// The devices that hold the daemon's keys.
#[derive(Clone)]
pub struct Keys {
    /// Issuing keys.
    pub issuing: Arc<dyn SigningDevice>,
    /// The key of the log.
    pub log: Arc<dyn LogSigner>,
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
}

type Reply = oneshot::Sender<Result<Decided, EngineError>>;

/// A command on its way to the queue.
struct Job {
    actor: Actor,
    command: Command,
    reply: Reply,
}

/// A handle to the engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    jobs: mpsc::Sender<Job>,
    state: RwLock<State>,
    store: Arc<SqliteStore>,
    keys: Keys,
    clock: Arc<dyn Clock>,
    instance: InstanceId,
    verifier_key: VerifierKey,
    changes: broadcast::Sender<RequestId>,
    checkpoint: watch::Sender<Option<SignedCheckpoint>>,
    latch: Latch,
    setbacks: setback::Setbacks,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("instance", &self.shared.instance).finish_non_exhaustive()
    }
}

impl Engine {
    /// Has a command decided, and waits until its events are durable.
    pub async fn submit(&self, actor: Actor, command: Command) -> Result<Decided, EngineError> {
        let (reply, answer) = oneshot::channel();
        let job = Job { actor, command, reply };
        self.shared.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => EngineError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => EngineError::Stopping,
        })?;
        answer.await.unwrap_or(Err(EngineError::Stopping))
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

    fn daemon(&self) -> Actor {
        Actor::Daemon { instance: self.shared.instance.clone() }
    }

    /// A signed checkpoint that covers at least `size` entries; the newest durable ones if it has to be made.
    pub async fn checkpoint(&self, size: u64) -> Result<SignedCheckpoint, EngineError> {
        let newest = self.shared.checkpoint.borrow().clone();
        if let Some(checkpoint) = newest.filter(|newest| newest.unverified().size >= size) {
            return Ok(checkpoint);
        }
        self.sign_checkpoint().await
    }

    async fn sign_checkpoint(&self) -> Result<SignedCheckpoint, EngineError> {
        let frontier = self.shared.store.frontier();
        let key = self.shared.verifier_key.clone();
        let checkpoint =
            Checkpoint { origin: key.name().clone(), size: frontier.size(), root: frontier.root() };
        let device = Arc::clone(&self.shared.keys.log);
        let text = checkpoint.to_string();
        let signature = blocking(move || device.sign_ed25519(text.as_bytes())).await??;
        let signed = SignedCheckpoint::assemble(checkpoint, &key, &signature)?;
        self.shared.store.put_checkpoint(&signed).await?;
        let newer = |current: &mut Option<SignedCheckpoint>| {
            let is_newer =
                current.as_ref().is_none_or(|old| old.unverified().size <= signed.unverified().size);
            if is_newer {
                *current = Some(signed.clone());
            }
            is_newer
        };
        self.shared.checkpoint.send_if_modified(newer);
        Ok(signed)
    }

    /// Waits until the token of a request can be redeemed, the request ends, or the time is over.
    pub async fn wait_issued(&self, id: RequestId, longest: Duration) -> &'static str {
        let mut changes = self.changes();
        let watch = async {
            loop {
                let state = self.state_of(&id);
                if state != "authorized" {
                    return state;
                }
                loop {
                    match changes.recv().await {
                        Ok(other) if other != id => {}
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => break,
                        Err(broadcast::error::RecvError::Closed) => return state,
                    }
                }
            }
        };
        tokio::time::timeout(longest, watch).await.unwrap_or_else(|_| self.state_of(&id))
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
