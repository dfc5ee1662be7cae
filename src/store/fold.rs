//! Folding the write-ahead log into the database, beside the appends instead of inside one of them.
//!
//! SQLite would do it at the end of every thousandth page's commit, which then takes fifty times as long as the others;
//! and it would do it on a full disk too, with the space that was just freed for kills. So its own way is off
//! (`wal_autocheckpoint=0`), and this task is told when there is something to fold.

use std::fs;
use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::files::beside;

/// Written bytes after which it is worth folding.
const WORTH: u64 = 4 * 1024 * 1024;
/// Length of the file above which appends wait a moment, so that it starts again from its beginning.
const TOO_LONG: u64 = 64 * 1024 * 1024;
/// What a small transaction writes beside its entries: the pages at the ends of two tables, and their parents.
const PER_TRANSACTION: u64 = 24 * 1024;

/// The task, and what was written since it was last told.
#[derive(Debug)]
pub(super) struct Folder {
    tell: mpsc::Sender<()>,
    task: JoinHandle<()>,
    written: u64,
}

impl Folder {
    pub(super) fn start(connection: SqliteConnection, path: &Path) -> Self {
        // One is enough: told twice, it folds once.
        let (tell, told) = mpsc::channel(1);
        Self { tell, task: tokio::spawn(run(connection, beside(path, "-wal"), told)), written: 0 }
    }

    /// Notes a transaction over entries of so many bytes, and tells the task when it is worth it.
    pub(super) fn wrote(&mut self, bytes: u64) {
        self.written += bytes + PER_TRANSACTION;
        if self.written >= WORTH {
            self.written = 0;
            // Full means that it has been told already; closed, that the runtime is going down.
            let _ = self.tell.try_send(());
        }
    }

    /// Ends the task, after what it is doing.
    pub(super) async fn stop(self) {
        drop(self.tell);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that folds the write-ahead log has failed");
        }
    }
}

async fn run(mut connection: SqliteConnection, wal: PathBuf, mut told: mpsc::Receiver<()>) {
    while told.recv().await.is_some() {
        let mut done = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await;
        if done.is_ok() && fs::metadata(&wal).is_ok_and(|metadata| metadata.len() > TOO_LONG) {
            done = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
        }
        // Nothing is lost: what is not folded stays in the write-ahead log, and the next time it is written whole again.
        if let Err(error) = done {
            tracing::warn!(%error, "cannot fold the write-ahead log into the database; it grows until this works");
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the log's database did not close cleanly; the next start recovers it");
    }
}
