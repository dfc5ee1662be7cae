//! What every call passes: who is it, may he call again so soon, and what is noted of a refusal.
//!
//! Invariants: no handler asks the engine before [`Front::enter`] has let the call in; every refusal that leaves here
//! is typed, and an attempt at power is counted for the audit log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tonic::{Request, Status};

use super::places::{Place, Places};
use super::roster::{Caller, Roster, Rosters};
use super::server::Rank;
use super::status::{Kind, ServiceError};
use super::tls::Peer;
use crate::domain::event::Actor;
use crate::domain::time::Timestamp;
use crate::domain::{Command, charter::Charter};
use crate::engine::quota::{Client, Quotas, Rate, Refusals};
use crate::engine::{Engine, EngineError};
use crate::jose::Digest;

/// Clients whose calls are counted one by one; a charter has far fewer keys.
const MOST_CLIENTS: usize = 4_096;
/// Clients and minutes of refusals that wait for the log.
const MOST_REFUSALS: usize = 256;
/// Streams of all clients together, and of each.
const MOST_STREAMS: usize = 2_048;
const MOST_STREAMS_EACH: usize = 128;
/// Watches of kills by verifiers together, and by each: as many processes may share its key.
const MOST_GATES: usize = 16_384;
const MOST_GATES_EACH: usize = 12_288;

/// How often clients may call.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Each enrolled client.
    pub client: Rate,
    /// Each verifier, whose key many processes may share.
    pub verifier: Rate,
    /// Each enrolled client, with kills and lifts.
    pub killers: Rate,
    /// All strangers together.
    pub strangers: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        let rate = |per_minute, burst| Rate { per_minute, burst };
        let n = |n| std::num::NonZeroU32::new(n).unwrap_or(std::num::NonZeroU32::MIN);
        Self {
            client: rate(n(3_000), n(300)),
            verifier: rate(n(120_000), n(30_000)),
            killers: rate(n(6_000), n(600)),
            strangers: rate(n(300), n(60)),
        }
    }
}

/// Shared by all services.
pub(super) struct Front {
    /// Decides.
    pub(super) engine: Engine,
    /// Turns true when the server stops.
    stop: watch::Receiver<bool>,
    rosters: Rosters,
    clients: Mutex<Quotas>,
    verifiers: Mutex<Quotas>,
    /// For kills and lifts alone, so that no other call can use it up.
    killers: Mutex<Quotas>,
    /// For reports of uses, each of which is an entry: a stolen key of a gate must not fill the disk with them.
    reporters: Mutex<Quotas>,
    strangers: Mutex<Quotas>,
    refusals: Mutex<Refusals>,
    streams: Arc<Places>,
    gates: Arc<Places>,
}

/// A call that was let in.
pub(super) struct Entered {
    /// Who calls.
    pub(super) caller: Caller,
    /// The charter he was found in.
    pub(super) charter: Arc<Charter>,
    /// When, by the daemon's clock.
    pub(super) now: Timestamp,
}

impl Front {
    pub(super) fn new(engine: Engine, rates: Rates, stop: watch::Receiver<bool>) -> Self {
        Self {
            engine,
            stop,
            rosters: Rosters::default(),
            clients: Mutex::new(Quotas::new(rates.client, MOST_CLIENTS)),
            verifiers: Mutex::new(Quotas::new(rates.verifier, MOST_CLIENTS)),
            killers: Mutex::new(Quotas::new(rates.killers, MOST_CLIENTS)),
            reporters: Mutex::new(Quotas::new(rates.client, MOST_CLIENTS)),
            strangers: Mutex::new(Quotas::new(rates.strangers, 1)),
            refusals: Mutex::new(Refusals::new(MOST_REFUSALS)),
            streams: Places::new(MOST_STREAMS, MOST_STREAMS_EACH),
            gates: Places::new(MOST_GATES, MOST_GATES_EACH),
        }
    }

    /// Lets a call of an enrolled client in.
    pub(super) fn enter<T>(&self, request: &Request<T>) -> Result<Entered, Status> {
        self.enter_by(request, &[&self.clients, &self.verifiers], Roster::caller)
    }

    /// The same for a kill or a lift, whatever else the client has called.
    pub(super) fn enter_to_kill<T>(&self, request: &Request<T>) -> Result<Entered, Status> {
        self.enter_by(request, &[&self.killers; 2], Roster::caller)
    }

    /// The same for a report of uses. What is refused for coming too often, gates keep and send again.
    pub(super) fn enter_to_report<T>(&self, request: &Request<T>) -> Result<Entered, Status> {
        self.enter_by(request, &[&self.reporters; 2], Roster::caller)
    }

    /// The same for what it takes to read and sign a proposed charter, also by a custodian whom only that one names.
    pub(super) fn enter_to_sign<T>(&self, request: &Request<T>) -> Result<Entered, Status> {
        self.enter_by(request, &[&self.clients, &self.verifiers], Roster::signer)
    }

