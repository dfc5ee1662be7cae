//! The state: a fold of the log, holding what is live.
//!
//! Invariants: equal logs give equal states, byte for byte when serialised; nothing here is the truth, the log is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    charter::Charter,
    id::{PrincipalId, ProfileId, RequestId},
    index::{Cooldowns, Index},
    request::{Closed, Request},
    time::Timestamp,
};
use crate::jose::{Digest, GeneralJws, JoseError, json};

/// A snapshot at most, in bytes.
const MAX_SNAPSHOT_BYTES: usize = 1 << 30;

/// Everything the next decision can depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct State {
    pub(super) size: u64,
    pub(super) last: Timestamp,
    pub(super) charter: Option<Arc<Charter>>,
    pub(super) requests: BTreeMap<RequestId, Request>,
    pub(super) closed: BTreeMap<RequestId, Closed>,
    pub(super) cooldowns: Cooldowns,
    /// Evidence recorded since the last charter, by digest.
    pub(super) evidence: BTreeSet<Digest>,
    /// Follows from the requests, closed ones and cooldowns.
    pub(super) index: Index,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    size: u64,
    last: Timestamp,
    charter: Option<GeneralJws>,
    requests: Vec<Request>,
    closed: Vec<(RequestId, Closed)>,
    cooldowns: Vec<(PrincipalId, ProfileId, i64)>,
    evidence: BTreeSet<Digest>,
}

impl From<State> for Stored {
    fn from(state: State) -> Self {
        Self {
            size: state.size,
            last: state.last,
            charter: state.charter.map(|charter| charter.statement().clone()),
            requests: state.requests.into_values().collect(),
            closed: state.closed.into_iter().collect(),
            cooldowns: state
                .cooldowns
                .into_iter()
                .map(|((sub, profile), until)| (sub, profile, until))
                .collect(),
            evidence: state.evidence,
        }
    }
}

impl TryFrom<Stored> for State {
    type Error = super::charter::CharterError;
    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let charter = stored.charter.map(|statement| {
            let digest = Digest::of(&statement.payload);
            Charter::genesis(statement, digest)
        });
        let requests: BTreeMap<_, _> =
            stored.requests.into_iter().map(|request| (request.id(), request)).collect();
        let closed: BTreeMap<_, _> = stored.closed.into_iter().collect();
        let cooldowns = stored.cooldowns.into_iter().map(|(sub, profile, until)| ((sub, profile), until));
        let cooldowns = cooldowns.collect();
        Ok(Self {
            size: stored.size,
            last: stored.last,
            charter: charter.transpose()?.map(Arc::new),
            index: Index::of(&requests, &closed, &cooldowns),
            requests,
            closed,
            cooldowns,
            evidence: stored.evidence,
        })
    }
}

impl State {
    /// Entries folded so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Time of the last entry.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// The charter in force.
    #[must_use]
    pub fn charter(&self) -> Option<&Charter> {
        self.charter.as_deref()
    }

    /// The charter in force, to be kept beyond the state's next change.
    #[must_use]
    pub fn shared_charter(&self) -> Option<Arc<Charter>> {
        self.charter.clone()
    }

    /// A live request.
    #[must_use]
    pub fn request(&self, id: &RequestId) -> Option<&Request> {
        self.requests.get(id)
    }

    /// A request that ended not long ago.
    #[must_use]
    pub fn closed(&self, id: &RequestId) -> Option<&Closed> {
        self.closed.get(id)
    }

    /// All live requests.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values()
    }

    /// All that ended not long ago.
    pub fn all_closed(&self) -> impl Iterator<Item = (&RequestId, &Closed)> {
        self.closed.iter()
    }

    /// Unix seconds at which the next request ends by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<i64> {
        self.index.deadlines.first().map(|(at, _)| *at)
    }

    /// The bytes of a snapshot: JCS, so that equal states have equal bytes.
    pub fn to_snapshot(&self) -> Result<Vec<u8>, JoseError> {
        json::canonical(self)
    }

    /// Reads a snapshot, whose digest the caller has compared with the log's.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, JoseError> {
        json::parse(bytes, MAX_SNAPSHOT_BYTES)
    }
}
