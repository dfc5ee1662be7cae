//! The state: a fold of the log, holding what is live.
//!
//! Invariants: equal logs give equal states, byte for byte when serialised; nothing here is the truth, the log is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    canary::Canary,
    charter::{Charter, StoredCharter},
    check_in::Sightings,
    evidence::Evidence,
    gate::Gates,
    genesis::Replacement,
    hook::Sessions,
    id::{KillId, PrincipalId, ProfileId, RequestId},
    index::{Cooldowns, Index},
    kill::{Kills, Target},
    probe::Probes,
    proposal::Proposal,
    request::{Closed, Request},
    review::OpenReviews,
    status::Places,
    time::Timestamp,
};
use crate::jose::{Digest, JoseError, json};

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
    /// Every version so far, the first first.
    pub(super) versions: Vec<Adopted>,
    /// By the digest of the document.
    pub(super) proposals: BTreeMap<Digest, Proposal>,
    /// Evidence that the charter in force or a proposal may name, by digest.
    pub(super) evidence: BTreeMap<Digest, Evidence>,
    /// Digests of transcripts that could be recorded again, with the Unix seconds from which on they cannot.
    pub(super) transcripts: BTreeMap<Digest, i64>,
    /// When each device was last seen.
    pub(super) sightings: Sightings,
    /// Issuing keys that are in no signing device any more, because a charter or a kill has ended them.
    pub(super) destroyed: BTreeSet<Digest>,
    /// Uses that wait for their review.
    pub(super) reviews: OpenReviews,
    /// What has been killed.
    pub(super) kills: Arc<Kills>,
    /// What gates have reported.
    pub(super) gates: Gates,
    /// By the issuing key and the verifier.
    pub(super) canaries: BTreeMap<(Digest, PrincipalId), Canary>,
    /// Sessions of verifiers that may outlive kills, by the kill and the verifier.
    pub(super) sessions: BTreeMap<(KillId, PrincipalId), Sessions>,
    /// What verifiers did with their canaries, by the same.
    pub(super) probes: BTreeMap<(Digest, PrincipalId), Probes>,
    /// The new chains that are announced in place of this one, and the one that has replaced it.
    pub(super) replacement: Replacement,
    /// Places in the status list.
    pub(super) places: Places,
    /// Follows from the requests, closed ones and cooldowns.
    pub(super) index: Index,
}

/// Where in the log a version of the charter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adopted {
    /// Index of the entry.
    pub index: u64,
    /// Digest of the document.
    pub digest: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    destroyed: BTreeSet<Digest>,
    size: u64,
    last: Timestamp,
    charter: Option<StoredCharter>,
    versions: Vec<Adopted>,
    proposals: Vec<Proposal>,
    requests: Vec<Request>,
    closed: Vec<(RequestId, Closed)>,
    cooldowns: Vec<(PrincipalId, ProfileId, i64)>,
    evidence: Vec<Evidence>,
    transcripts: Vec<(Digest, i64)>,
    canaries: Vec<Canary>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    probes: Vec<Probes>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sessions: Vec<Sessions>,
    sightings: Sightings,
    reviews: OpenReviews,
    #[serde(default, skip_serializing_if = "is_empty")]
    kills: Arc<Kills>,
    #[serde(default, skip_serializing_if = "Gates::is_empty")]
    gates: Gates,
    #[serde(default, skip_serializing_if = "Replacement::is_none")]
    replacement: Replacement,
    #[serde(default, skip_serializing_if = "Places::is_empty")]
    places: Places,
}

impl From<State> for Stored {
    fn from(state: State) -> Self {
        Self {
            size: state.size,
            last: state.last,
            charter: state.charter.map(|charter| StoredCharter::from(charter.as_ref())),
            versions: state.versions,
            proposals: state.proposals.into_values().collect(),
            requests: state.requests.into_values().collect(),
            closed: state.closed.into_iter().collect(),
            cooldowns: state
                .cooldowns
                .into_iter()
                .map(|((sub, profile), until)| (sub, profile, until))
                .collect(),
            evidence: state.evidence.into_values().collect(),
            transcripts: state.transcripts.into_iter().collect(),
            canaries: state.canaries.into_values().collect(),
            probes: state.probes.into_values().collect(),
            sessions: state.sessions.into_values().collect(),
            sightings: state.sightings,
            destroyed: state.destroyed,
            reviews: state.reviews,
            kills: state.kills,
            gates: state.gates,
            replacement: state.replacement,
            places: state.places,
        }
    }
}

