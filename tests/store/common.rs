//! Logs and entries that all tests share.

use std::path::{Path, PathBuf};

use breakglass::store::{SqliteStore, StoreOptions};
use breakglass::tlog::{Checkpoint, Frontier, Hash, SignedCheckpoint, VerifierKey, leaf_hash};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

/// A directory with room for one log.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { directory: testkit::temp_dir() }
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
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

/// The log's key, as the HSM would have it.
pub struct LogKey {
    pair: Ed25519KeyPair,
    pub verifier: VerifierKey,
}

impl LogKey {
    pub fn new() -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        Self { pair, verifier: VerifierKey::new("log.example/test".parse().unwrap(), public) }
    }

    /// Signs whatever it is told to.
    pub fn sign(&self, size: u64, root: Hash) -> SignedCheckpoint {
        let checkpoint = Checkpoint { origin: self.verifier.name().clone(), size, root };
        let signature = self.pair.sign(checkpoint.to_string().as_bytes()).as_ref().try_into().unwrap();
        SignedCheckpoint::assemble(checkpoint, &self.verifier, &signature).unwrap()
    }

    /// Signs the store's newest tree.
    pub fn sign_newest(&self, store: &SqliteStore) -> SignedCheckpoint {
        self.sign(store.size(), store.frontier().root())
    }
}

/// Opens the database behind the store's back, as a thief or a careless operator would, and runs `statements`.
pub async fn meddle(path: &Path, statements: &str) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The triggers that stand in the way of meddling.
pub const WITHOUT_TRIGGERS: &str = "DROP TRIGGER entry_is_final; DROP TRIGGER entry_is_kept;";
