//! Reading signed bytes: one value has one text, and any other text that would mean the same is refused.
//!
//! Strict JSON alone leaves a little room: a list that stands for a set may repeat or reorder its values, and an absent
//! member may be written as null. Whoever signs such a text would sign what nobody else computes again.

use serde::{Serialize, de::DeserializeOwned};

use crate::jose::{JoseError, json};

/// Reads a value of at most `max` bytes whose canonical text is exactly these bytes.
pub(super) fn parse<T: DeserializeOwned + Serialize>(bytes: &[u8], max: usize) -> Result<T, JoseError> {
    let value: T = json::parse(bytes, max)?;
    if json::canonical(&value)? == bytes {
        return Ok(value);
    }
    Err(JoseError::JsonShape {
        detail: "lists that stand for sets are sorted and without repetition, and what is absent is left out"
            .into(),
    })
}
