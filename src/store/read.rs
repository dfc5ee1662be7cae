//! Reading: entries one by one or in batches, past roots, and proofs.
//!
//! Reads never wait for the writer and only see what is durable: every index and size is held against the published
//! tree first. No entry is handed out whose bytes do not have the hash stored for it: SQLite has no checksums, and the
//! state is a fold over these bytes, so a flipped bit must not pass.

use std::collections::HashMap;
use std::ops::Range;

use sqlx::Row as _;

use super::SqliteStore;
use super::error::StoreError;
use super::rows::{self, from_sql, to_sql};
use crate::tlog::{self, Frontier, Hash, NodeId, TlogError};

/// Entries of one batch; with the longest entries it is 16 MiB.
const BATCH: u64 = 256;

impl SqliteStore {
    /// The bytes of one entry.
    pub async fn entry(&self, index: u64) -> Result<Vec<u8>, StoreError> {
        let size = self.size();
        if index >= size {
            return Err(TlogError::IndexOutOfRange { index, size }.into());
        }
        let mut connection = self.readers.acquire().await?;
        let mut found = checked_batch(&mut connection, index..index + 1).await?;
        found.pop().ok_or_else(|| StoreError::corrupt(format!("entry {index} is missing")))
    }

    /// Entries in order, in batches of up to 256. A range beyond the end is an error of the first batch.
    #[must_use]
    pub fn read(&self, range: Range<u64>) -> EntryBatches<'_> {
        EntryBatches { store: self, range }
    }

    /// The root of the first `size` entries.
    pub async fn root_at(&self, size: u64) -> Result<Hash, StoreError> {
        self.has_size(size)?;
        let newest = self.frontier();
        if newest.size() == size {
            return Ok(newest.root());
        }
        let nodes = self.nodes(&tlog::root_nodes(size)).await?;
        Ok(tlog::root_at(size, |id| nodes.get(&id).copied())?)
    }

    /// The proof that entry `index` is in the tree of the first `size` entries.
    pub async fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
        self.has_size(size)?;
        let nodes = self.nodes(&tlog::inclusion_nodes(index, size)?).await?;
        Ok(tlog::inclusion_proof(index, size, |id| nodes.get(&id).copied())?)
    }

    /// The proof that the first `from` entries are the same in the tree of the first `to` entries.
    pub async fn consistency_proof(&self, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
        self.has_size(to)?;
        let nodes = self.nodes(&tlog::consistency_nodes(from, to)?).await?;
        Ok(tlog::consistency_proof(from, to, |id| nodes.get(&id).copied())?)
    }

    pub(super) async fn nodes(&self, ids: &[NodeId]) -> Result<HashMap<NodeId, Hash>, StoreError> {
        rows::nodes(&mut *self.readers.acquire().await?, ids).await
    }

    pub(super) fn has_size(&self, wanted: u64) -> Result<(), StoreError> {
        let size = self.size();
        if wanted > size {
            return Err(TlogError::IndexOutOfRange { index: wanted, size }.into());
        }
        Ok(())
    }
}

/// A walk over entries; memory is one batch.
#[derive(Debug)]
pub struct EntryBatches<'a> {
    store: &'a SqliteStore,
    range: Range<u64>,
}

impl EntryBatches<'_> {
    /// The next batch, never empty; `None` at the end of the range.
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        self.store.has_size(self.range.end)?;
        // Batches end at multiples of their length, so that mostly one node covers one.
        let end = self.range.end.min((self.range.start / BATCH + 1) * BATCH);
        let mut connection = self.store.readers.acquire().await?;
        let batch = checked_batch(&mut connection, self.range.start..end).await?;
        self.range.start = end;
        Ok(Some(batch))
    }
}

/// The entries of a short range, held against the stored hashes of the fewest nodes that cover it.
async fn checked_batch(
    connection: &mut sqlx::SqliteConnection,
    range: Range<u64>,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let entries = batch(connection, range.clone()).await?;
    let cover = tlog::covering_nodes(range.start, range.end);
    let stored = rows::nodes(connection, &cover).await?;
    let mut leaves = entries.iter().map(|entry| tlog::leaf_hash(entry));
    for node in cover {
        let mut subtree = Frontier::empty();
        for leaf in leaves.by_ref().take(1 << node.level) {
            subtree.append(leaf, |_, _| {});
        }
        if stored.get(&node) != Some(&subtree.root()) {
            let (first, last) = (node.index << node.level, ((node.index + 1) << node.level) - 1);
            let what = format!("entries {first} to {last} do not have the hash that is stored for them");
            return Err(StoreError::corrupt(what));
        }
    }
    Ok(entries)
}

/// The entries of a short range, all of them: a gap is damage.
pub(super) async fn batch(
    connection: &mut sqlx::SqliteConnection,
    range: Range<u64>,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows = sqlx::query("SELECT idx, bytes FROM entry WHERE idx >= ?1 AND idx < ?2 ORDER BY idx")
        .bind(to_sql(range.start))
        .bind(to_sql(range.end))
        .fetch_all(connection)
        .await?;
    let mut entries = Vec::with_capacity(rows.len());
    let mut expected = range.clone();
    for row in rows {
        let index = from_sql(row.try_get(0)?)?;
        if expected.next() != Some(index) {
            return Err(StoreError::corrupt(format!("entry {index} follows a gap")));
        }
        entries.push(row.try_get(1)?);
    }
    match expected.next() {
        None => Ok(entries),
        Some(missing) => Err(StoreError::corrupt(format!("entry {missing} is missing"))),
    }
}
