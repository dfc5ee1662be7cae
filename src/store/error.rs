//! What can go wrong with the database file, sorted by what a person does about it.
//!
//! The driver's own message is kept as `source()`, never in the text: it may name paths and pages that mean nothing to
//! a client.

use std::path::PathBuf;

use crate::tlog::TlogError;

/// Why a store cannot be opened, read or derived from.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the lock.
    #[error(
        "another daemon (process {holder}) has the log {path} open; stop it first: one daemon per SQLite file"
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// What the holder wrote into the lock file; a process id.
        holder: String,
    },
    /// There is no database, and `open` never makes one: an empty log in place of a lost one would go unnoticed.
    #[error("there is no log at {0}; restore it from a copy, or create a new one with `breakglassd init`")]
    Missing(PathBuf),
    /// `create` found a database, or the journal of one.
    #[error("{0} exists already; a new log never replaces an old one")]
    Exists(PathBuf),
    /// Not a database of this program.
    #[error("{0} is not a Breakglass log; check the configured path")]
    Foreign(PathBuf),
    /// Written by another version of the program.
    #[error(
        "the log has schema version {found}, this program knows {known}; use the program version that wrote it"
    )]
    SchemaVersion {
        /// In the file.
        found: i64,
        /// In this program.
        known: i64,
    },
    /// The file is damaged, or what it holds cannot be.
    #[error("the log is damaged: {what}; stop, keep the file, and restore from an export or a backup")]
    Corrupt {
        /// What was found, in words.
        what: String,
        /// The driver's error, where there is one.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// The log is shorter than a checkpoint that it signed.
    #[error(
        "the log has {size} entries, but a checkpoint over {checkpoint} was signed: entries were lost or rolled back"
    )]
    RolledBack {
        /// Entries found.
        size: u64,
        /// Entries that the stored checkpoint covers.
        checkpoint: u64,
    },
    /// A stored checkpoint or snapshot has another root than the tree.
    #[error(
        "the {what} at size {size} does not have the root of the log; trust neither until a person has looked"
    )]
    RootMismatch {
        /// `checkpoint` or `snapshot`.
        what: &'static str,
        /// The size at which they differ.
        size: u64,
    },
    /// An export directory that cannot be written to, or is not what its checkpoint says.
    #[error("the export {path}: {what}")]
    Export {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What is wrong, in words.
        what: String,
    },
    /// An exported entry does not have the hash that its tile says.
    #[error("entry {0} of the export and its hash in the tile differ: one of the two was changed")]
    ExportEntry(u64),
    /// An index, size or proof that the log does not have.
    #[error(transparent)]
    Tlog(TlogError),
    /// The disk is full.
    #[error("the disk of the log is full; free some space")]
    Full,
    /// The file system or the driver failed.
    #[error("cannot {what}")]
    Io {
        /// What was being done, to what.
        what: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// The stable name of this error for programs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "STORE_LOCKED",
            Self::Missing(_) => "STORE_MISSING",
            Self::Exists(_) => "STORE_EXISTS",
            Self::Foreign(_) => "STORE_FOREIGN",
            Self::SchemaVersion { .. } => "STORE_SCHEMA_VERSION",
            Self::Corrupt { .. } => "STORE_CORRUPT",
            Self::RolledBack { .. } => "STORE_ROLLED_BACK",
            Self::RootMismatch { .. } => "STORE_ROOT_MISMATCH",
            Self::Export { .. } => "EXPORT_INVALID",
            Self::ExportEntry(_) => "EXPORT_ENTRY_CHANGED",
            Self::Tlog(error) => error.reason(),
            Self::Full => "STORE_FULL",
            Self::Io { .. } => "STORE_IO",
        }
    }

    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), source: None }
    }

    pub(super) fn io(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Io { what: what.into(), source: source.into() }
    }
}

impl From<TlogError> for StoreError {
    fn from(error: TlogError) -> Self {
        match error {
            // The store asks for complete nodes of durable entries only: all of them were written with the entries.
            TlogError::MissingNode(_) => Self::corrupt(error.to_string()),
            other => Self::Tlog(other),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        match primary_code(&source) {
            Some(SQLITE_FULL) => Self::Full,
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => {
                Self::Corrupt { what: "SQLite cannot read the file".into(), source: Some(source) }
            }
            _ => Self::io("use the log's database", source),
        }
    }
}

/// Why entries were not appended. In every case but [`AppendError::Broken`] nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The log has moved on since the caller decided.
    #[error("the log has {actual} entries, not {expected}; catch up and decide again")]
    Conflict {
        /// What the caller believed.
        expected: u64,
        /// What is.
        actual: u64,
    },
    /// The disk is full, or the reserve for kills is not in place.
    #[error(
        "the disk of the log is full; free some space: only kills and lifts are still recorded, from a reserve"
    )]
    Full,
    /// An entry that no export could hold.
    #[error("entry {position} of the batch has {bytes} bytes; an entry holds at most 65,535")]
    TooLarge {
        /// Its place in the batch, from 0.
        position: usize,
        /// Its length.
        bytes: usize,
    },
    /// Somebody else holds a lock inside the database file.
    #[error("the log's database is locked by another program; close it and try again")]
    Busy,
    /// The disk failed. Whether the batch is durable is unknown, so nothing more is written until a restart has read
    /// back what is there.
    #[error("the log's disk failed ({0}); nothing more is written until the daemon is restarted")]
    Broken(String),
}

impl AppendError {
    /// The stable name of this error for programs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "LOG_CONFLICT",
            Self::Full => "LOG_DISK_FULL",
            Self::TooLarge { .. } => "LOG_ENTRY_TOO_LONG",
            Self::Busy => "LOG_BUSY",
            Self::Broken(_) => "LOG_BROKEN",
        }
    }
}

impl From<StoreError> for AppendError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Io { source, .. } if is_busy(source.as_ref()) => Self::Busy,
            other => Self::Broken(with_causes(&other)),
        }
    }
}

/// The text of an error and all its causes: a latched error is shown long after the original is gone.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(super) fn is_busy(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    source
        .downcast_ref::<sqlx::Error>()
        .and_then(primary_code)
        .is_some_and(|code| matches!(code, SQLITE_BUSY | SQLITE_LOCKED))
}

// Primary result codes, https://www.sqlite.org/rescode.html
const SQLITE_BUSY: i64 = 5;
const SQLITE_LOCKED: i64 = 6;
const SQLITE_CORRUPT: i64 = 11;
const SQLITE_FULL: i64 = 13;
const SQLITE_NOTADB: i64 = 26;

/// SQLite's primary result code, the low byte of the extended one that the driver reports.
fn primary_code(error: &sqlx::Error) -> Option<i64> {
    let code: i64 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
