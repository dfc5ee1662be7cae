//! Hash tiles, as others read them, straight from the stored hashes.
//!
//! Invariant: a tile holds only hashes of durable entries. It is not checked here against the tree: whoever fetches
//! tiles checks them against a checkpoint.
//!
//! Spec: C2SP tlog-tiles.

use super::SqliteStore;
use super::error::StoreError;
use crate::tlog::{NodeId, Tile};

impl SqliteStore {
    /// The bytes of a hash tile: its hashes, one after the other; `None` if the log is too short for it, or if it is a
    /// bundle of entries.
    pub async fn hash_tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, StoreError> {
        let ids: Vec<NodeId> = tile.nodes().collect();
        let Some(last) = ids.last() else { return Ok(None) };
        // Shifted down, not up: an index of a high level can be too large for that.
        if last.index >= self.size() >> last.level {
            return Ok(None);
        }
        let nodes = self.nodes(&ids).await?;
        let mut bytes = Vec::with_capacity(ids.len() * 32);
        for id in ids {
            let hash =
                nodes.get(&id).ok_or_else(|| StoreError::corrupt(format!("node {id:?} is missing")))?;
            bytes.extend_from_slice(hash.as_bytes());
        }
        Ok(Some(bytes))
    }
}
