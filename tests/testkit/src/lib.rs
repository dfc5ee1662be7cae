//! Real processes for tests: directories, free ports, guards that end what they started, waiting for events.
//!
//! Invariants: knows nothing of the program under test; everything it starts is ended by its own process id when the
//! guard is dropped, also when a test panics; nothing sleeps for a fixed time.

mod child;
mod openbao;
mod port;
mod postgres;
mod process;
mod softhsm;
mod swtpm;
mod wait;

pub use child::in_child;
pub use openbao::{BaoAnswer, OpenBao};
pub use port::free_port;
pub use postgres::Postgres;
pub use process::Process;
pub use softhsm::{Away, SOFTHSM_MODULE, SoftHsm};
pub use swtpm::{Swtpm, TPM2_MODULE};
pub use wait::wait_for;

/// A fresh directory that is removed when the value is dropped.
///
/// # Panics
/// If the operating system gives none.
#[must_use]
pub fn temp_dir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("breakglass-test-").tempdir().expect("a temporary directory")
}
