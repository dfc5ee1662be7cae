//! The durable log in SQLite: entries, hashes, checkpoints, snapshots.
