//! The tables, and whether a file has them.
//!
//! `entry` is the truth; `node`, `checkpoint` and `snapshot` are derived from it and may be dropped. Entries are only
//! ever added: triggers refuse the rest, as a guard against this program's own mistakes (whoever has the file can drop
//! the triggers; the tree is what convicts him).
//!
//! `node.position` is the order of completion (see [`crate::tlog::NodeId::position`]), so that both large tables grow
//! at their end only, which is what a B-tree does best.

use std::path::Path;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::error::StoreError;

/// "BRKG", in the file's header, so that `file` and we know what it is.
const APPLICATION_ID: i64 = 0x4252_4b47;
/// Grows with each change of the tables.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE entry (
    idx INTEGER PRIMARY KEY CHECK (idx >= 0),
    bytes BLOB NOT NULL CHECK (length(bytes) <= 65535)
) STRICT;
CREATE TRIGGER entry_is_final BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'entries never change'); END;
CREATE TRIGGER entry_is_kept BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END;
CREATE TABLE node (
    position INTEGER PRIMARY KEY CHECK (position >= 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY CHECK (size >= 0),
    note TEXT NOT NULL
) STRICT;
CREATE TABLE snapshot (
    size INTEGER PRIMARY KEY CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    bytes BLOB NOT NULL
) STRICT;
PRAGMA application_id = 1112689479;
PRAGMA user_version = 1;
";

/// Makes the tables in an empty file, all or nothing.
pub(super) async fn create(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// Refuses files of other programs and other versions.
pub(super) async fn check(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let application: i64 =
        sqlx::query("PRAGMA application_id").fetch_one(&mut *connection).await?.try_get(0)?;
    if application != APPLICATION_ID {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    let found: i64 = sqlx::query("PRAGMA user_version").fetch_one(&mut *connection).await?.try_get(0)?;
    if found != VERSION {
        return Err(StoreError::SchemaVersion { found, known: VERSION });
    }
    Ok(())
}