impl TryFrom<Stored> for State {
    type Error = super::charter::CharterError;
    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let charter = stored.charter.map(Charter::try_from);
        let proposals = stored.proposals.into_iter();
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
            versions: stored.versions,
            proposals: proposals.map(|proposal| (proposal.rules().digest(), proposal)).collect(),
            evidence: stored.evidence.into_iter().map(|item| (item.digest(), item)).collect(),
            transcripts: stored.transcripts.into_iter().collect(),
            canaries: stored
                .canaries
                .into_iter()
                .map(|canary| ((canary.kid, canary.verifier.clone()), canary))
                .collect(),
            sessions: stored
                .sessions
                .into_iter()
                .map(|sessions| ((sessions.kill, sessions.verifier.clone()), sessions))
                .collect(),
            probes: stored
                .probes
                .into_iter()
                .map(|probes| ((probes.kid, probes.verifier.clone()), probes))
                .collect(),
            sightings: stored.sightings,
            destroyed: stored.destroyed,
            reviews: stored.reviews,
            kills: stored.kills,
            gates: stored.gates,
            replacement: stored.replacement,
            places: stored.places,
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

    /// The charter in force, or one before it under which something is still live.
    #[must_use]
    pub fn charter_named(&self, digest: &Digest) -> Option<&Charter> {
        self.charter()?.version_named(digest)
    }

    /// Every version so far, the first first: where it is in the log.
    #[must_use]
    pub fn versions(&self) -> &[Adopted] {
        &self.versions
    }

    /// A proposed charter.
    #[must_use]
    pub fn proposal(&self, digest: &Digest) -> Option<&Proposal> {
        self.proposals.get(digest)
    }

    /// All proposed charters.
    pub fn proposals(&self) -> impl Iterator<Item = &Proposal> {
        self.proposals.values()
    }

    /// Evidence that the log holds for a device of the charter in force, or of a proposal.
    #[must_use]
    pub fn evidence(&self, digest: &Digest) -> Option<&Evidence> {
        self.evidence.get(digest)
    }

    /// When each device of the charter in force was last seen.
    #[must_use]
    pub fn sightings(&self) -> &Sightings {
        &self.sightings
    }

    /// Places of tokens in the status list.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What has been killed.
    #[must_use]
    pub fn kills(&self) -> &Kills {
        &self.kills
    }

    /// What has been killed, to be kept beyond the state's next change.
    #[must_use]
    pub fn shared_kills(&self) -> Arc<Kills> {
        Arc::clone(&self.kills)
    }

    /// What gates have reported.
    #[must_use]
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Uses that wait for their review.
    #[must_use]
    pub fn reviews(&self) -> &OpenReviews {
        &self.reviews
    }

    /// The newest canary of a verifier and an issuing key.
    #[must_use]
    pub fn canary(&self, verifier: &PrincipalId, kid: &Digest) -> Option<&Canary> {
        self.canaries.get(&(*kid, verifier.clone()))
    }

    /// All canaries, of keys that may be dead by now as well.
    pub fn canaries(&self) -> impl Iterator<Item = &Canary> {
        self.canaries.values()
    }

    /// New chains announced in place of this one, and the one that has replaced it.
    #[must_use]
    pub fn replacement(&self) -> &Replacement {
        &self.replacement
    }

    /// Issuing keys that a version of the charter has ended, or that were killed, and that may still be in the HSM.
    pub fn keys_to_destroy(&self) -> impl Iterator<Item = Digest> {
        let keys = self.charter().into_iter().flat_map(|charter| charter.lineage().issuing_keys());
        let condemned = keys.filter(|(kid, ended)| *ended || self.kills.stands(&Target::Key(*kid)));
        condemned.map(|(kid, _)| kid).filter(|kid| !self.is_destroyed(kid))
    }

    /// Whether what this issuing key has signed is to be believed by those who know nothing of kills: neither it nor
    /// everything is killed, and it can still sign.
    #[must_use]
    pub fn is_believed(&self, kid: &Digest) -> bool {
        let killed = self.kills.is_lockdown() || self.kills.stands(&Target::Key(*kid));
        !killed && !self.is_destroyed(kid)
    }

    /// Whether an issuing key was destroyed, by the log.
    #[must_use]
    pub fn is_destroyed(&self, kid: &Digest) -> bool {
        self.destroyed.contains(kid)
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

    /// Unix seconds at which the next request or proposal ends by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<i64> {
        let request = self.index.deadlines.first().map(|(at, _)| *at);
        let proposals = self.proposals().map(Proposal::deadline);
        request.into_iter().chain(proposals).chain(self.replacement.next_day()).min()
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

fn is_empty(kills: &Arc<Kills>) -> bool {
    kills.is_empty()
}
