//! What a gate keeps between runs, so that nobody can show it an older world: the chain of charters, and the highest
//! version and kill epoch that it has seen.
//!
//! Invariants: the chain in memory was verified from the pinned genesis in this very run; a version or epoch that was
//! enforced is on disk before it is relied on again after a restart.
//!
//! ```text
//! STATE_DIR/gate.json       the highest version, with its digest, and the highest kill epoch
//!           charter.json    the chain up to the newest version that a daemon has shown
//! ```

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{config::GateConfig, files};
use crate::{
    config::chain::{self, ChainError},
    domain::charter::{Charter, CharterError, Follower, Memory, Rules, Seen},
    jose::{Digest, GeneralJws, JoseError},
};

const SEEN: &str = "gate.json";
const CHAIN: &str = "charter.json";

/// Why what is kept cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The chain cannot be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The chain is not the pinned one, or older than what was seen.
    #[error("the chain of charters cannot be used")]
    Charter(#[from] CharterError),
    /// The system.
    #[error("{path} could not be read or written")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not what a gate writes.
    #[error(
        "{path} is not what a gate keeps: if the log was begun anew, or the file is damaged, remove it, and the gate believes what the daemons say first"
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The chain has no text, or the key none.
    #[error("the chain or the key could not be written as text")]
    Text(#[from] JoseError),
    /// The key.
    #[error("{path} is no P-256 private key in PEM: make one with breakglass key new")]
    Key {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Highest {
    genesis: Option<Digest>,
    charter: Option<Seen>,
    epoch: u64,
}

/// See the module.
pub(super) struct Keep {
    folder: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    follower: Follower,
    /// Digests of all versions, the first one first.
    versions: Vec<Digest>,
    /// Where the chain in memory came from.
    source: PathBuf,
    written: Highest,
}

impl Keep {
    /// Opens the folder and verifies the chain. `now`: Unix seconds.
    pub(super) fn open(config: &GateConfig, now: i64) -> Result<Self, KeepError> {
        let folder = config.state_dir.clone();
        let at = |path: &PathBuf| {
            let path = path.clone();
            move |source| KeepError::File { path, source }
        };
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let place = folder.join(SEEN);
        let written: Highest = match fs::read(&place) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| KeepError::Shape { path: place.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Highest::default(),
            Err(source) => return Err(KeepError::File { path: place, source }),
        };
        // Another genesis is another chain: what was seen of the old one says nothing about it.
        let written = if written.genesis == Some(config.genesis) { written } else { Highest::default() };
        let own = folder.join(CHAIN);
        let mut source = config.charter.clone();
        let mut statements = chain::read(&source)?;
        if own.exists() {
            let kept = chain::read(&own)?;
            let of_this_chain =
                kept.first().is_some_and(|first| Digest::of(&first.payload) == config.genesis);
            if of_this_chain && kept.len() > statements.len() {
                (statements, source) = (kept, own);
            }
        }
        let versions = statements.iter().map(|statement| Digest::of(&statement.payload)).collect();
        let memory = Memory {
            genesis: config.genesis,
            minimum_version: config.minimum_version,
            seen: written.charter,
        };
        let follower = Follower::start(memory, statements, now)?;
        let mut inner = Inner { follower, versions, source, written };
        inner.write(&folder, config.genesis, written.epoch)?;
        Ok(Self { folder, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest version, with those before it under which tokens may still live.
    pub(super) fn charter(&self) -> Arc<Charter> {
        Arc::new(self.inner().follower.newest().clone())
    }

    /// The highest kill epoch that was kept.
    pub(super) fn epoch(&self) -> u64 {
        self.inner().written.epoch
    }

    /// The number of the newest version.
    pub(super) fn version(&self) -> u32 {
        self.inner().follower.newest().document().version
    }

    /// The place of a version in the chain, from 0.
    pub(super) fn place(&self, digest: &Digest) -> Option<usize> {
        self.inner().versions.iter().position(|version| version == digest)
    }

    /// The rules of any version of the chain.
    pub(super) fn rules(&self, digest: &Digest) -> Option<Rules> {
        let inner = self.inner();
        if let Some(held) = inner.follower.newest().version_named(digest) {
            return Some(Rules::clone(held));
        }
        // An old one, which is on disk. That its digest is one of the chain's was verified in this run.
        inner.versions.iter().find(|version| *version == digest)?;
        let statements = chain::read(&inner.source).ok()?;
        let found = statements.into_iter().find(|statement| Digest::of(&statement.payload) == *digest)?;
        Rules::parse(&found.payload).ok()
    }

    /// Takes the versions that follow, each verified against the one before; durable when this returns. Whether there was a
    /// new one.
    pub(super) fn extend(&self, statements: Vec<GeneralJws>, now: i64) -> Result<bool, KeepError> {
        let mut inner = self.inner();
        let mut follower = inner.follower.clone();
        let known = inner.versions.len();
        let mut versions = inner.versions.clone();
        let mut all = chain::read(&inner.source)?;
        for statement in statements {
            let digest = Digest::of(&statement.payload);
            if versions.contains(&digest) {
                continue;
            }
            follower.follow(statement.clone(), now)?;
            versions.push(digest);
            all.push(statement);
        }
        if versions.len() == known {
            return Ok(false);
        }
        let place = self.folder.join(CHAIN);
        let text = chain::to_bytes(&all)?;
        files::replace(&place, &text).map_err(|source| KeepError::File { path: place.clone(), source })?;
        (inner.follower, inner.versions, inner.source) = (follower, versions, place);
        let (genesis, epoch) = (inner.follower.memory().genesis, inner.written.epoch);
        inner.write(&self.folder, genesis, epoch)?;
        Ok(true)
    }

    /// From here on no view of an earlier epoch is believed; durable when this returns.
    pub(super) fn reached(&self, epoch: u64) -> Result<(), KeepError> {
        let mut inner = self.inner();
        if epoch <= inner.written.epoch {
            return Ok(());
        }
        let genesis = inner.follower.memory().genesis;
        inner.write(&self.folder, genesis, epoch)
    }
}

impl Inner {
    fn write(&mut self, folder: &std::path::Path, genesis: Digest, epoch: u64) -> Result<(), KeepError> {
        let next = Highest { genesis: Some(genesis), charter: self.follower.memory().seen, epoch };
        if next == self.written {
            return Ok(());
        }
        let path = folder.join(SEEN);
        let text =
            serde_json::to_vec(&next).map_err(|source| KeepError::Shape { path: path.clone(), source })?;
        files::replace(&path, &text).map_err(|source| KeepError::File { path, source })?;
        self.written = next;
        Ok(())
    }
}
