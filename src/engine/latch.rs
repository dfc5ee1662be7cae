//! The latch: once closed, it stays closed for the life of the process.

use std::sync::{Arc, OnceLock};

/// Why nothing is decided any more, if so. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Latch(Arc<OnceLock<String>>);

impl Latch {
    /// Closes it; the first reason stays.
    pub fn close(&self, why: impl Into<String>) {
        let why = why.into();
        if self.0.set(why.clone()).is_ok() {
            tracing::error!(why, "latched: nothing is decided any more until an operator has looked into it");
        }
    }

    /// The reason, if it is closed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}
