//! How a kill came to be enforced: the proof that goes into the log, once for each kill.
//!
//! Invariants: the signed acknowledgements in it verify by the charter in force when it is recorded, each by another gate, and
//! each names the kill; the counts do not contradict them. That a gate is silent, only the daemon says.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Ack, GateRefusal};
use crate::{
    domain::{
        id::{GateId, KillId, PrincipalId},
        refusal::Refusal,
        state::State,
    },
    jose::{Digest, GeneralJws},
};

/// Signed acknowledgements in an entry at most.
pub const MAX_EMBEDDED: usize = 8;
/// Names of silent gates in an entry at most.
pub const MAX_SILENT: usize = 64;

/// How a kill came to be enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enforced {
    /// The kill.
    pub kill: KillId,
    /// The counts.
    pub standing: Standing,
    /// Gates that were there and have not acknowledged it, as far as there is room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<(PrincipalId, GateId)>,
    /// The first acknowledgements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acks: Vec<GeneralJws>,
    /// SHA-256 over the digests of the payloads of all others, in the order of these digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Digest>,
}

/// How many gates enforce a kill, and how soon they did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Gates that were there.
    pub gates: u64,
    /// Those that have acknowledged it.
    pub enforced: u64,
    /// Milliseconds from its record to the acknowledgement of half of them, by the daemon's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<u64>,
    /// The same for 99 of 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<u64>,
}

impl Enforced {
    /// Whether this may be recorded; the epoch of the kill.
    pub(in crate::domain) fn judge(&self, state: &State) -> Result<u64, Refusal> {
        let charter = state.charter().ok_or(Refusal::NoCharter)?;
        let recorded = state.kills().get(&self.kill).ok_or(GateRefusal::NotDue)?;
        if state.gates().enforced(recorded.epoch).is_some() {
            return Err(GateRefusal::NotDue.into());
        }
        self.adds_up()?;
        let killed = Digest::of(&recorded.statement.payload);
        let mut said = BTreeSet::new();
        for jws in &self.acks {
            let signed = Ack::verify(jws.clone(), charter)?;
            if !signed.about().kills.contains(&killed) {
                return Err(GateRefusal::Contradiction("an acknowledgement is of another kill").into());
            }
            if !said.insert((signed.kid(), signed.about().gate.clone())) {
                return Err(GateRefusal::Contradiction("a gate counts twice").into());
            }
        }
        let verifiers = &charter.document().verifiers;
        if self.silent.iter().any(|(id, _)| !verifiers.iter().any(|verifier| verifier.id == *id)) {
            return Err(GateRefusal::Contradiction("a silent gate is no verifier's").into());
        }
        Ok(recorded.epoch)
    }

    /// The digest over acknowledgements that are not in the entry, by the digests of their payloads; none over none.
    #[must_use]
    pub fn rest_of(payloads: impl Iterator<Item = Digest>) -> Option<Digest> {
        let sorted: BTreeSet<Digest> = payloads.collect();
        let bytes: Vec<u8> = sorted.iter().flat_map(Digest::as_bytes).copied().collect();
        (!sorted.is_empty()).then(|| Digest::of(&bytes))
    }

    fn adds_up(&self) -> Result<(), GateRefusal> {
        let Standing { gates, enforced, p50, p99 } = self.standing;
        let (acks, silent) = (self.acks.len() as u64, self.silent.len() as u64);
        if self.acks.len() > MAX_EMBEDDED || self.silent.len() > MAX_SILENT {
            return Err(GateRefusal::Contradiction("too much of it"));
        }
        let counts = gates > 0 && enforced <= gates && silent <= gates - enforced && acks <= enforced;
        if !counts || (acks < enforced) != self.rest.is_some() {
            return Err(GateRefusal::Contradiction("the counts do not fit what is there"));
        }
        if p50.is_some() != (enforced > 0) || p99.is_some() != p50.is_some() || p50 > p99 {
            return Err(GateRefusal::Contradiction("the times do not fit the counts"));
        }
        Ok(())
    }
}
