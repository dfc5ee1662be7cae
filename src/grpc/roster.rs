//! Whose TLS keys the charter of this moment knows.
//!
//! Invariant: what [`Rosters::current`] returns belongs to the charter in force at the time of the call, so a change of
//! charter reaches connections that are open. The index is built once per charter and set of proposals: a call costs one
//! lookup.
//!
//! A custodian whom only a proposed charter names has to sign that one. His key opens what it takes to read and to sign
//! it, and nothing else, for as long as it is proposed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::server::Rank;
use super::status::{Kind, ServiceError};
use crate::domain::charter::{Charter, Holder, KeyKind, Role, Rules, Term};
use crate::domain::event::Actor;
use crate::domain::id::PrincipalId;
use crate::domain::proposal::Proposal;
use crate::engine::Engine;
use crate::jose::Digest;

/// Who calls: a principal of the charter, in term at the time of the call.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// SHA-256 of the key's `SubjectPublicKeyInfo`.
    pub(super) key: Digest,
    /// The person or tool whose key it is.
    pub(super) principal: PrincipalId,
    pub(super) rank: Rank,
    roles: BTreeSet<Role>,
    /// Digests of the proposed charters that name him as a custodian, who then signs them.
    named_by: BTreeSet<Digest>,
}

impl Caller {
    /// Custodians judge all requests and auditors check them; everybody else sees his own.
    pub(super) fn sees_all(&self) -> bool {
        self.roles.contains(&Role::Custodian) || self.roles.contains(&Role::Auditor)
    }

    /// Whether he sees this proposed charter.
    pub(super) fn sees_proposal(&self, digest: &Digest) -> bool {
        self.sees_all() || self.named_by.contains(digest)
    }

    /// Whether he sees any proposed charter.
    pub(super) fn sees_proposals(&self) -> bool {
        self.sees_all() || !self.named_by.is_empty()
    }

    /// Whether a request of these principals is the caller's own.
    pub(super) fn owns(&self, sub: &PrincipalId, client_id: &PrincipalId) -> bool {
        self.principal == *sub || self.principal == *client_id
    }

    /// How the log names the caller.
    pub(super) fn actor(&self) -> Actor {
        Actor::Peer { key: Some(self.key) }
    }
}

/// A charter and the TLS keys in it.
pub(super) struct Roster {
    /// The charter in force.
    pub(super) charter: Arc<Charter>,
    keys: HashMap<Digest, (Caller, Term)>,
    /// Custodians whom only proposed charters know.
    coming: HashMap<Digest, Caller>,
    /// The proposed charters, by digest.
    proposals: BTreeSet<Digest>,
}

impl Roster {
    fn new(charter: Arc<Charter>, proposals: &[Arc<Rules>]) -> Self {
        let verifiers: BTreeSet<&PrincipalId> =
            charter.document().verifiers.iter().map(|verifier| &verifier.id).collect();
        let mut keys: HashMap<Digest, (Caller, Term)> = files(&charter)
            .map(|(key, holder)| {
                let mut caller = caller(key, holder, holder.roles.clone());
                if verifiers.contains(&caller.principal) {
                    caller.rank = Rank::Verifier;
                }
                (key, (caller, holder.term))
            })
            .collect();
        let mut coming: HashMap<Digest, Caller> = HashMap::new();
        for rules in proposals {
            let signs = |role| [Role::Custodian, Role::Recovery].contains(role);
            for (key, holder) in files(rules).filter(|(_, holder)| holder.roles.iter().any(signs)) {
                // What a proposal would let him do, it does not let him do yet.
                let known = keys.get_mut(&key).map(|(caller, _)| caller);
                let known = known.unwrap_or_else(|| {
                    coming.entry(key).or_insert_with(|| caller(key, holder, BTreeSet::new()))
                });
                known.named_by.insert(rules.digest());
            }
        }
        Self { charter, keys, coming, proposals: proposals.iter().map(|rules| rules.digest()).collect() }
    }

