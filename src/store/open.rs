//! Creating and opening a log: the lock, the file, its connections, and the checks that are cheap enough for every start.
//!
//! A log appears under its name complete or not at all: it is built beside it and renamed. `open` never creates, so a
//! deleted log is noticed instead of silently begun anew.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, watch};

use super::append::Writer;
use super::error::StoreError;
use super::files::{self, Lock, beside};
use super::fold::Folder;
use super::reserve::Reserve;
use super::{SqliteStore, derived, rows, schema};
use crate::tlog::{Frontier, leaf_hash, nodes_for_size, root_nodes};

/// How a log is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Connections that read while the writer writes; each has a thread and up to 1 MiB of cache.
    pub readers: u32,
    /// Bytes kept for kills and lifts on a full disk; 0 for none. A kill takes about 30 KB of write-ahead log.
    pub reserve_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { readers: 2, reserve_bytes: 4 * 1024 * 1024 }
    }
}

impl SqliteStore {
    /// Makes a new, empty log at `path`, whose directory must exist, and opens it.
    pub async fn create(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let lock = Lock::take(path)?;
        for taken in [path.to_owned(), beside(path, "-wal")] {
            if fs::exists(&taken)
                .map_err(|error| StoreError::io(format!("look for {}", taken.display()), error))?
            {
                return Err(StoreError::Exists(taken));
            }
        }
        let new = beside(path, ".new");
        let failed = |error| StoreError::io(format!("create the log {}", path.display()), error);
        // What an interrupted creation left was never a log.
        for leftover in [new.clone(), beside(&new, "-wal"), beside(&new, "-shm")] {
            if let Err(error) = fs::remove_file(&leftover)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(failed(error));
            }
        }
        let file = files::create_private(&new).map_err(failed)?;
        let mut connection = writer_options(&new, SqliteSynchronous::Full).connect().await?;
        schema::create(&mut connection).await?;
        connection.close().await?;
        file.sync_all().map_err(failed)?;
        fs::rename(&new, path).map_err(failed)?;
        files::sync_directory_of(path).map_err(failed)?;
        Self::open_locked(path, options, lock).await
    }

    /// Opens the log at `path`, and checks that its size, newest hashes and newest checkpoint agree. Where the hashes
    /// have been dropped, they are made again from the entries first.
    pub async fn open(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        // Before the lock, so that a wrong path leaves no lock file behind.
        if !path.is_file() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let lock = Lock::take(path)?;
        Self::open_locked(path, options, lock).await
    }

    async fn open_locked(path: &Path, options: StoreOptions, lock: Lock) -> Result<Self, StoreError> {
        files::make_private(path)
            .map_err(|error| StoreError::io(format!("restrict access to {}", path.display()), error))?;
        let mut reserve = Reserve::of(path, options.reserve_bytes);
        let mut connection = match connect(path).await {
            // SQLite needs a few pages beside the database even to read it: on a full disk they come from the reserve.
            Err(error) if reserve.release() => {
                tracing::error!(%error, "cannot open the log; trying again without the reserve");
                connect(path).await?
            }
            connected => {
                reserve.restore();
                connected?
            }
        };
        if rows::node_count(&mut connection).await? == 0 && rows::size(&mut connection).await? > 0 {
            tracing::warn!("the log has no hashes; making them from the entries");
            derived::rebuild_nodes(&mut connection).await?;
        }
        let frontier = load_frontier(&mut connection).await?;
        derived::check_checkpoint(&mut connection, &frontier).await?;
        let derived = writer_options(path, SqliteSynchronous::Normal).connect().await?;
        let folder = Folder::start(writer_options(path, SqliteSynchronous::Full).connect().await?, path);
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers.max(1))
            .min_connections(0)
            .idle_timeout(Duration::from_mins(1))
            .connect_lazy_with(base_options(path).read_only(true).pragma("cache_size", "-1024"));
        Ok(Self {
            path: path.to_owned(),
            writer: Mutex::new(Writer::new(connection, derived, reserve, folder)),
            readers,
            frontier: watch::Sender::new(frontier),
            _lock: lock,
        })
    }

    /// Closes the connections and folds the write-ahead log into the database.
    ///
    /// Dropping the store is as safe for the data, but its threads may still be at work when the lock is already free:
    /// whoever opens the same log again in the same process closes it first.
    pub async fn close(self) {
        let writer = self.writer.into_inner();
        // The connection that closes last folds, unless it cannot write: that is wanted where the disk is full and the
        // space left belongs to kills.
        let keep_unfolded = if writer.reserve.is_whole() { None } else { self.readers.acquire().await.ok() };
        if keep_unfolded.is_none() {
            self.readers.close().await;
        }
        writer.close().await;
        drop(keep_unfolded);
        self.readers.close().await;
    }
}

/// The writer's connection, to a database that is ours.
async fn connect(path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut connection = writer_options(path, SqliteSynchronous::Full).connect().await?;
    schema::check(&mut connection, path).await?;
    Ok(connection)
}

fn base_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(16)
        // Rows that the driver's thread may be ahead: a batch, so that it is not woken for every few of them.
        .row_buffer_size(256)
        // A damaged page is reported where it is read, not where it surfaces.
        .pragma("cell_size_check", "ON")
        .pragma("trusted_schema", "OFF")
}

/// A connection that writes. Entries are written with `Full`: fsynced before COMMIT returns. Derived data is written
/// with `Normal`: never torn, durable with the next append, and reproducible if it is lost before that.
pub(super) fn writer_options(path: &Path, synchronous: SqliteSynchronous) -> SqliteConnectOptions {
    base_options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .pragma("cache_size", "-4096")
        .pragma("wal_autocheckpoint", "0")
}

/// Reads the right edge of the tree, and checks that entries and hashes end at the same place.
pub(super) async fn load_frontier(connection: &mut SqliteConnection) -> Result<Frontier, StoreError> {
    let size = rows::size(connection).await?;
    let (found, expected) = (rows::node_count(connection).await?, nodes_for_size(size));
    if found != expected {
        return Err(StoreError::corrupt(format!("{size} entries need {expected} hashes, there are {found}")));
    }
    if let Some(last) = size.checked_sub(1) {
        let bytes = rows::entry(connection, last).await?;
        let leaf = crate::tlog::NodeId { level: 0, index: last };
        let stored = rows::nodes(connection, &[leaf]).await?;
        if bytes.map(|bytes| leaf_hash(&bytes)) != stored.get(&leaf).copied() {
            return Err(StoreError::corrupt(format!(
                "entry {last} does not have the hash that is stored for it"
            )));
        }
    }
    let nodes = rows::nodes(connection, &root_nodes(size)).await?;
    Ok(Frontier::from_nodes(size, |id| nodes.get(&id).copied())?)
}
