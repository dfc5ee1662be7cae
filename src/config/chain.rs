//! A chain of charters on disk: one signed charter, a JSON array of them, or a folder with one version per file.
//!
//! Nothing is verified here: `domain::charter::verify_chain` does that, from a pinned digest.

use std::{fs, io, path::Path};

use crate::{
    domain::charter::{CharterError, MAX_CHARTER_BYTES},
    jose::{Digest, GeneralJws, JoseError, json},
};

/// The longest chain that is read, in bytes: a thousand versions of the longest.
const MAX_CHAIN_BYTES: usize = 1_000 * MAX_CHARTER_BYTES;

/// Why a chain cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The system.
    #[error("{path} could not be read")]
    Read {
        /// What was read.
        path: std::path::PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not a chain.
    #[error("{path} is no chain of charters")]
    Shape {
        /// What was read.
        path: std::path::PathBuf,
        /// What is wrong.
        source: CharterError,
    },
}

impl ChainError {
    /// Stable, `UPPER_SNAKE`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "FILE_UNREADABLE",
            Self::Shape { source, .. } => source.reason(),
        }
    }
}

/// Reads the statements in order.
pub fn read(path: &Path) -> Result<Vec<GeneralJws>, ChainError> {
    let unreadable = |source| ChainError::Read { path: path.to_owned(), source };
    let shape = |error: JoseError| ChainError::Shape { path: path.to_owned(), source: error.into() };
    if path.is_dir() {
        let mut all = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if file.extension().is_some_and(|extension| extension == "json") {
                all.extend(read(&file)?);
            }
        }
        all.sort_by_key(|statement| (version(statement), Digest::of(&statement.payload)));
        return Ok(all);
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    if bytes.first() == Some(&b'[') {
        return json::parse(&bytes, MAX_CHAIN_BYTES).map_err(shape);
    }
    Ok(vec![GeneralJws::parse(&bytes, MAX_CHARTER_BYTES).map_err(shape)?])
}

/// The version that a document gives itself; only for the order of files.
fn version(statement: &GeneralJws) -> u64 {
    let document: Option<serde_json::Value> = serde_json::from_slice(&statement.payload).ok();
    document.and_then(|document| document.get("version")?.as_u64()).unwrap_or(0)
}

/// A chain as one file; a single version stays a signed charter.
pub fn to_bytes(statements: &[GeneralJws]) -> Result<Vec<u8>, JoseError> {
    match statements {
        [one] => Ok(one.to_json()),
        all => json::canonical(&all),
    }
}
