//! Tokens whose signatures were verified, by the SHA-256 of their bytes.
//!
//! Invariants: only what no time and no news can change is remembered (`strict::read`), and only of tokens that verified, so
//! that garbage takes no room; never more than twice [`GENERATION`] of them, whoever sends what.

use std::{collections::HashMap, sync::Arc};

use crate::{domain::strict::Accepted, jose::Digest};

/// Tokens of one generation. Each takes about ten kilobytes.
const GENERATION: usize = 1_024;

/// See the module. What was not asked for during a whole generation is forgotten.
#[derive(Debug, Default)]
pub(super) struct Cache {
    young: HashMap<Digest, Arc<Accepted>>,
    old: HashMap<Digest, Arc<Accepted>>,
}

impl Cache {
    pub(super) fn get(&mut self, token: &Digest) -> Option<Arc<Accepted>> {
        if let Some(found) = self.young.get(token) {
            return Some(Arc::clone(found));
        }
        let found = self.old.remove(token)?;
        self.put(*token, Arc::clone(&found));
        Some(found)
    }

    pub(super) fn put(&mut self, token: Digest, accepted: Arc<Accepted>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, accepted);
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
