//! Writing a log into a directory, as anybody's tools can read it.
//!
//! Invariants: every file appears complete (written beside its name, then renamed); `checkpoint` is written last, after
//! all that it covers is durable, and never over a checkpoint of another log or of a longer one. Run again, an export
//! keeps what is right already, so it resumes where it was interrupted.
//!
//! Spec: C2SP tlog-tiles.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::SqliteStore;
use super::error::StoreError;
use super::files::sync_directory_of;
use crate::tlog::{SignedCheckpoint, Tile, TileBuilder};

/// Longest checkpoint file that is read; the same limit as for notes.
const MAX_CHECKPOINT_BYTES: u64 = 128 * 1024;

/// A directory in the layout of tlog-tiles.
#[derive(Debug, Clone)]
pub struct ExportDirectory {
    path: PathBuf,
}

/// What an export did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportReport {
    /// Files written.
    pub written: u64,
    /// Files that were there already, with the same content.
    pub kept: u64,
}

impl ExportDirectory {
    /// The directory at `path`, which need not exist yet.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where a tile is.
    #[must_use]
    pub fn file_of(&self, tile: Tile) -> PathBuf {
        self.path.join(tile.to_string())
    }

    fn checkpoint_path(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// The checkpoint in the directory, unverified; `None` if there is none.
    pub fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, StoreError> {
        let path = self.checkpoint_path();
        let failed = |error: io::Error| StoreError::io(format!("read {}", path.display()), error);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(metadata) if metadata.len() > MAX_CHECKPOINT_BYTES => {
                return Err(StoreError::Export {
                    path: path.clone(),
                    what: "the checkpoint is too long".into(),
                });
            }
            Ok(_) => {}
        }
        let bytes = fs::read(&path).map_err(failed)?;
        let note = String::from_utf8(bytes).map_err(|_| StoreError::Export {
            path: path.clone(),
            what: "the checkpoint is not UTF-8".into(),
        })?;
        Ok(Some(note.parse()?))
    }

    /// Begins to write the log that `checkpoint` describes; its entries follow, from the first.
    pub fn export(&self, checkpoint: SignedCheckpoint) -> Result<Export, StoreError> {
        let refuse = |what: &str| Err(StoreError::Export { path: self.path.clone(), what: what.into() });
        let existing = self.checkpoint()?;
        if let Some(existing) = &existing {
            let (old, new) = (existing.unverified(), checkpoint.unverified());
            if old.origin != new.origin {
                return refuse("it holds another log; choose an empty directory");
            }
            if old.size > new.size {
                return refuse("it holds a longer log already; that one is the better copy");
            }
        }
        Ok(Export {
            directory: self.clone(),
            existing,
            checkpoint,
            builder: TileBuilder::default(),
            report: ExportReport::default(),
        })
    }
}

/// An export under way.
#[derive(Debug)]
pub struct Export {
    directory: ExportDirectory,
    /// The checkpoint found in the directory: the new log must pass through it.
    existing: Option<SignedCheckpoint>,
    checkpoint: SignedCheckpoint,
    builder: TileBuilder,
    report: ExportReport,
}

impl Export {
    /// The next entry that is expected, from 0.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.builder.frontier().size()
    }

    /// Adds entries. What they fill is written at once.
    pub fn push(&mut self, entries: Vec<Vec<u8>>) -> Result<(), StoreError> {
        for entry in entries {
            self.check_existing()?;
            for (tile, bytes) in self.builder.push(entry)? {
                self.write(&self.directory.file_of(tile), &bytes)?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and the checkpoint once all else is durable.
    pub fn finish(mut self) -> Result<ExportReport, StoreError> {
        self.check_existing()?;
        let head = self.checkpoint.unverified();
        let frontier = self.builder.frontier();
        if frontier.size() != head.size || frontier.root() != head.root {
            return Err(StoreError::RootMismatch { what: "checkpoint", size: head.size });
        }
        for (tile, bytes) in self.builder.partial_tiles()? {
            self.write(&self.directory.file_of(tile), &bytes)?;
        }
        let path = self.directory.checkpoint_path();
        let failed = |error: io::Error| StoreError::io(format!("make {} durable", path.display()), error);
        fs::create_dir_all(&self.directory.path).map_err(failed)?;
        // One flush of the file system instead of one per file: a large log has thousands.
        let directory = File::open(&self.directory.path).map_err(failed)?;
        rustix::fs::syncfs(&directory).map_err(|error| failed(error.into()))?;
        self.write(&path, self.checkpoint.to_string().as_bytes())?;
        File::open(&path).and_then(|file| file.sync_all()).map_err(failed)?;
        sync_directory_of(&path).map_err(failed)?;
        Ok(self.report)
    }

    /// A directory that holds another history is not overwritten: it may be the evidence.
    fn check_existing(&mut self) -> Result<(), StoreError> {
        let frontier = self.builder.frontier();
        let Some(existing) = self.existing.take_if(|note| note.unverified().size == frontier.size()) else {
            return Ok(());
        };
        if existing.unverified().root == frontier.root() {
            return Ok(());
        }
        Err(StoreError::Export {
            path: self.directory.path.clone(),
            what: "its checkpoint contradicts this log: keep both, and find out which was changed".into(),
        })
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        if fs::read(path).is_ok_and(|existing| existing == bytes) {
            self.report.kept += 1;
            return Ok(());
        }
        write_whole(path, bytes)
            .map_err(|error| StoreError::io(format!("write {}", path.display()), error))?;
        self.report.written += 1;
        Ok(())
    }
}

/// Beside its name first: a reader never sees half a file.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = super::files::beside(path, ".new");
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(&new, path)
}

impl SqliteStore {
    /// Exports the log up to `checkpoint` into a directory.
    pub async fn export(
        &self,
        directory: &ExportDirectory,
        checkpoint: SignedCheckpoint,
    ) -> Result<ExportReport, StoreError> {
        let head = checkpoint.unverified().clone();
        if self.root_at(head.size).await? != head.root {
            return Err(StoreError::RootMismatch { what: "checkpoint", size: head.size });
        }
        let mut export = directory.export(checkpoint)?;
        let mut batches = self.read(0..head.size);
        while let Some(batch) = batches.next().await? {
            export = on_blocking_thread(move || export.push(batch).map(|()| export)).await?;
        }
        on_blocking_thread(move || export.finish()).await
    }
}

/// File systems block, and a slow one must not hold up the daemon's other work.
async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::io("write the export", error))?
}
