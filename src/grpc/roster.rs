//! Whose TLS keys the charter of this moment knows.
//!
//! Invariant: what [`Rosters::current`] returns belongs to the charter in force at the time of the call, so a change of
//! charter reaches connections that are open. The index is built once per charter: a call costs one lookup.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::status::{Kind, ServiceError};
use crate::domain::charter::{Charter, KeyKind, Role, Term};
use crate::domain::event::Actor;
use crate::domain::id::PrincipalId;
use crate::engine::Engine;
use crate::jose::Digest;

/// Who calls: a principal of the charter, in term at the time of the call.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// SHA-256 of the key's `SubjectPublicKeyInfo`.
    pub(super) key: Digest,
    /// The person or tool whose key it is.
    pub(super) principal: PrincipalId,
    roles: BTreeSet<Role>,
}

impl Caller {
    /// Custodians judge all requests and auditors check them; everybody else sees his own.
    pub(super) fn sees_all(&self) -> bool {
        self.roles.contains(&Role::Custodian) || self.roles.contains(&Role::Auditor)
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
}

impl Roster {
    fn new(charter: Arc<Charter>) -> Self {
        let files = charter.holders().filter(|holder| holder.kind == KeyKind::File);
        let keys = files
            .map(|holder| {
                let key = Digest::of(&holder.key.spki_der());
                let caller = Caller { key, principal: holder.principal.clone(), roles: holder.roles.clone() };
                (key, (caller, holder.term))
            })
            .collect();
        Self { charter, keys }
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
            None => {
                let message =
                    "the charter does not know this certificate's key: only enrolled clients are served";
                Err(ServiceError::new(Kind::Unauthenticated, "CLIENT_UNKNOWN", message).with("spki", key))
            }
        }
    }

    /// Whether the key is of somebody, in term or not.
    pub(super) fn knows(&self, key: &Digest) -> bool {
        self.keys.contains_key(key)
    }
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
        let held = newest.as_ref().map(|roster| roster.charter.digest());
        // Copies the charter only when it changed.
        let changed = engine.read(|state| match state.charter() {
            Some(charter) if Some(charter.digest()) == held => None,
            other => Some(other.cloned()),
        });
        match (changed, newest) {
            (None, Some(roster)) => Ok(roster),
            (Some(Some(charter)), _) => {
                let roster = Arc::new(Roster::new(Arc::new(charter)));
                *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&roster));
                Ok(roster)
            }
            _ => Err(ServiceError::new(Kind::FailedPrecondition, "NO_CHARTER", "no charter is in force yet")),
        }
    }
}
