//! What the daemon tells its operators: structured logs (`log`) and numbers (`metrics`).
//!
//! Invariant: nothing here can carry a secret. Labels of metrics are words of the program, never of a client; logs name
//! ids, and the types that hold PINs and tokens have no text form.

mod log;
mod metrics;

pub use log::{Format, LogError, init, subscriber};
pub(crate) use metrics::encoded;
pub use metrics::{CONTENT_TYPE, Canary, Device, Metrics, Moment};
