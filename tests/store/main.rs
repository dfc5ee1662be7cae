//! The log in SQLite, over real files: what it promises in quiet times, and under faults.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do, by panicking")]

mod basics;
mod common;
mod derived;
mod export;
mod go;
