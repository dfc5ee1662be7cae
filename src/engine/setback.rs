//! What holds an authorized request up: the last failure of its issuance, for those who wait for it.
//!
//! Kept in memory only, while the request is worked on: the log records what becomes of it, not each attempt.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use super::EngineError;
use crate::domain::id::RequestId;

/// Why the last attempt to sign failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setback {
    /// The stable reason, such as `HSM_UNAVAILABLE`.
    pub reason: &'static str,
    /// Whether time alone will not heal it: the device does not have the key, refuses the PIN, or answers nonsense.
    pub lasting: bool,
}

impl Setback {
    pub(super) fn of(error: &EngineError) -> Self {
        let lasting = matches!(error, EngineError::Hsm(error) if !error.is_transient());
        Self { reason: error.reason(), lasting }
    }
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = if self.lasting {
            "this does not heal by itself: an operator has to look at the signing device"
        } else {
            "the daemon goes on trying"
        };
        write!(f, "the last attempt to sign failed ({}); {next}", self.reason)
    }
}

/// The setbacks of the requests that are worked on.
#[derive(Debug, Default)]
pub(super) struct Setbacks(Mutex<HashMap<RequestId, Setback>>);

impl Setbacks {
    /// The last one of a request.
    pub(super) fn of(&self, id: &RequestId) -> Option<Setback> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// Remembers one; whether it differs from the last one.
    pub(super) fn note(&self, id: RequestId, setback: Setback) -> bool {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, setback);
        last != Some(setback)
    }

    /// The request is not worked on any more.
    pub(super) fn forget(&self, id: &RequestId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}
