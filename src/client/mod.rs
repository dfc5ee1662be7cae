//! Clients of what the charter pins: a daemon's gRPC, with statuses as typed errors, and tunnels through a gate.
//!
//! The connection proves to whom one talks, not what is true: statements are checked by whoever reads them.

mod dial;
mod error;
pub mod kills;
pub mod tunnel;

pub use dial::{Channel, Dial};
pub use error::{ClientError, ConnectError};
