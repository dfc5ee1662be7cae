//! Strict JSON: one value has one text, and no text can mislead its reader.
//!
//! Invariants: what [`canonical`] writes, [`parse`] reads; what [`parse`] reads canonicalises back to the same bytes;
//! what one of them refuses, the other refuses too. Spec: RFC 8785 (JCS), narrowed to integers of 53 bits and to
//! NFC text without control, format, private or unassigned characters.

mod scan;
mod serializer;
mod write;

use serde::{Deserialize, Serialize};

use super::JoseError;

/// Levels of nesting that a statement may have.
pub const MAX_DEPTH: usize = 32;

/// The canonical bytes of a value.
///
/// # Errors
/// [`JoseError::Serialize`] for what is no JSON; the errors of [`parse`] for what no reader would take.
pub fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, JoseError> {
    write::to_vec(value)
}

/// Reads a value of at most `max` bytes. `T` denies unknown fields itself.
///
/// # Errors
/// A `JSON_…` or `TEXT_…` error for the first rule that the bytes break, [`JoseError::TooLong`] before reading them.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], max: usize) -> Result<T, JoseError> {
    if bytes.len() > max {
        return Err(JoseError::TooLong { limit: max, actual: bytes.len() });
    }
    serde_json::from_str(scan::check(bytes)?)
        .map_err(|error| JoseError::JsonShape { detail: super::error::excerpt(&error.to_string()) })
}

#[cfg(test)]
mod tests;
