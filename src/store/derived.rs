//! What is made from the entries and can be made again: hashes, checkpoints, snapshots.
//!
//! Invariants: a stored checkpoint or snapshot had the root of this log at its size when it was stored, and is held
//! against it again when it is read; a difference is an error, never repaired in silence.

use sqlx::sqlite::{SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::SqliteStore;
use super::append::{Nodes, Writer};
use super::error::{AppendError, StoreError, is_busy};
use super::open::writer_options;
use super::rows::{self, from_sql, to_sql};
use crate::tlog::{self, Frontier, Hash, SignedCheckpoint};

/// Checkpoints that are kept; older ones are of no use to anybody who asks this log.
const CHECKPOINTS_KEPT: i64 = 64;
/// Snapshots that are kept: the newest, and one to fall back on.
const SNAPSHOTS_KEPT: i64 = 2;

/// The state of the fold after `size` entries, as its owner serialised it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Entries folded.
    pub size: u64,
    /// The root of exactly these entries.
    pub root: Hash,
    /// SHA-256 of `bytes`; the same as in the log's entry about this snapshot.
    pub digest: [u8; 32],
    /// The state.
    pub bytes: Vec<u8>,
}

impl SqliteStore {
    /// Stores a checkpoint of this log; one of the same size is replaced, since the newer has more cosignatures.
    ///
    /// It is durable with the next append at the latest.
    pub async fn put_checkpoint(&self, checkpoint: &SignedCheckpoint) -> Result<(), StoreError> {
        let head = checkpoint.unverified();
        if self.root_at(head.size).await? != head.root {
            return Err(StoreError::RootMismatch { what: "checkpoint", size: head.size });
        }
        let mut writer = self.writer.lock().await;
        let mut connection = self.derived_connection(&mut writer).await?;
        let done = insert_checkpoint(&mut connection, checkpoint).await;
        writer.finish_derived(connection, done)
    }

    /// The stored checkpoint of the greatest size.
    pub async fn latest_checkpoint(&self) -> Result<Option<SignedCheckpoint>, StoreError> {
        latest_checkpoint(&mut *self.readers.acquire().await?).await
    }

    /// Stores a snapshot of the state. It is durable with the next append at the latest.
    pub async fn put_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.check_snapshot(snapshot).await?;
        let mut writer = self.writer.lock().await;
        let mut connection = self.derived_connection(&mut writer).await?;
        let done = insert_snapshot(&mut connection, snapshot).await;
        writer.finish_derived(connection, done)
    }

    /// The newest snapshot, held against the tree. The caller checks its digest against the log's entry about it.
    pub async fn latest_snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        let query = sqlx::query("SELECT size, root, digest, bytes FROM snapshot ORDER BY size DESC LIMIT 1");
        let Some(row) = query.fetch_optional(&mut *self.readers.acquire().await?).await? else {
            return Ok(None);
        };
        let digest: &[u8] = row.try_get(2)?;
        let snapshot = Snapshot {
            size: from_sql(row.try_get(0)?)?,
            root: Hash::try_from(row.try_get::<&[u8], _>(1)?)?,
            digest: digest
                .try_into()
                .map_err(|_| StoreError::corrupt("a snapshot's digest has not 32 bytes"))?,
            bytes: row.try_get(3)?,
        };
        self.check_snapshot(&snapshot).await?;
        Ok(Some(snapshot))
    }

    /// Makes all hashes again from the entries, and fails, changing nothing, if they lead to another tree than the
    /// published one. Appends wait meanwhile.
    pub async fn rebuild_nodes(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let mut connection = self.derived_connection(&mut writer).await?;
        let expected = self.frontier();
        let done = replace_nodes(&mut connection, &expected).await;
        writer.finish_derived(connection, done)
    }

    /// Deletes everything but the entries, and closes the log; the next open makes the hashes again.
    ///
    /// Checkpoints go too, and with them the memory of how long this log once was: keep a copy outside.
    pub async fn drop_derived(self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let mut connection = self.derived_connection(&mut writer).await?;
        let done = delete_derived(&mut connection).await;
        writer.finish_derived(connection, done)?;
        drop(writer);
        self.close().await;
        Ok(())
    }

    async fn check_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        if self.root_at(snapshot.size).await? == snapshot.root {
            return Ok(());
        }
        Err(StoreError::RootMismatch { what: "snapshot", size: snapshot.size })
    }

    /// The connection for derived data, taken out for the time of the write: a failed or abandoned write drops it.
    async fn derived_connection(&self, writer: &mut Writer) -> Result<SqliteConnection, StoreError> {
        if let Some(why) = &writer.broken {
            return Err(StoreError::io("write to the log's database", why.clone()));
        }
        // What a kill was promised is not spent on caches.
        if !writer.reserve.restore() {
            return Err(StoreError::Full);
        }
        match writer.derived.take() {
            Some(connection) => Ok(connection),
            None => Ok(writer_options(&self.path, SqliteSynchronous::Normal).connect().await?),
        }
    }
}

