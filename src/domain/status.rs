//! Places of tokens in the status list: which are taken, and what the list says of them.
//!
//! Invariants: two tokens that could both be alive have never the same place, and a place rests for a while before another
//! token gets it, since verifiers keep old lists; where a token's place is follows from what was signed for it, so that an
//! auditor finds it again and nobody foresees it; the list says of a place no more than whether its token counts.
//!
//! Spec: OAuth Token Status List (draft-ietf-oauth-status-list), section 4: one bit each, the first the lowest of its byte.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    charter::Basis,
    id::{Issuer, RequestId},
    kill::Target,
    request::{Authorization, Life, Request},
    state::State,
};
use crate::jose::{Digest, GeneralJws};

/// Places in the list. Its size tells nobody how many tokens there are.
pub const CAPACITY: u32 = 1 << 17;
/// Places that may be taken at a time: with a quarter free, one is found soon.
const MOST_TAKEN: usize = CAPACITY as usize / 4 * 3;
/// How often a place is looked for; with a quarter free, all of them fail once in a hundred million times.
const TRIES: u32 = 64;
/// Seconds that a place rests after its token has expired.
const REST: i64 = 600;

/// The claim of a token that has a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Where it is.
    pub status_list: Place,
}

/// A place in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// From 0, below [`CAPACITY`].
    pub idx: u32,
    /// Where the list is fetched.
    pub uri: String,
}

/// Where the list is fetched that this issuer signs.
#[must_use]
pub fn uri(operational: &Issuer) -> String {
    format!("{operational}{PATH}")
}

/// The path of the list, below the operational issuer.
pub const PATH: &str = "/statuslist";

/// The places that are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Taken>", into = "Vec<Taken>")]
pub struct Places {
    taken: BTreeMap<u32, Taken>,
    /// When each is free again: follows from the rest.
    ends: BTreeSet<(i64, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Taken {
    idx: u32,
    request: RequestId,
    /// Unix seconds from which on it is free again.
    until: i64,
}

impl From<Vec<Taken>> for Places {
    fn from(taken: Vec<Taken>) -> Self {
        let ends = taken.iter().map(|one| (one.until, one.idx)).collect();
        Self { taken: taken.into_iter().map(|one| (one.idx, one)).collect(), ends }
    }
}

impl From<Places> for Vec<Taken> {
    fn from(places: Places) -> Self {
        places.taken.into_values().collect()
    }
}

impl Places {
    /// Whether no token has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// A free place for what was signed; `None` if too many are taken.
    #[must_use]
    pub fn choose(&self, signed: &GeneralJws) -> Option<u32> {
        if self.taken.len() >= MOST_TAKEN {
            return None;
        }
        let seed = signed.to_json();
        (0..TRIES).map(|attempt| place(&seed, attempt)).find(|idx| !self.taken.contains_key(idx))
    }

    /// A token that expires at `exp` gets this place, if it is free.
    pub(super) fn take(&mut self, idx: u32, request: RequestId, exp: i64) -> Option<()> {
        let until = exp.saturating_add(REST);
        if idx >= CAPACITY || self.taken.contains_key(&idx) {
            return None;
        }
        self.taken.insert(idx, Taken { idx, request, until });
        self.ends.insert((until, idx));
        Some(())
    }

    /// Frees what has rested until `now`, Unix seconds.
    pub(super) fn forget(&mut self, now: i64) {
        while let Some((until, idx)) = self.ends.first().copied().filter(|(until, _)| *until <= now) {
            self.ends.remove(&(until, idx));
            self.taken.remove(&idx);
        }
    }
}

/// The place that follows from these bytes.
fn place(seed: &[u8], attempt: u32) -> u32 {
    let digest = Digest::of(&[b"status list ", attempt.to_be_bytes().as_slice(), seed].concat());
    let first = digest.as_bytes().first_chunk::<4>().copied().unwrap_or_default();
    u32::from_be_bytes(first) % CAPACITY
}

/// The list at this second: a bit for each place, set where a token had a place and counts no more. `unrecorded` are what
/// kills hit that are in force and that the log has not taken.
#[must_use]
pub fn list(state: &State, unrecorded: &[Target], now: i64) -> Vec<u8> {
    let mut bits = vec![0; CAPACITY as usize / 8];
    for taken in state.places.taken.values() {
        let counts = state.request(&taken.request).is_some_and(|one| counts(state, one, unrecorded, now));
        if let Some(byte) = bits.get_mut(taken.idx as usize / 8).filter(|_| !counts) {
            *byte |= 1 << (taken.idx % 8);
        }
    }
    bits
}

/// Whether the token of a live request counts: nothing has hit it, and no later charter has taken it away.
fn counts(state: &State, request: &Request, unrecorded: &[Target], now: i64) -> bool {
    let (Life::Authorized(authorization) | Life::Issued { authorization, .. }) = request.life() else {
        return false;
    };
    let approvers: Vec<Digest> = request.approvers().collect();
    let subject = request.subject(&approvers);
    state.kills().stopped_by(&subject, authorization.iat).is_none()
        && !unrecorded.iter().any(|target| subject.is_hit(target))
        && stands(state, request, authorization, &approvers, now)
}

fn stands(
    state: &State,
    request: &Request,
    authorization: &Authorization,
    approvers: &[Digest],
    now: i64,
) -> bool {
    let grant = request.grant();
    let (Some(newest), Some(granted)) = (state.charter(), state.charter_named(&grant.charter)) else {
        return false;
    };
    let Some(next) = newest.since(granted.digest()).next() else { return true };
    let basis = Basis { grant, kid: &authorization.kid, approvers, iat: authorization.iat };
    now < next.predecessor_until(granted)
        && newest.since(granted.digest()).all(|later| later.honours(granted, &basis).is_ok())
}
