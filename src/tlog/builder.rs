//! All tiles of a log from its entries, in one pass and little memory.
//!
//! The exporter writes what this yields, and the auditor compares it with what he was given: the same code, so an export
//! that differs in one byte from its entries is noticed.
//!
//! Invariant: per level at most one incomplete tile is held, and one incomplete bundle (16 MiB at the very most).

use super::bundle::{MAX_ENTRY_BYTES, encode_bundle};
use super::error::TlogError;
use super::frontier::Frontier;
use super::hash::{Hash, leaf_hash};
use super::tile::{TILE_HEIGHT, TILE_WIDTH, Tile};

/// A file of an export: where, and what is in it.
pub type TileFile = (Tile, Vec<u8>);

/// Grows with each entry, and yields each tile when it is full.
#[derive(Debug, Default)]
pub struct TileBuilder {
    hashes: HashTiles,
    /// The entries of the bundle that is not full yet.
    bundle: Vec<Vec<u8>>,
}

/// The same without bundles, for who has the entries from them.
#[derive(Debug, Default)]
pub struct HashTiles {
    frontier: Frontier,
    /// By level, the hashes of the tile that is not full yet.
    levels: Vec<Vec<u8>>,
}

impl TileBuilder {
    /// The tree so far.
    #[must_use]
    pub fn frontier(&self) -> &Frontier {
        self.hashes.frontier()
    }

    /// Adds an entry; returns the tiles that it fills, the bundle first, then upwards.
    pub fn push(&mut self, entry: Vec<u8>) -> Result<Vec<TileFile>, TlogError> {
        if entry.len() > MAX_ENTRY_BYTES {
            return Err(TlogError::EntryTooLong(entry.len()));
        }
        let full = self.hashes.push(leaf_hash(&entry));
        self.bundle.push(entry);
        if self.bundle.len() < usize::from(TILE_WIDTH) {
            return Ok(full);
        }
        let bundle = encode_bundle(&self.bundle)?;
        self.bundle.clear();
        let file = (Tile::last_of(None, self.frontier().size()), bundle);
        Ok(std::iter::once(file).chain(full).collect())
    }

    /// The partial tiles at the end of the log.
    pub fn partial_tiles(&self) -> Result<Vec<TileFile>, TlogError> {
        let mut files = Vec::new();
        if !self.bundle.is_empty() {
            files.push((Tile::last_of(None, self.frontier().size()), encode_bundle(&self.bundle)?));
        }
        files.extend(self.hashes.partial_tiles());
        Ok(files)
    }
}

impl HashTiles {
    /// The tree so far.
    #[must_use]
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Adds a leaf; returns the tiles that it fills, from the bottom upwards.
    pub fn push(&mut self, leaf: Hash) -> Vec<TileFile> {
        let (levels, mut full) = (&mut self.levels, Vec::new());
        let size = self.frontier.size() + 1;
        self.frontier.append(leaf, |id, hash| {
            // Only each eighth level of the tree is in tiles.
            if !id.level.is_multiple_of(TILE_HEIGHT) {
                return;
            }
            let level = id.level / TILE_HEIGHT;
            if levels.len() <= usize::from(level) {
                levels.push(Vec::new());
            }
            if let Some(tile) = levels.get_mut(usize::from(level)) {
                tile.extend_from_slice(hash.as_bytes());
                if tile.len() == 32 * usize::from(TILE_WIDTH) {
                    full.push((Tile::last_of(Some(level), size), std::mem::take(tile)));
                }
            }
        });
        full
    }

    /// The partial tiles at the end of the log.
    #[must_use]
    pub fn partial_tiles(&self) -> Vec<TileFile> {
        let partial = (0..).zip(&self.levels).filter(|(_, hashes)| !hashes.is_empty());
        partial
            .map(|(level, hashes)| (Tile::last_of(Some(level), self.frontier.size()), hashes.clone()))
            .collect()
    }
}
