//! What follows from the live and the closed requests, kept beside them so that no decision has to look at them all.
//!
//! Invariant: equal to what `Index::of` makes of the same requests, whatever way led to them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    id::{PrincipalId, ProfileId, RequestId},
    request::{Closed, Life, Outcome, Request},
};
use crate::jose::Digest;

/// The cooldown of a subject under a profile.
pub(super) type Cooldowns = BTreeMap<(PrincipalId, ProfileId), i64>;

/// Sorted views of the state; see the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// When live requests end by themselves.
    pub(super) deadlines: BTreeSet<(i64, RequestId)>,
    /// When closed ones are forgotten.
    pub(super) evictions: BTreeSet<(i64, RequestId)>,
    /// When cooldowns are over.
    pub(super) warm: BTreeSet<(i64, PrincipalId, ProfileId)>,
    /// Thumbprints of the cnf and redeem keys of live requests.
    keys: BTreeSet<Digest>,
    /// How many requests each client has open, that is pending or authorized.
    open: BTreeMap<PrincipalId, usize>,
    all_open: usize,
    /// How many live requests each charter has.
    under: BTreeMap<Digest, usize>,
    /// How many closed requests of each client ended without a token.
    fruitless: BTreeMap<PrincipalId, usize>,
}

fn is_open(request: &Request) -> bool {
    !matches!(request.life(), Life::Issued { .. })
}

fn raise<K: Ord + Clone>(counts: &mut BTreeMap<K, usize>, who: &K) {
    *counts.entry(who.clone()).or_insert(0) += 1;
}

fn lower<K: Ord>(counts: &mut BTreeMap<K, usize>, who: &K) {
    if let Some(count) = counts.get_mut(who) {
        *count -= 1;
        if *count == 0 {
            counts.remove(who);
        }
    }
}

impl Index {
    /// From scratch.
    pub(super) fn of(
        requests: &BTreeMap<RequestId, Request>,
        closed: &BTreeMap<RequestId, Closed>,
        cooldowns: &Cooldowns,
    ) -> Self {
        let mut index = Self::default();
        for (id, request) in requests {
            index.file(*id, request);
        }
        for (id, closed) in closed {
            index.close(*id, closed);
        }
        for ((sub, profile), until) in cooldowns {
            index.warm.insert((*until, sub.clone(), profile.clone()));
        }
        index
    }

    /// A live request is there that was not. False if another uses one of its keys.
    pub(super) fn file(&mut self, id: RequestId, request: &Request) -> bool {
        self.enter(id, request);
        raise(&mut self.under, &request.grant().charter);
        request.grant().fresh_keys().all(|key| self.keys.insert(key))
    }

    /// A live request changes its state: `leave` it as it was, `enter` it as it is.
    pub(super) fn enter(&mut self, id: RequestId, request: &Request) {
        self.deadlines.insert((request.deadline(), id));
        if is_open(request) {
            raise(&mut self.open, &request.grant().client_id);
            self.all_open += 1;
        }
    }

    /// See [`Self::enter`].
    pub(super) fn leave(&mut self, id: RequestId, request: &Request) {
        self.deadlines.remove(&(request.deadline(), id));
        if is_open(request) {
            lower(&mut self.open, &request.grant().client_id);
            self.all_open -= 1;
        }
    }

    /// A live request is there no more.
    pub(super) fn end(&mut self, id: RequestId, request: &Request) {
        self.leave(id, request);
        lower(&mut self.under, &request.grant().charter);
        for key in request.grant().fresh_keys() {
            self.keys.remove(&key);
        }
    }

    /// A closed request is there that was not.
    pub(super) fn close(&mut self, id: RequestId, closed: &Closed) {
        self.evictions.insert((closed.until, id));
        if !matches!(closed.outcome, Outcome::Expired | Outcome::Revoked) {
            raise(&mut self.fruitless, &closed.client_id);
        }
    }

    /// A closed request is forgotten.
    pub(super) fn forget(&mut self, id: RequestId, closed: &Closed) {
        self.evictions.remove(&(closed.until, id));
        if !matches!(closed.outcome, Outcome::Expired | Outcome::Revoked) {
            lower(&mut self.fruitless, &closed.client_id);
        }
    }

    /// Whether a live request was asked under this charter.
    pub(super) fn is_under(&self, charter: &Digest) -> bool {
        self.under.contains_key(charter)
    }

    /// Whether a live request uses this key.
    pub(super) fn uses(&self, key: &Digest) -> bool {
        self.keys.contains(key)
    }

    /// Requests that are open: of this client, and of all.
    pub(super) fn open(&self, client: &PrincipalId) -> (usize, usize) {
        (self.open.get(client).copied().unwrap_or(0), self.all_open)
    }

    /// Closed requests of this client that are remembered though they came to nothing.
    pub(super) fn fruitless(&self, client: &PrincipalId) -> usize {
        self.fruitless.get(client).copied().unwrap_or(0)
    }
}
