//! Reading an exported log back, and noticing whatever in it does not fit.
//!
//! Invariant: entries are handed out only after their hashes were found in the tiles, and the end is reached only if
//! the entries have the root of the checkpoint and every tile is what the entries make of it, byte for byte. The
//! checkpoint's signature is for the caller to verify first, with a key that he has from elsewhere.
//!
//! Spec: C2SP tlog-tiles.

use std::fs::File;
use std::io::Read as _;

use super::error::StoreError;
use super::export::ExportDirectory;
use crate::tlog::{Checkpoint, HashTiles, Tile, TileFile, decode_bundle, leaf_hash};

/// A bundle of 256 entries of 65,535 bytes, each after its length.
const MAX_FILE_BYTES: u64 = 256 * (2 + 65_535);

/// A walk over the entries of an export, a bundle at a time.
#[derive(Debug)]
pub struct ExportReader {
    directory: ExportDirectory,
    checkpoint: Checkpoint,
    hashes: HashTiles,
    /// The first tile that differs. Told at the end, when the root has shown whether the entries are to blame.
    wrong_tile: Option<Tile>,
    finished: bool,
}

impl ExportDirectory {
    /// Reads the log that `checkpoint` describes.
    #[must_use]
    pub fn read(&self, checkpoint: Checkpoint) -> ExportReader {
        ExportReader {
            directory: self.clone(),
            checkpoint,
            hashes: HashTiles::default(),
            wrong_tile: None,
            finished: false,
        }
    }
}

impl ExportReader {
    /// The next entries, up to 256. `None` once all entries were read and everything has been found to fit.
    pub fn next_batch(&mut self) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let next = self.hashes.frontier().size();
        let Some(bundle) = Tile::bundle_of(next, self.checkpoint.size) else {
            return self.finish().map(|()| None);
        };
        let bytes = self.file(bundle)?;
        let entries: Vec<Vec<u8>> = decode_bundle(&bytes, bundle.width())
            .map_err(|error| self.wrong(bundle, error.to_string()))?
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect();
        // That the bundle itself is what the entries make of it needs no look: there is one encoding of them.
        let mut files: Vec<TileFile> =
            entries.iter().flat_map(|entry| self.hashes.push(leaf_hash(entry))).collect();
        if self.hashes.frontier().size() == self.checkpoint.size {
            files.extend(self.hashes.partial_tiles());
        }
        self.compare(&files)?;
        Ok(Some(entries))
    }

    /// Holds what the entries make against what is there.
    fn compare(&mut self, files: &[TileFile]) -> Result<(), StoreError> {
        for (tile, expected) in files {
            let found = self.file(*tile)?;
            if found == *expected {
                continue;
            }
            if found.len() != expected.len() {
                return Err(self.wrong(*tile, "the file has the wrong length".into()));
            }
            match tile.level() {
                Some(0) => {
                    let same =
                        found.chunks(32).zip(expected.chunks(32)).take_while(|(found, made)| found == made);
                    return Err(StoreError::ExportEntry(
                        tile.range().start + u64::try_from(same.count()).unwrap_or(0),
                    ));
                }
                _ => self.wrong_tile = self.wrong_tile.or(Some(*tile)),
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        if self.finished {
            return Ok(());
        }
        if self.hashes.frontier().root() != self.checkpoint.root {
            return Err(StoreError::RootMismatch { what: "checkpoint", size: self.checkpoint.size });
        }
        if let Some(tile) = self.wrong_tile {
            return Err(self.wrong(tile, "the tile does not hold the hashes of the entries".into()));
        }
        self.finished = true;
        Ok(())
    }

    fn file(&self, tile: Tile) -> Result<Vec<u8>, StoreError> {
        let path = self.directory.file_of(tile);
        let mut bytes = Vec::new();
        // An export comes from strangers: no file may be longer than the longest bundle.
        File::open(&path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| StoreError::io(format!("read {}", path.display()), error))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE_BYTES) {
            return Ok(bytes);
        }
        Err(self.wrong(tile, "the file is longer than any tile".into()))
    }

    fn wrong(&self, tile: Tile, what: String) -> StoreError {
        StoreError::Export { path: self.directory.file_of(tile), what }
    }
}
