//! How a stream of events to a client ends.

use super::status::{Kind, ServiceError};

/// Why a watch ends.
pub(super) enum End {
    /// The client is gone: nobody is left to tell.
    Gone,
    /// The client is told.
    Told(ServiceError),
}

impl End {
    /// Because the daemon stops.
    pub(super) fn stopping() -> Self {
        Self::Told(ServiceError::new(
            Kind::Unavailable,
            "STOPPING",
            "the daemon stops: watch again when it is back",
        ))
    }
}
