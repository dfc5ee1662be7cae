//! Appending: compare-and-swap of the log's size, with the hashes that the new entries complete.
//!
//! Invariants: a batch is durable as a whole or not there at all, hashes included; the published frontier only ever
//! describes durable entries. Dropping the future at any point is safe: the next writer reads back what became of it.

use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteQueryResult, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio_stream::StreamExt as _;

use super::SqliteStore;
use super::error::{AppendError, StoreError};
use super::fold::Folder;
use super::open::{load_frontier, writer_options};
use super::reserve::Reserve;
use super::rows::to_sql;
use crate::tlog::{Frontier, MAX_ENTRY_BYTES, MAX_SIZE, leaf_hash};

// Texts that are joined at compile time, which constants cannot be. Their parameters are in the order of the text, since
// the numbers of parameters would count through the whole transaction.

macro_rules! insert_entries {
    () => {
        "INSERT INTO entry (idx, bytes)
         SELECT ? + place.key, substr(batch.bytes, place.value ->> 0, place.value ->> 1)
         FROM (SELECT ? AS bytes) AS batch, json_each(?) AS place"
    };
}

macro_rules! insert_nodes {
    () => {
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
         INSERT INTO node (position, hash) SELECT ? + i, substr(?, 32 * i + 1, 32) FROM n"
    };
}

/// An append as one text.
const TRANSACTION: &str = concat!("BEGIN IMMEDIATE;", insert_entries!(), ";", insert_nodes!(), ";COMMIT");

/// Bytes of entries bound to one statement; bounds the copies that the driver makes.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of free space below which the disk counts as full before an append has failed.
const ROOM: u64 = 64 * 1024;

/// The one writer of a log.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` after a failed write: the driver's idea of the transaction may be wrong then, a new connection's is not.
    entries: Option<SqliteConnection>,
    /// Whether a write has begun whose outcome nobody has seen. The driver finishes an abandoned command, and only the
    /// same connection is sure to look after that: so it is kept, and asked what is there.
    uncertain: bool,
    /// The connection for derived data; `None` after a failed or abandoned write.
    pub(super) derived: Option<SqliteConnection>,
    pub(super) reserve: Reserve,
    folder: Folder,
    /// Latched: why nothing is written until a restart.
    pub(super) broken: Option<String>,
}

impl Writer {
    pub(super) fn new(
        entries: SqliteConnection,
        derived: SqliteConnection,
        reserve: Reserve,
        folder: Folder,
    ) -> Self {
        let derived = Some(derived);
        Self { entries: Some(entries), uncertain: false, derived, reserve, folder, broken: None }
    }

    /// Remembers a failure after which the disk cannot be relied on.
    pub(super) fn latch(&mut self, error: &AppendError) {
        if let AppendError::Broken(why) = error {
            tracing::error!(%why, "the log is broken; nothing more is written until a restart");
            self.broken.get_or_insert_with(|| why.clone());
        }
    }

    pub(super) async fn close(self) {
        self.folder.stop().await;
        for connection in [self.derived, self.entries].into_iter().flatten() {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "the log's database did not close cleanly; the next start recovers it");
            }
        }
    }
}

impl SqliteStore {
    /// Appends `entries`, byte for byte, if the log still has `expected_size` entries.
    ///
    /// On `Ok` they are durable, and have the indices `expected_size ..`. An empty batch only compares the size.
    pub async fn append(&self, expected_size: u64, entries: &[Vec<u8>]) -> Result<(), AppendError> {
        self.append_as(expected_size, entries, false).await
    }

