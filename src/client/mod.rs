//! The gRPC client: dials a daemon whose key is pinned, and turns statuses into typed errors.
//!
//! The connection proves to whom one talks, not what is true: statements are checked by whoever reads them.

mod dial;
mod error;
pub mod kills;

pub use dial::{Channel, Dial};
pub use error::{ClientError, ConnectError};
