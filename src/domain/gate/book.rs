//! What the log knows of gates: up to which number each has reported, and who used which live token where and when.
//!
//! Invariants: bounded, whatever gates report; a report counts once; what is said of a request is forgotten with it, and the log
//! keeps it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Enforced, GateRefusal, Standing, Use, UseReport};
use crate::{
    domain::{
        id::{GateId, PrincipalId, RequestId},
        state::State,
        time::Timestamp,
    },
    jose::{Digest, GeneralJws},
};

/// Gates that report at most.
const MAX_GATES: usize = 16_384;
/// Seconds before and after now in which a report was signed.
pub(in crate::domain) const REPORT_WITHIN: i64 = 8 * 86_400;
/// Seconds after which a gate that is silent may be forgotten: nothing that it signed before is taken any more.
const FORGET_AFTER: i64 = 2 * REPORT_WITHIN + 86_400;
/// Places at which one token is used, that are kept apart.
const MAX_PLACES: usize = 32;
/// Texts that say for what, of one place.
const MAX_WHATS: usize = 8;
/// Kills whose enforcement is remembered.
const MAX_ENFORCED: usize = 256;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Gates {
    /// By the key and the gate's name.
    reported: BTreeMap<(Digest, GateId), Reported>,
    uses: BTreeMap<RequestId, RequestUses>,
    /// By the epoch of the kill.
    enforced: BTreeMap<u64, Standing>,
}

/// The newest report of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    /// Its number.
    pub seq: u64,
    /// Digest of its payload.
    pub digest: Digest,
    /// When it was recorded, Unix seconds.
    pub at: i64,
}

/// Who used a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestUses {
    /// All uses.
    pub total: u64,
    /// By place, in the order of the first report.
    pub places: Vec<UsedAt>,
}

/// Uses of one token at one gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsedAt {
    /// Whose gate.
    pub verifier: PrincipalId,
    /// Which one.
    pub gate: GateId,
    /// The first use, Unix seconds by the gate's clock.
    pub first: i64,
    /// The last one, or the end of the last connection that was cut.
    pub last: i64,
    /// How many.
    pub count: u64,
    /// For what, as far as there is room.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub what: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    reported: Vec<(Digest, GateId, Reported)>,
    uses: Vec<(RequestId, RequestUses)>,
    enforced: Vec<(u64, Standing)>,
}

impl From<Gates> for Stored {
    fn from(gates: Gates) -> Self {
        Self {
            reported: gates.reported.into_iter().map(|((kid, gate), it)| (kid, gate, it)).collect(),
            uses: gates.uses.into_iter().collect(),
            enforced: gates.enforced.into_iter().collect(),
        }
    }
}

impl From<Stored> for Gates {
    fn from(stored: Stored) -> Self {
        Self {
            reported: stored.reported.into_iter().map(|(kid, gate, it)| ((kid, gate), it)).collect(),
            uses: stored.uses.into_iter().collect(),
            enforced: stored.enforced.into_iter().collect(),
        }
    }
}