    /// Whether an append can be expected to succeed: nothing is latched, the reserve is in place, the disk has room.
    pub async fn writable(&self) -> Result<(), AppendError> {
        match self.append(self.size(), &[]).await {
            // Somebody was faster, which is as good.
            Ok(()) | Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
        // A file system that cannot tell how full it is shows it at the next append.
        let room = rustix::fs::statvfs(&self.path).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if room.is_ok_and(|room| room < ROOM) { Err(AppendError::Full) } else { Ok(()) }
    }

    /// [`Self::append`] for kills and lifts: on a full disk they are written into space that was kept for them.
    pub async fn append_reserved(&self, expected_size: u64, entries: &[Vec<u8>]) -> Result<(), AppendError> {
        self.append_as(expected_size, entries, true).await
    }

    async fn append_as(&self, expected: u64, entries: &[Vec<u8>], reserved: bool) -> Result<(), AppendError> {
        for (position, entry) in entries.iter().enumerate() {
            if entry.len() > MAX_ENTRY_BYTES {
                return Err(AppendError::TooLarge { position, bytes: entry.len() });
            }
        }
        let mut writer = self.writer.lock().await;
        if let Some(why) = &writer.broken {
            return Err(AppendError::Broken(why.clone()));
        }
        // Put back first: what a kill was promised is not spent on anything else.
        let may_write = writer.reserve.restore() || reserved;
        let mut done = if may_write {
            self.append_locked(&mut writer, expected, entries).await
        } else {
            Err(AppendError::Full)
        };
        if reserved && matches!(done, Err(AppendError::Full)) && writer.reserve.release() {
            done = self.append_locked(&mut writer, expected, entries).await;
        }
        if let Err(error) = &done {
            writer.latch(error);
        }
        done
    }

    async fn append_locked(
        &self,
        writer: &mut Writer,
        expected: u64,
        entries: &[Vec<u8>],
    ) -> Result<(), AppendError> {
        let connection = match &mut writer.entries {
            Some(connection) => connection,
            empty => {
                writer.uncertain = true;
                empty.insert(
                    writer_options(&self.path, SqliteSynchronous::Full)
                        .connect()
                        .await
                        .map_err(StoreError::from)?,
                )
            }
        };
        if writer.uncertain {
            // An abandoned append may have left its transaction open. If there is none, this is an error, and right; if
            // it stays open, the next BEGIN is one.
            let _closed = sqlx::query("ROLLBACK").execute(&mut *connection).await;
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
            let found = load_frontier(&mut transaction).await?;
            transaction.commit().await.map_err(StoreError::from)?;
            self.frontier.send_replace(found);
            writer.uncertain = false;
        }
        let frontier = self.frontier();
        if frontier.size() != expected {
            return Err(AppendError::Conflict { expected, actual: frontier.size() });
        }
        if entries.is_empty() {
            return Ok(());
        }
        writer.uncertain = true;
        match write(connection, frontier, entries).await {
            Ok(grown) => {
                self.frontier.send_replace(grown);
                writer.uncertain = false;
                // While the reserve is released, its space is not for this.
                if writer.reserve.is_whole() {
                    writer.folder.wrote(entries.iter().map(|entry| entry.len() as u64).sum());
                }
                Ok(())
            }
            Err(error) => {
                if let Some(failed) = writer.entries.take() {
                    // It rolls back as it closes; that may fail for the same reason as the write.
                    let _ = failed.close().await;
                }
                Err(error.into())
            }
        }
    }
}

/// Writes entries and the nodes they complete in one transaction; returns the tree after it.
async fn write(
    connection: &mut SqliteConnection,
    mut frontier: Frontier,
    entries: &[Vec<u8>],
) -> Result<Frontier, StoreError> {
    let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    if frontier.size().saturating_add(count) > MAX_SIZE {
        return Err(StoreError::Full);
    }
    if chunk_length(entries) == entries.len() {
        write_at_once(connection, &mut frontier, entries).await?;
        return Ok(frontier);
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut rest = entries;
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(chunk_length(rest));
        let rows = Rows::of(frontier.size(), chunk);
        let done = rows.bind_to(sqlx::query(insert_entries!())).execute(&mut *transaction).await?;
        expect_rows(done.rows_affected(), chunk.len())?;
        let mut nodes = Nodes::starting_at(&frontier);
        nodes.complete(&mut frontier, chunk);
        nodes.insert(&mut transaction).await?;
        rest = tail;
    }
    transaction.commit().await?;
    Ok(frontier)
}

/// A batch as most are: the whole transaction goes to the driver's thread as one text, because four separate trips
/// there and back cost more than what they carry. An error leaves it open, and the caller closes the connection.
async fn write_at_once(
    connection: &mut SqliteConnection,
    frontier: &mut Frontier,
    entries: &[Vec<u8>],
) -> Result<(), StoreError> {
    let rows = Rows::of(frontier.size(), entries);
    let mut nodes = Nodes::starting_at(frontier);
    nodes.complete(frontier, entries);
    // Of BEGIN and COMMIT, SQLite repeats the number of the statement before.
    let expected = [None, Some(entries.len()), Some(nodes.count()), None];
    let done = connection.execute_many(nodes.bind_to(rows.bind_to(sqlx::query(TRANSACTION))));
    let done: Vec<SqliteQueryResult> = done.collect::<Result<_, _>>().await?;
    expect_rows(done.len() as u64, expected.len())?;
    for (done, expected) in done.iter().zip(expected) {
        expected.map_or(Ok(()), |expected| expect_rows(done.rows_affected(), expected))?;
    }
    Ok(())
}

/// How many of the entries go into one statement: at least one.
fn chunk_length(entries: &[Vec<u8>]) -> usize {
    let mut bytes = 0;
    let fitting = entries.iter().take_while(|entry| {
        bytes += entry.len();
        bytes <= CHUNK_BYTES
    });
    fitting.count().max(1)
}

type Query = sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments>;

/// Entries travel as one blob and a list of where each begins and how long it is: one statement for any number of rows,
/// several times faster than a row at a time.
struct Rows {
    first: u64,
    bytes: Vec<u8>,
    places: String,
}

impl Rows {
    fn of(first: u64, entries: &[Vec<u8>]) -> Self {
        let mut bytes = Vec::with_capacity(entries.iter().map(Vec::len).sum::<usize>() + 1);
        let mut places = Vec::with_capacity(entries.len());
        for entry in entries {
            // SQL counts from 1.
            places.push(format!("[{},{}]", bytes.len() + 1, entry.len()));
            bytes.extend_from_slice(entry);
        }
        // The driver binds an empty blob as NULL, which a batch of empty entries would be; this byte belongs to no entry.
        bytes.push(0);
        Self { first, bytes, places: format!("[{}]", places.join(",")) }
    }

