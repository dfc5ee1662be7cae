//! The log in SQLite, over real files: what it promises in quiet times, and under faults.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do, by panicking")]

mod basics;
mod common;
