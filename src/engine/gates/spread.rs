//! How one kill spreads: whom it was sent to, and who has acknowledged it when.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::{DEADLINE, GateKey, millis};
use crate::{
    domain::{
        gate::{Enforced, MAX_EMBEDDED, MAX_SILENT, SignedAck, Standing},
        id::{KillId, PrincipalId},
    },
    jose::Digest,
};

/// See the module.
pub(super) struct Spread {
    pub(super) kill: KillId,
    /// When it was recorded; none where that was before this process.
    began: Option<Instant>,
    /// The gates that were there then.
    pub(super) expected: BTreeMap<GateKey, PrincipalId>,
    pub(super) acks: BTreeMap<GateKey, (Arc<SignedAck>, Instant)>,
    /// Of those expected, how many have acknowledged.
    enforced: usize,
    /// Whether it is in the log how it was enforced, or need not be.
    pub(super) recorded: bool,
}

impl Spread {
    pub(super) fn begin(kill: KillId, expected: BTreeMap<GateKey, PrincipalId>) -> Self {
        let recorded = expected.is_empty();
        Self { kill, began: Some(Instant::now()), expected, acks: BTreeMap::new(), enforced: 0, recorded }
    }

    /// One that was recorded before this process began: nobody knows any more who was there.
    pub(super) fn late(kill: KillId) -> Self {
        Self { began: None, ..Self::begin(kill, BTreeMap::new()) }
    }

    /// Takes in an acknowledgement; whether it is the gate's first.
    pub(super) fn acknowledge(&mut self, key: &GateKey, ack: &Arc<SignedAck>, at: Instant) -> bool {
        if self.acks.contains_key(key) {
            return false;
        }
        self.acks.insert(key.clone(), (Arc::clone(ack), at));
        self.enforced += usize::from(self.expected.contains_key(key));
        true
    }

    /// What a gate said, and how soon, in milliseconds.
    pub(super) fn ack(&self, key: &GateKey) -> Option<(Arc<SignedAck>, Option<u64>)> {
        let (ack, at) = self.acks.get(key)?;
        Some((Arc::clone(ack), self.began.map(|began| millis(at.saturating_duration_since(began)))))
    }

    /// Whether it is time to record it: all have said so, or, where that counts, the deadline has passed.
    pub(super) fn is_due(&self, or_late: bool) -> bool {
        let is_late = || or_late && self.began.is_some_and(|began| began.elapsed() >= DEADLINE);
        !self.recorded && (self.enforced == self.expected.len() || is_late())
    }

    /// The acknowledgements of those expected, the soonest first.
    fn soonest(&self) -> Vec<(u64, &Arc<SignedAck>)> {
        let Some(began) = self.began else { return Vec::new() };
        let expected = self.acks.iter().filter(|(key, _)| self.expected.contains_key(*key));
        let after = |at: &Instant| millis(at.saturating_duration_since(began));
        let mut all: Vec<_> = expected.map(|(_, (ack, at))| (after(at), ack)).collect();
        all.sort_by_key(|(after, _)| *after);
        all
    }

    pub(super) fn standing(&self) -> Standing {
        let soonest = self.soonest();
        // Nearest rank: the smallest time within which that many have acknowledged.
        let within = |percent: usize| {
            let rank = (soonest.len() * percent).div_ceil(100);
            soonest.get(rank.saturating_sub(1)).map(|(after, _)| *after)
        };
        Standing {
            gates: self.expected.len() as u64,
            enforced: soonest.len() as u64,
            p50: within(50),
            p99: within(99),
        }
    }

    pub(super) fn enforced(&self) -> Enforced {
        let soonest = self.soonest();
        let (first, others) = soonest.split_at(soonest.len().min(MAX_EMBEDDED));
        let digest = |(_, ack): &(u64, &Arc<SignedAck>)| Digest::of(&ack.jws().payload);
        let silent = self.expected.iter().filter(|(key, _)| !self.acks.contains_key(*key));
        Enforced {
            kill: self.kill,
            standing: self.standing(),
            silent: silent.take(MAX_SILENT).map(|((_, gate), id)| (id.clone(), gate.clone())).collect(),
            acks: first.iter().map(|(_, ack)| ack.jws().clone()).collect(),
            rest: Enforced::rest_of(others.iter().map(digest)),
        }
    }
}