    fn enter_by<T>(
        &self,
        request: &Request<T>,
        [clients, verifiers]: &[&Mutex<Quotas>; 2],
        find: for<'a> fn(&'a Roster, Option<&Digest>, i64) -> Result<&'a Caller, ServiceError>,
    ) -> Result<Entered, Status> {
        let key = request.extensions().get::<Peer>().and_then(|peer| peer.key);
        let now = self.engine.now();
        let entered = self.roster().and_then(|roster| {
            let known = key.filter(|key| roster.knows(key));
            let is_verifier = known.is_some_and(|key| roster.rank(&key) == Rank::Verifier);
            self.spend(known, if is_verifier { verifiers } else { clients })?;
            let caller = find(&roster, key.as_ref(), now.seconds())?.clone();
            Ok(Entered { caller, charter: Arc::clone(&roster.charter), now })
        });
        entered.map_err(|error| {
            // Whoever is let in never counts as a stranger, and no stranger's key is worth an entry of its own.
            let known = key.filter(|key| self.knows(key));
            if matches!(error.kind(), Kind::Unauthenticated | Kind::PermissionDenied) {
                self.note(known, error.reason());
            }
            tracing::debug!(
                key = key.map(tracing::field::display),
                reason = error.reason(),
                "grpc.call.stopped"
            );
            error.into()
        })
    }

    /// Asks again whether a caller may stay: for streams, which outlive charters and terms.
    pub(super) fn still(&self, caller: &Caller) -> Result<Entered, ServiceError> {
        let now = self.engine.now();
        let roster = self.roster()?;
        let caller = roster.caller(Some(&caller.key), now.seconds())?.clone();
        Ok(Entered { caller, charter: Arc::clone(&roster.charter), now })
    }

    /// A place for a stream that lasts.
    pub(super) fn stream_place(&self, caller: &Caller) -> Result<Place, ServiceError> {
        place(&self.streams, caller)
    }

    /// A place for a watch of kills, which every process of a verifier has.
    pub(super) fn watch_place(&self, caller: &Caller) -> Result<Place, ServiceError> {
        place(if caller.rank == Rank::Verifier { &self.gates } else { &self.streams }, caller)
    }

    /// Resolves when the server stops.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.clone();
        // Nobody left who could stop it is a stop, too.
        async move { drop(stop.wait_for(|stop| *stop).await) }
    }

    /// The status of what the engine refused; attempts at power are counted for the log.
    pub(super) fn refused(&self, caller: &Caller, error: &EngineError) -> Status {
        if let EngineError::Refused(refusal) = error
            && refusal.is_attempt()
        {
            self.note(Some(caller.key), refusal.reason());
        }
        tracing::info!(caller = %caller.principal, reason = error.reason(), "grpc.call.refused");
        ServiceError::from(error).into()
    }

    /// The status of what is refused here, because the caller is not one who may do it.
    pub(super) fn denied(&self, caller: &Caller, reason: &'static str, message: &str) -> Status {
        self.note(Some(caller.key), reason);
        tracing::info!(caller = %caller.principal, reason, "grpc.call.refused");
        ServiceError::new(Kind::PermissionDenied, reason, message).into()
    }

    /// Whether the charter of this moment has this key.
    pub(super) fn knows(&self, key: &Digest) -> bool {
        self.rank(key) != Rank::Stranger
    }

    /// Whose key this is by the charter of this moment.
    pub(super) fn rank(&self, key: &Digest) -> Rank {
        self.roster().map_or(Rank::Stranger, |roster| roster.rank(key))
    }

    /// Writes counted refusals into the log: those of minutes that are over, or all of them at the end.
    pub(super) async fn record(&self, all: bool) {
        let drained = {
            let mut refusals = lock(&self.refusals);
            if all { refusals.drain_all() } else { refusals.drain(self.engine.now().seconds()) }
        };
        for refused in drained {
            for (reason, count) in refused.reasons {
                let minute = Timestamp::from_seconds(refused.minute.saturating_mul(60));
                let command =
                    Command::Refused { minute, peer: refused.client, reason: reason.to_owned(), count };
                let actor = Actor::Daemon { instance: self.engine.instance().clone() };
                if let Err(error) = self.engine.submit(actor, command).await {
                    tracing::warn!(%error, reason, count, "grpc.refusals.unrecorded");
                }
            }
        }
    }

    fn roster(&self) -> Result<Arc<Roster>, ServiceError> {
        self.rosters.current(&self.engine)
    }

    fn spend(&self, client: Client, clients: &Mutex<Quotas>) -> Result<(), ServiceError> {
        let quotas = if client.is_some() { clients } else { &self.strangers };
        lock(quotas).take(client, std::time::Instant::now()).map_err(|exhausted| {
            ServiceError::new(Kind::ResourceExhausted, "RATE_LIMITED", exhausted.to_string())
                .with("retry_after_ms", exhausted.retry_after.as_millis())
        })
    }

    fn note(&self, client: Client, reason: &'static str) {
        lock(&self.refusals).note(client, reason, self.engine.now().seconds());
    }
}

fn place(places: &Arc<Places>, caller: &Caller) -> Result<Place, ServiceError> {
    places.take(Some(caller.key)).ok_or_else(|| {
        let message = "too many streams are open: end some, or try later";
        ServiceError::new(Kind::ResourceExhausted, "TOO_MANY_STREAMS", message)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