impl Gates {
    /// Whether no gate has ever reported anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reported.is_empty() && self.uses.is_empty() && self.enforced.is_empty()
    }

    /// The newest report of a gate.
    #[must_use]
    pub fn reported(&self, kid: &Digest, gate: &GateId) -> Option<&Reported> {
        self.reported.get(&(*kid, gate.clone()))
    }

    /// Who used the token of a request that is live, or ended not long ago.
    #[must_use]
    pub fn uses(&self, id: &RequestId) -> Option<&RequestUses> {
        self.uses.get(id)
    }

    /// How the kill that began this epoch was enforced, as the log has it.
    #[must_use]
    pub fn enforced(&self, epoch: u64) -> Option<&Standing> {
        self.enforced.get(&epoch)
    }

    /// Whether this report is to be recorded; false if it is. `now`: Unix seconds.
    pub(in crate::domain) fn is_new(
        &self,
        kid: Digest,
        report: &UseReport,
        digest: Digest,
        now: i64,
    ) -> Result<bool, GateRefusal> {
        match self.reported(&kid, &report.gate) {
            Some(known) if known.seq == report.seq && known.digest == digest => Ok(false),
            Some(known) if known.seq >= report.seq => Err(GateRefusal::Number { last: known.seq }),
            None if self.reported.len() >= MAX_GATES
                && !self.reported.values().any(|known| is_idle(known, now)) =>
            {
                Err(GateRefusal::TooMany)
            }
            _ => Ok(true),
        }
    }

    /// Takes in a report. `live`: whether something of the request is known.
    pub(in crate::domain) fn record(
        &mut self,
        (kid, verifier): (Digest, &PrincipalId),
        report: &UseReport,
        digest: Digest,
        now: i64,
        is_known: impl Fn(&RequestId) -> bool,
    ) {
        let key = (kid, report.gate.clone());
        if self.reported.len() >= MAX_GATES && !self.reported.contains_key(&key) {
            self.reported.retain(|_, known| !is_idle(known, now));
        }
        self.reported.insert(key, Reported { seq: report.seq, digest, at: now });
        for one in report.uses.iter().filter(|one| is_known(&one.jti)) {
            self.uses.entry(one.jti).or_default().add(verifier, &report.gate, one);
        }
    }

    pub(in crate::domain) fn enforce(&mut self, epoch: u64, standing: Standing) {
        self.enforced.insert(epoch, standing);
        if self.enforced.len() > MAX_ENFORCED {
            self.enforced.pop_first();
        }
    }

    pub(in crate::domain) fn forget(&mut self, id: &RequestId) {
        self.uses.remove(id);
    }
}

impl RequestUses {
    fn add(&mut self, verifier: &PrincipalId, gate: &GateId, one: &Use) {
        self.total = self.total.saturating_add(one.count);
        let known = self.places.iter().position(|place| place.verifier == *verifier && place.gate == *gate);
        let full = self.places.len() >= MAX_PLACES;
        // Beyond the last place all others count as it: who they were, the log has.
        let place = known.or(full.then_some(MAX_PLACES - 1)).and_then(|at| self.places.get_mut(at));
        let Some(place) = place else {
            return self.places.push(UsedAt {
                verifier: verifier.clone(),
                gate: gate.clone(),
                first: one.from,
                last: one.until,
                count: one.count,
                what: one.what.iter().cloned().collect(),
            });
        };
        place.first = place.first.min(one.from);
        place.last = place.last.max(one.until);
        place.count = place.count.saturating_add(one.count);
        if place.what.len() < MAX_WHATS {
            place.what.extend(one.what.clone());
        }
    }
}

fn is_idle(known: &Reported, now: i64) -> bool {
    known.at.saturating_add(FORGET_AFTER) < now
}

impl State {
    /// Takes in how a kill came to be enforced.
    pub(in crate::domain) fn enforced(&mut self, enforced: &Enforced) -> Result<(), &'static str> {
        let recorded = self.kills.get(&enforced.kill).ok_or("the kill that it names is not in force")?;
        self.gates.enforce(recorded.epoch, enforced.standing);
        Ok(())
    }

    /// Takes in a recorded report.
    pub(in crate::domain) fn report(
        &mut self,
        statement: &GeneralJws,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        let charter = self.charter.clone().ok_or("no charter is in force")?;
        // It gives nobody anything: its signature was verified when it was decided, and is again by auditors.
        let report = UseReport::parse(&statement.payload).map_err(|_| "the report in it is not valid")?;
        let signature = statement.signatures.first().ok_or("the report in it is signed by nobody")?;
        let kid = signature.header().kid;
        let verifier = charter.verifier_of(&kid).map_err(|_| "the report in it is nobody's")?;
        let digest = Digest::of(&statement.payload);
        if !matches!(self.gates.is_new(kid, &report, digest, at.seconds()), Ok(true)) {
            return Err("the report in it repeats another");
        }
        let (requests, closed) = (&self.requests, &self.closed);
        let is_known = |id: &RequestId| requests.contains_key(id) || closed.contains_key(id);
        self.gates.record((kid, &verifier.id), &report, digest, at.seconds(), is_known);
        Ok(())
    }
}
