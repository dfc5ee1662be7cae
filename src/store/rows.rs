//! Small queries that several operations share: the size, nodes by name, and numbers as SQL has them.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::error::StoreError;
use crate::tlog::{Hash, NodeId};

/// A size or index as SQLite's signed integer. Trees end at 2^53, so every valid one fits.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Back from SQLite. The tables' checks keep negatives out, so one means damage.
pub(super) fn from_sql(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::corrupt(format!("a negative number ({number})")))
}

/// The number of entries.
pub(super) async fn size(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT max(idx) FROM entry").fetch_one(connection).await?;
    row.try_get::<Option<i64>, _>(0)?.map_or(Ok(0), |last| Ok(from_sql(last)? + 1))
}

/// The number of stored nodes.
pub(super) async fn node_count(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT max(position) FROM node").fetch_one(connection).await?;
    row.try_get::<Option<i64>, _>(0)?.map_or(Ok(0), |last| Ok(from_sql(last)? + 1))
}

/// The bytes of an entry, `None` beyond the end.
pub(super) async fn entry(
    connection: &mut SqliteConnection,
    index: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let query = sqlx::query("SELECT bytes FROM entry WHERE idx = ?1").bind(to_sql(index));
    Ok(query.fetch_optional(connection).await?.map(|row| row.try_get(0)).transpose()?)
}

/// Stored nodes by name. Missing ones are left out: who needs them says so.
pub(super) async fn nodes(
    connection: &mut SqliteConnection,
    ids: &[NodeId],
) -> Result<HashMap<NodeId, Hash>, StoreError> {
    let by_position: HashMap<i64, NodeId> = ids.iter().map(|id| (to_sql(id.position()), *id)).collect();
    let positions: Vec<String> = by_position.keys().map(i64::to_string).collect();
    let rows =
        sqlx::query("SELECT position, hash FROM node WHERE position IN (SELECT value FROM json_each(?1))")
            .bind(format!("[{}]", positions.join(",")))
            .fetch_all(connection)
            .await?;
    let mut found = HashMap::with_capacity(ids.len());
    for row in rows {
        if let Some(id) = by_position.get(&row.try_get(0)?) {
            found.insert(*id, Hash::try_from(row.try_get::<&[u8], _>(1)?)?);
        }
    }
    Ok(found)
}
