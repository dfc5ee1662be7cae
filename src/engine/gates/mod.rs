//! Which gates are there, and which of them enforce what.
//!
//! Invariants: an acknowledgement counts only once its signature was verified by the charter in force, and its head is one of this
//! log's chain; all of it is bounded, whatever gates there are. Nothing here decides about power: it is shown to custodians, who
//! verify the signatures themselves, and summed up in one entry for each kill.

mod spread;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

use self::spread::Spread;
use super::{Decided, Engine, EngineError, blocking};
use crate::{
    domain::{
        Command, Refusal,
        event::{Actor, Event},
        gate::{Ack, GateRefusal, SignedAck, Standing, UseReport},
        id::{GateId, KillId, PrincipalId},
        kill::Kill,
        statement::MAX_STATEMENT_BYTES,
    },
    jose::{Digest, GeneralJws},
};

/// Gates that are known at a time, those that have gone not long ago included.
const MAX_GATES: usize = 16_384;
/// How long one that has gone is shown.
const SHOWN_FOR: Duration = Duration::from_hours(1);
/// Signed acknowledgements that are kept, of all kills together.
const MAX_ACKS: usize = 32_768;
/// How long gates have to acknowledge a kill: as long as one that hears nothing goes on.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often the deadlines are looked at.
const TICK: Duration = Duration::from_millis(500);

/// A process of a verifier: its key, and its name among those that hold the key.
pub type GateKey = (Digest, GateId);

/// What is known of a gate.
#[derive(Debug, Clone)]
pub struct GateView {
    /// Whose it is.
    pub verifier: PrincipalId,
    /// Its key and name.
    pub key: GateKey,
    /// Watches that it has open.
    pub watches: u32,
    /// Milliseconds since it began its first watch, or ended its last.
    pub since: u64,
    /// Its newest acknowledgement, and how many milliseconds ago that came.
    pub newest: Option<(Arc<SignedAck>, u64)>,
    /// Its acknowledgement of the kill that was asked for, and after how many milliseconds that came; none where the daemon was
    /// started since.
    pub ack: Option<(Arc<SignedAck>, Option<u64>)>,
    /// Whether it was there when that kill was recorded.
    pub expected: bool,
}

/// How a kill spreads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpreadView {
    /// The counts.
    pub standing: Standing,
    /// Whether the log has them.
    pub recorded: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Gates {
    inner: Mutex<Inner>,
    /// Woken when a kill is acknowledged by all.
    done: Notify,
    verifying: Verifying,
}

/// One at a time, so that ten thousand gates leave a processor to those who ask for access.
struct Verifying(Semaphore);

impl Default for Verifying {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

#[derive(Default)]
struct Inner {
    present: BTreeMap<GateKey, Presence>,
    /// By epoch.
    spreads: BTreeMap<u64, Spread>,
    acks: usize,
}

struct Presence {
    verifier: PrincipalId,
    watches: u32,
    since: Instant,
    newest: Option<(Arc<SignedAck>, Instant)>,
}

/// A watch of a gate; the gate has gone when it is dropped.
pub struct GateGuard {
    engine: Engine,
    key: GateKey,
}

impl Drop for GateGuard {
    fn drop(&mut self) {
        let mut inner = self.engine.shared.gates.lock();
        if let Some(presence) = inner.present.get_mut(&self.key) {
            presence.watches = presence.watches.saturating_sub(1);
            if presence.watches == 0 {
                presence.since = Instant::now();
            }
        }
    }
}

impl Gates {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kill was recorded: whoever is there now is expected to enforce it.
    pub(super) fn notice(&self, event: &Event) {
        let Event::KillRecorded { kill: statement, epoch } = event else { return };
        let Ok(kill) = Kill::parse(&statement.payload) else { return };
        let mut inner = self.lock();
        let there = inner.present.iter().filter(|(_, presence)| presence.watches > 0);
        let expected = there.map(|(key, presence)| (key.clone(), presence.verifier.clone())).collect();
        let spread = Spread::begin(kill.id, expected);
        inner.spreads.insert(*epoch, spread);
        inner.bound();
    }
}

impl Inner {
    /// Forgets the oldest acknowledgements beyond the limit, but those of the newest kill.
    fn bound(&mut self) {
        while self.acks > MAX_ACKS || self.spreads.len() > MAX_ACKS {
            if self.spreads.len() < 2 {
                return;
            }
            if let Some((_, spread)) = self.spreads.pop_first() {
                self.acks -= spread.acks.len();
            }
        }
    }

    fn presence(&mut self, key: &GateKey, verifier: &PrincipalId) -> Option<&mut Presence> {
        if self.present.len() >= MAX_GATES && !self.present.contains_key(key) {
            let is_old = |one: &Presence| one.watches == 0 && one.since.elapsed() > SHOWN_FOR;
            self.present.retain(|_, one| !is_old(one));
            if self.present.len() >= MAX_GATES {
                return None;
            }
        }
        let fresh =
            || Presence { verifier: verifier.clone(), watches: 0, since: Instant::now(), newest: None };
        Some(self.present.entry(key.clone()).or_insert_with(fresh))
    }
}

impl Engine {
    /// A gate begins to watch. Beyond the limit it is served all the same, and not shown.
    #[must_use]
    pub fn gate_watches(&self, key: GateKey, verifier: &PrincipalId) -> Option<GateGuard> {
        let mut inner = self.shared.gates.lock();
        let presence = inner.presence(&key, verifier)?;
        if presence.watches == 0 {
            presence.since = Instant::now();
        }
        presence.watches += 1;
        Some(GateGuard { engine: self.clone(), key })
    }

