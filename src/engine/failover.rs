//! When the device of an issuing key fails, another active key of the charter signs: the standby, in a token of its own.
//!
//! Invariants: which key signs is in the log before it is asked, so a crash loses nothing; the claims stay as they were
//! authorized, `jti` and `iat` among them, so that even two signatures are one token to a strict verifier. A key whose device
//! has failed rests for a while and is then tried first again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Engine;
use crate::{
    domain::{
        Command,
        decide::standby_keys,
        id::RequestId,
        request::{Life, Request},
    },
    jose::Digest,
};

/// How long a key rests whose device has failed, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_mins(1);

/// Keys whose device has failed.
#[derive(Debug, Default)]
pub(super) struct Resting(Mutex<HashMap<Digest, (Duration, Instant)>>);

impl Resting {
    fn note(&self, kid: Digest) {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = match resting.get(&kid) {
            // Several requests failed at the same time: that is one failure.
            Some((_, until)) if *until > Instant::now() => return,
            Some((rest, _)) => (*rest * 2).min(LONGEST_REST),
            None => FIRST_REST,
        };
        resting.insert(kid, (rest, Instant::now() + rest));
    }

    fn rests(&self, kid: &Digest) -> bool {
        let resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        resting.get(kid).is_some_and(|(_, until)| *until > Instant::now())
    }

    /// Its device has signed.
    pub(super) fn forget(&self, kid: &Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(kid);
    }
}

impl Engine {
    /// The device of the key that signs for this request has failed: another key signs, if there is one. Whether it does.
    pub(super) async fn fail_over(&self, id: &RequestId) -> bool {
        if let Some(kid) = self.kid_of(id) {
            self.shared.resting.note(kid);
        }
        self.pass_on(id).await
    }

    /// Has another key sign for this request, if its own rests and the other does not. Whether it does.
    pub(super) async fn pass_on(&self, id: &RequestId) -> bool {
        let Some(from) = self.kid_of(id).filter(|kid| self.shared.resting.rests(kid)) else { return false };
        let others = self.read(|state| standby_keys(state, id));
        let Some(kid) = others.into_iter().find(|kid| !self.shared.resting.rests(kid)) else { return false };
        match self.submit(self.daemon(), Command::Move { request: *id, kid }).await {
            Ok(_) => {
                tracing::error!(name: "engine.failover", request = %id, %from, to = %kid, "the device of an issuing key fails: the standby key signs");
                true
            }
            Err(error) => {
                tracing::warn!(request = %id, %error, "no other key can sign for this request");
                false
            }
        }
    }

    fn kid_of(&self, id: &RequestId) -> Option<Digest> {
        self.read(|state| match state.request(id).map(Request::life)? {
            Life::Authorized(authorization) => Some(authorization.kid),
            _ => None,
        })
    }
}
