//! The durable log in SQLite: entries, hashes, checkpoints, snapshots.
//!
//! Invariants:
//! - The audit log is the database: `entry` is the truth and is never re-serialised; all else is derived from it, can be
//!   dropped and made again.
//! - An append that returned `Ok` survives a crash of the machine: it is one transaction, and SQLite has fsynced its
//!   write-ahead log (`synchronous=FULL`) before it answers.
//! - One daemon per file (a lock beside it), one writer in it; readers see whole transactions only.
//! - After a failed write or fsync nothing more is written until a restart: what such a disk holds is unknown.

mod append;
mod derived;
mod error;
mod export;
mod export_reader;
mod files;
mod fold;
mod open;
mod read;
mod reserve;
mod rows;
mod schema;
mod tiles;

pub use derived::Snapshot;
pub use error::{AppendError, StoreError};
pub use export::{Export, ExportDirectory, ExportReport};
pub use export_reader::ExportReader;
pub use open::StoreOptions;
pub use read::EntryBatches;

use std::path::PathBuf;

use sqlx::SqlitePool;
use tokio::sync::{Mutex, watch};

use crate::tlog::Frontier;

/// An open log. Share it in an `Arc`; all methods take `&self`.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Mutex<append::Writer>,
    readers: SqlitePool,
    /// The newest durable tree; written after each commit, under the writer's lock.
    frontier: watch::Sender<Frontier>,
    /// Last, so that it is released after the connections are gone.
    _lock: files::Lock,
}

impl SqliteStore {
    /// The number of durable entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.borrow().size()
    }

    /// The newest durable tree.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        self.frontier.borrow().clone()
    }

    /// A receiver that is told of each append, after it is durable.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Frontier> {
        self.frontier.subscribe()
    }
}
