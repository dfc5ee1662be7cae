//! All tiles of a log from its entries, in one pass and little memory.
//!
//! The exporter writes what this yields, and the auditor compares it with what he was given: the same code, so an export
//! that differs in one byte from its entries is noticed.
//!
//! Invariant: per level at most one incomplete tile is held, and one incomplete bundle (16 MiB at the very most).

use super::bundle::{MAX_ENTRY_BYTES, encode_bundle};
use super::error::TlogError;
use super::frontier::Frontier;
use super::hash::leaf_hash;
use super::tile::{TILE_HEIGHT, TILE_WIDTH, Tile};

/// A file of an export: where, and what is in it.
pub type TileFile = (Tile, Vec<u8>);

/// Grows with each entry, and yields each tile when it is full.
#[derive(Debug, Default)]
pub struct TileBuilder {
    frontier: Frontier,
    /// The entries of the bundle that is not full yet.
    bundle: Vec<Vec<u8>>,
    /// By level, the hashes of the tile that is not full yet.
    levels: Vec<Vec<u8>>,
}

impl TileBuilder {
    /// The tree so far.
    #[must_use]
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Adds an entry; returns the tiles that it fills, the bundle first, then upwards.
    pub fn push(&mut self, entry: Vec<u8>) -> Result<Vec<TileFile>, TlogError> {
        if entry.len() > MAX_ENTRY_BYTES {
            return Err(TlogError::EntryTooLong(entry.len()));
        }
        let levels = &mut self.levels;
        self.frontier.append(leaf_hash(&entry), |id, hash| {
            // Only each eighth level of the tree is in tiles.
            if id.level.is_multiple_of(TILE_HEIGHT) {
                let level = usize::from(id.level / TILE_HEIGHT);
                if levels.len() <= level {
                    levels.push(Vec::new());
                }
                if let Some(tile) = levels.get_mut(level) {
                    tile.extend_from_slice(hash.as_bytes());
                }
            }
        });
        self.bundle.push(entry);
        if self.bundle.len() == usize::from(TILE_WIDTH) { self.take_full() } else { Ok(Vec::new()) }
    }

    /// The partial tiles at the end of the log.
    pub fn partial_tiles(&self) -> Result<Vec<TileFile>, TlogError> {
        let mut files = Vec::new();
        let size = self.frontier.size();
        if !self.bundle.is_empty() {
            files.push((Tile::last_of(None, size), encode_bundle(&self.bundle)?));
        }
        for (level, hashes) in (0..).zip(&self.levels) {
            if !hashes.is_empty() {
                files.push((Tile::last_of(Some(level), size), hashes.clone()));
            }
        }
        Ok(files)
    }

    fn take_full(&mut self) -> Result<Vec<TileFile>, TlogError> {
        let size = self.frontier.size();
        let mut files = vec![(Tile::last_of(None, size), encode_bundle(&self.bundle)?)];
        self.bundle.clear();
        for (level, hashes) in (0..).zip(&mut self.levels) {
            if hashes.len() == 32 * usize::from(TILE_WIDTH) {
                files.push((Tile::last_of(Some(level), size), std::mem::take(hashes)));
            }
        }
        Ok(files)
    }
}
