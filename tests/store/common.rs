//! Logs and entries that all tests share.

use std::path::PathBuf;

use breakglass::store::{SqliteStore, StoreOptions};
use breakglass::tlog::{Frontier, Hash, leaf_hash};

/// A directory with room for one log.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("log.db")
    }

    pub async fn create(&self) -> SqliteStore {
        SqliteStore::create(&self.path(), StoreOptions::default()).await.unwrap()
    }

    pub async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path(), StoreOptions::default()).await.unwrap()
    }
}

/// Entries as different as possible in content and length: the index decides both.
pub fn entries(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range
        .map(|index| format!("{{\"entry\":{index}{}}}", " ".repeat((index % 300).try_into().unwrap())).into())
        .collect()
}

/// The root of `entries(0..size)`, without any store.
pub fn root(size: u64) -> Hash {
    let mut frontier = Frontier::empty();
    for entry in entries(0..size) {
        frontier.append(leaf_hash(&entry), |_, _| {});
    }
    frontier.root()
}

/// All entries that a log has.
pub async fn all(store: &SqliteStore) -> Vec<Vec<u8>> {
    let mut batches = store.read(0..store.size());
    let mut all = Vec::new();
    while let Some(batch) = batches.next().await.unwrap() {
        all.extend(batch);
    }
    all
}