    /// The caller with this key, at this Unix second, even if only a proposed charter knows him.
    pub(super) fn signer(&self, key: Option<&Digest>, now: i64) -> Result<&Caller, ServiceError> {
        let known = key.filter(|key| !self.keys.contains_key(*key));
        known.and_then(|key| self.coming.get(key)).map_or_else(|| self.caller(key, now), Ok)
    }

    /// The caller with this key, at this Unix second.
    pub(super) fn caller(&self, key: Option<&Digest>, now: i64) -> Result<&Caller, ServiceError> {
        let Some(key) = key else {
            let message = "no client certificate was shown: only enrolled clients are served";
            return Err(ServiceError::new(Kind::Unauthenticated, "CLIENT_UNKNOWN", message));
        };
        match self.keys.get(key) {
            Some((caller, term)) if term.covers(now) => Ok(caller),
            Some((caller, _)) => {
                let message = format!("{} is not in term: a new charter can change that", caller.principal);
                Err(ServiceError::new(Kind::PermissionDenied, "CLIENT_NOT_IN_TERM", message)
                    .with("spki", key))
            }
            None if self.coming.contains_key(key) => {
                let message = "only a proposed charter knows you: until it is in force you can read and sign that one, and nothing else";
                Err(ServiceError::new(Kind::PermissionDenied, "CLIENT_NOT_YET", message).with("spki", key))
            }
            None => {
                let message =
                    "the charter does not know this certificate's key: only enrolled clients are served";
                Err(ServiceError::new(Kind::Unauthenticated, "CLIENT_UNKNOWN", message).with("spki", key))
            }
        }
    }

    /// Whose key it is, in term or not.
    pub(super) fn rank(&self, key: &Digest) -> Rank {
        let coming = if self.coming.contains_key(key) { Rank::Client } else { Rank::Stranger };
        self.keys.get(key).map_or(coming, |(caller, _)| caller.rank)
    }

    /// Whether the key is of somebody, in term or not.
    pub(super) fn knows(&self, key: &Digest) -> bool {
        self.keys.contains_key(key) || self.coming.contains_key(key)
    }

    fn is_of(&self, charter: Digest, proposals: &BTreeSet<Digest>) -> bool {
        self.charter.digest() == charter && self.proposals == *proposals
    }
}

/// The keys that speak TLS, by the SHA-256 of their `SubjectPublicKeyInfo`.
fn files(rules: &Rules) -> impl Iterator<Item = (Digest, &Holder)> {
    let files = rules.holders().filter(|holder| holder.kind == KeyKind::File);
    files.map(|holder| (Digest::of(&holder.key.spki_der()), holder))
}

fn caller(key: Digest, holder: &Holder, roles: BTreeSet<Role>) -> Caller {
    Caller { key, principal: holder.principal.clone(), rank: Rank::Client, roles, named_by: BTreeSet::new() }
}

/// Keeps the roster of the newest charter.
#[derive(Default)]
pub(super) struct Rosters {
    newest: RwLock<Option<Arc<Roster>>>,
}

impl Rosters {
    /// The roster of the charter in force.
    pub(super) fn current(&self, engine: &Engine) -> Result<Arc<Roster>, ServiceError> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Copies the charter only when something changed.
        let changed = engine.read(|state| {
            let proposals: BTreeSet<Digest> = state.proposals().map(|open| open.rules().digest()).collect();
            match (state.charter(), &newest) {
                (Some(charter), Some(roster)) if roster.is_of(charter.digest(), &proposals) => None,
                (charter, _) => {
                    let rules: Vec<Arc<Rules>> = state.proposals().map(Proposal::shared_rules).collect();
                    Some(charter.cloned().map(|charter| (charter, rules)))
                }
            }
        });
        match (changed, newest) {
            (None, Some(roster)) => Ok(roster),
            (Some(Some((charter, proposals))), _) => {
                let roster = Arc::new(Roster::new(Arc::new(charter), &proposals));
                *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&roster));
                Ok(roster)
            }
            _ => Err(ServiceError::new(Kind::FailedPrecondition, "NO_CHARTER", "no charter is in force yet")),
        }
    }
}
