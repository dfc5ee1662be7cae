//! The connections to daemons that are up: one for each, shared by all that is said over it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::client::Channel;

/// By the daemon's number.
#[derive(Default)]
pub(super) struct Links(Mutex<BTreeMap<usize, Channel>>);

impl Links {
    pub(super) fn up(&self, daemon: usize, channel: Channel) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(daemon, channel);
    }

    pub(super) fn down(&self, daemon: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&daemon);
    }

    /// All that are up.
    pub(super) fn all(&self) -> Vec<Channel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
