//! Entry bundles: up to 256 entries in one file, each after its length.
//!
//! Spec: C2SP tlog-tiles, "Log entries": a big-endian uint16 length before each entry.

use super::error::TlogError;
use super::tile::TILE_WIDTH;

/// Longest entry in bytes, which a bundle's 16-bit length can say.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// Puts entries, in their order, into a bundle. At most 256.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, TlogError> {
    if entries.len() > usize::from(TILE_WIDTH) {
        return Err(TlogError::BadTile("a bundle holds at most 256 entries"));
    }
    let mut bundle = Vec::new();
    for entry in entries {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| TlogError::EntryTooLong(entry.len()))?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// Takes a bundle of exactly `width` entries apart.
pub fn decode_bundle(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, TlogError> {
    let mut entries = Vec::with_capacity(usize::from(width));
    let mut rest = bundle;
    for _ in 0..width {
        let (length, tail) =
            rest.split_first_chunk::<2>().ok_or(TlogError::BadTile("a bundle ends too early"))?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, tail) =
            tail.split_at_checked(length).ok_or(TlogError::BadTile("a bundle ends in an entry"))?;
        entries.push(entry);
        rest = tail;
    }
    if rest.is_empty() {
        Ok(entries)
    } else {
        Err(TlogError::BadTile("a bundle has bytes after its last entry"))
    }
}