    /// Takes a gate's acknowledgement of kills.
    pub async fn acknowledge(&self, jws: &[u8]) -> Result<(), EngineError> {
        let arrived = Instant::now();
        let jws = GeneralJws::parse(jws, MAX_STATEMENT_BYTES).map_err(Refusal::from)?;
        let charter = self.charter()?;
        let signed = {
            let _turn = self.shared.gates.verifying.0.acquire().await.map_err(|_| EngineError::Stopping)?;
            blocking(move || Ack::verify(jws, &charter)).await??
        };
        let kills = self.kills();
        let ack = signed.about();
        if !kills.may_have(ack.head) {
            return Err(Refusal::from(GateRefusal::OtherChain(ack.head.step)).into());
        }
        let verifier = self.charter()?.verifier_of(&signed.kid())?.id.clone();
        let (key, ack) = ((signed.kid(), ack.gate.clone()), Arc::new(signed));
        let mut inner = self.shared.gates.lock();
        if let Some(presence) = inner.presence(&key, &verifier) {
            presence.newest = Some((Arc::clone(&ack), arrived));
        }
        let mut fresh = 0;
        for recorded in kills.standing() {
            let digest = Digest::of(&recorded.statement.payload);
            if !ack.about().kills.contains(&digest) {
                continue;
            }
            let spread = inner.spreads.entry(recorded.epoch);
            let spread = spread.or_insert_with(|| Spread::late(recorded.kill.id));
            fresh += usize::from(spread.acknowledge(&key, &ack, arrived));
            if spread.is_due(false) {
                self.shared.gates.done.notify_one();
            }
        }
        inner.acks += fresh;
        inner.bound();
        Ok(())
    }

    /// Records what a gate let pass. Returns the newest number of that gate that the log has.
    pub async fn report_uses(&self, actor: Actor, jws: &[u8]) -> Result<(Decided, u64), EngineError> {
        let jws = GeneralJws::parse(jws, MAX_STATEMENT_BYTES).map_err(Refusal::from)?;
        let charter = self.charter()?;
        let signed = blocking(move || UseReport::verify(jws, &charter)).await??;
        let seq = signed.about().seq;
        Ok((self.submit(actor, Command::Report(Box::new(signed))).await?, seq))
    }

    /// The gates, and how the kill of this id spreads. In the order of their verifiers and names.
    #[must_use]
    pub fn gates(&self, kill: Option<&KillId>) -> (Vec<GateView>, Option<SpreadView>) {
        let inner = self.shared.gates.lock();
        let spread = kill.and_then(|id| inner.spreads.values().find(|spread| spread.kill == *id));
        let now = Instant::now();
        let mut gates: Vec<GateView> = inner
            .present
            .iter()
            .map(|(key, presence)| GateView {
                verifier: presence.verifier.clone(),
                key: key.clone(),
                watches: presence.watches,
                since: millis(now - presence.since),
                newest: presence.newest.as_ref().map(|(ack, at)| (Arc::clone(ack), millis(now - *at))),
                ack: spread.and_then(|spread| spread.ack(key)),
                expected: spread.is_some_and(|spread| spread.expected.contains_key(key)),
            })
            .collect();
        gates.sort_by(|a, b| (&a.verifier, &a.key.1, &a.key.0).cmp(&(&b.verifier, &b.key.1, &b.key.0)));
        let view = |spread: &Spread| SpreadView { standing: spread.standing(), recorded: spread.recorded };
        (gates, spread.map(view))
    }
}

/// Writes how each kill came to be enforced into the log: when all have said so, or at the deadline.
pub(super) async fn run(engine: Engine, mut stop: tokio::sync::watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = super::start::stopped(&mut stop) => return,
            () = engine.shared.gates.done.notified() => {}
            _ = ticks.tick() => {}
        }
        let due: Vec<(u64, _)> = {
            let mut inner = engine.shared.gates.lock();
            let due = inner.spreads.iter_mut().filter(|(_, spread)| spread.is_due(true));
            due.map(|(epoch, spread)| {
                spread.recorded = true;
                (*epoch, spread.enforced())
            })
            .collect()
        };
        for (epoch, enforced) in due {
            let submitted = engine.submit(engine.daemon(), Command::Enforced(Box::new(enforced))).await;
            match submitted {
                // Lifted meanwhile, or forgotten.
                Ok(_) | Err(EngineError::Refused(Refusal::Gate(GateRefusal::NotDue))) => {}
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        epoch,
                        "kill.enforced.unrecorded"
                    );
                    if let Some(spread) = engine.shared.gates.lock().spreads.get_mut(&epoch) {
                        spread.recorded = false;
                    }
                }
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