    /// To the parameters of `insert_entries`.
    fn bind_to(self, query: Query) -> Query {
        query.bind(to_sql(self.first)).bind(self.bytes).bind(self.places)
    }
}

/// Newly completed nodes: consecutive positions, so one number and their bytes say it all.
pub(super) struct Nodes {
    first: u64,
    hashes: Vec<u8>,
}

impl Nodes {
    pub(super) fn starting_at(frontier: &Frontier) -> Self {
        Self { first: crate::tlog::nodes_for_size(frontier.size()), hashes: Vec::new() }
    }

    /// Grows the tree by these entries, and takes the nodes that they complete.
    pub(super) fn complete(&mut self, frontier: &mut Frontier, entries: &[Vec<u8>]) {
        for entry in entries {
            frontier.append(leaf_hash(entry), |_, hash| self.hashes.extend_from_slice(hash.as_bytes()));
        }
    }

    pub(super) async fn insert(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let count = self.count();
        let done = self.bind_to(sqlx::query(insert_nodes!())).execute(connection).await?;
        expect_rows(done.rows_affected(), count)
    }

    fn count(&self) -> usize {
        self.hashes.len() / 32
    }

    /// To the parameters of `insert_nodes`.
    fn bind_to(self, query: Query) -> Query {
        let count = i64::try_from(self.count()).unwrap_or(i64::MAX);
        query.bind(count).bind(to_sql(self.first)).bind(self.hashes)
    }
}

fn expect_rows(affected: u64, expected: usize) -> Result<(), StoreError> {
    if usize::try_from(affected) == Ok(expected) {
        return Ok(());
    }
    Err(StoreError::corrupt(format!("SQLite wrote {affected} rows where {expected} were given")))
}
