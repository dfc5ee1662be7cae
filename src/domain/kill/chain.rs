//! One hash over every kill and lift of a log, in their order: what keeps two gates from being told two stories.
//!
//! Invariants: a head follows from the one before it and from the statement with its place in the log alone; ECDSA
//! signatures are malleable, so of a signature only its key and its time count. Whoever followed the chain from one head
//! to another was shown every step in between, in order and unchanged, or the heads differ.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    domain::time::Timestamp,
    jose::{Digest, GeneralJws},
};

const DOMAIN: &[u8] = b"breakglass kill chain v1\0";
const KILL: u8 = 1;
const LIFT: u8 = 2;

/// Where a chain stands: after how many kills and lifts, and their hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Kills and lifts so far.
    pub step: u64,
    /// The hash over them; all zeros before the first.
    pub digest: Digest,
}

impl Default for Head {
    fn default() -> Self {
        Self { step: 0, digest: Digest::from_bytes([0; 32]) }
    }
}

impl Head {
    /// After a kill, which began this epoch and was recorded at this time.
    #[must_use]
    pub fn kill(&self, statement: &GeneralJws, epoch: u64, at: Timestamp) -> Self {
        self.next(KILL, statement, epoch, at)
    }

    /// After a lift, recorded at this time in this epoch.
    #[must_use]
    pub fn lift(&self, statement: &GeneralJws, epoch: u64, at: Timestamp) -> Self {
        self.next(LIFT, statement, epoch, at)
    }

    fn next(&self, kind: u8, statement: &GeneralJws, epoch: u64, at: Timestamp) -> Self {
        let step = self.step.saturating_add(1);
        let mut hash = Sha256::new_with_prefix(DOMAIN);
        hash.update(self.digest.as_bytes());
        hash.update(step.to_be_bytes());
        hash.update([kind]);
        hash.update(epoch.to_be_bytes());
        hash.update(at.millis().to_be_bytes());
        hash.update(Digest::of(&statement.payload).as_bytes());
        // All before have a fixed length, so nothing can be moved from one member into the next.
        for signature in &statement.signatures {
            hash.update(signature.header().kid.as_bytes());
            hash.update(signature.header().iat.to_be_bytes());
        }
        Self { step, digest: Digest::from_bytes(hash.finalize().into()) }
    }
}
