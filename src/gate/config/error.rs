//! Why a gate's configuration cannot be used.

use std::{io, path::PathBuf};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum GateConfigError {
    /// A file could not be read.
    #[error("{path} could not be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not TOML of the right shape.
    #[error("{path} is not the configuration of a gate; breakglass-gate --help shows one")]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be meant.
    #[error("{path}: {what}")]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong with which value.
        what: String,
    },
    /// A private key that others can read.
    #[error(
        "{path} can be read by others (mode {mode:o}): chmod 600 it, and consider whether the key is still yours alone"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}