impl Writer {
    /// Keeps the connection for the next write, unless this one failed.
    fn finish_derived(
        &mut self,
        connection: SqliteConnection,
        done: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match &done {
            Ok(()) => self.derived = Some(connection),
            // A mismatch is the data's fault, for the caller to judge; a failing disk is everybody's.
            Err(StoreError::Io { source, .. }) if !is_busy(source.as_ref()) => {
                self.latch(&AppendError::Broken(source.to_string()));
            }
            Err(_) => {}
        }
        done
    }
}

async fn insert_checkpoint(
    connection: &mut SqliteConnection,
    checkpoint: &SignedCheckpoint,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("INSERT OR REPLACE INTO checkpoint (size, note) VALUES (?1, ?2)")
        .bind(to_sql(checkpoint.unverified().size))
        .bind(checkpoint.to_string())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "DELETE FROM checkpoint WHERE size NOT IN (SELECT size FROM checkpoint ORDER BY size DESC LIMIT ?1)",
    )
    .bind(CHECKPOINTS_KEPT)
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

async fn insert_snapshot(connection: &mut SqliteConnection, snapshot: &Snapshot) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("INSERT OR REPLACE INTO snapshot (size, root, digest, bytes) VALUES (?1, ?2, ?3, ?4)")
        .bind(to_sql(snapshot.size))
        .bind(snapshot.root.as_bytes().as_slice())
        .bind(snapshot.digest.as_slice())
        .bind(snapshot.bytes.as_slice())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "DELETE FROM snapshot WHERE size NOT IN (SELECT size FROM snapshot ORDER BY size DESC LIMIT ?1)",
    )
    .bind(SNAPSHOTS_KEPT)
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

async fn delete_derived(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for statement in ["DELETE FROM node", "DELETE FROM checkpoint", "DELETE FROM snapshot"] {
        sqlx::query(statement).execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

/// Makes all hashes again; unless they lead to `expected`, nothing changes.
async fn replace_nodes(connection: &mut SqliteConnection, expected: &Frontier) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("DELETE FROM node").execute(&mut *transaction).await?;
    if insert_all_nodes(&mut transaction).await? != *expected {
        return Err(StoreError::corrupt("the entries do not lead to the root that the log had"));
    }
    Ok(transaction.commit().await?)
}

/// Makes the hashes of a log that has none.
pub(super) async fn rebuild_nodes(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    insert_all_nodes(&mut transaction).await?;
    transaction.commit().await?;
    Ok(())
}

async fn insert_all_nodes(connection: &mut SqliteConnection) -> Result<Frontier, StoreError> {
    let size = rows::size(connection).await?;
    let mut frontier = Frontier::empty();
    while frontier.size() < size {
        let end = size.min(frontier.size() + 1024);
        let mut nodes = Nodes::starting_at(&frontier);
        let entries = super::read::batch(connection, frontier.size()..end).await?;
        nodes.complete(&mut frontier, &entries);
        nodes.insert(connection).await?;
    }
    Ok(frontier)
}

/// Holds the newest checkpoint against the tree: a log must never be shorter than what it signed.
pub(super) async fn check_checkpoint(
    connection: &mut SqliteConnection,
    frontier: &Frontier,
) -> Result<(), StoreError> {
    let Some(signed) = latest_checkpoint(connection).await? else { return Ok(()) };
    let head = signed.unverified();
    if head.size > frontier.size() {
        return Err(StoreError::RolledBack { size: frontier.size(), checkpoint: head.size });
    }
    let nodes = rows::nodes(connection, &tlog::root_nodes(head.size)).await?;
    if tlog::root_at(head.size, |id| nodes.get(&id).copied())? != head.root {
        return Err(StoreError::RootMismatch { what: "checkpoint", size: head.size });
    }
    Ok(())
}

async fn latest_checkpoint(
    connection: &mut SqliteConnection,
) -> Result<Option<SignedCheckpoint>, StoreError> {
    let query = sqlx::query("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1");
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some(row.try_get::<&str, _>(0)?.parse()?))
}
