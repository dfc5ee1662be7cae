//! The log in SQLite, over real files: what it promises in quiet times, and under faults.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do, by panicking, and say what they skip"
)]

mod basics;
mod common;
mod crash;
mod damage;
mod derived;
mod export;
mod full_disk;
mod go;
