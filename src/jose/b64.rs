//! Base64url without padding, where every byte string has exactly one text.
//!
//! Invariant: `decode(t) == Ok(b)` implies `encode(b) == t`. Spec: RFC 4648 section 5, RFC 7515 section 2.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::JoseError;

/// Said in full although it is the default of `URL_SAFE_NO_PAD`: that trailing bits are refused is a promise here.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);

/// The unpadded base64url text of `bytes`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    ENGINE.encode(bytes)
}

/// The text of a digest or of another 32 bytes, without an allocation.
#[must_use]
pub fn encode_32(bytes: &[u8; 32]) -> [u8; 43] {
    let mut text = [b'A'; 43];
    // The buffer has exactly the length of the text.
    let _ = ENGINE.encode_slice(bytes, &mut text);
    text
}

/// The bytes of a base64url text.
///
/// # Errors
/// [`JoseError::Base64`] for padding, white space, foreign characters, and for trailing bits that are not zero.
pub fn decode(text: &str) -> Result<Vec<u8>, JoseError> {
    ENGINE.decode(text).map_err(|_| JoseError::Base64)
}

/// As [`decode`], into a buffer; `None` also if it does not fit.
pub(super) fn decode_into<'a>(text: &str, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let length = ENGINE.decode_slice(text, buffer).ok()?;
    buffer.get(..length)
}

/// As [`decode`], for a value of exactly `N` bytes.
///
/// # Errors
/// [`JoseError::Base64`], or [`JoseError::Length`] for any other number of bytes.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], JoseError> {
    // Refuse by length first: an overlong text is not worth an allocation of its size.
    let expected_text = N.div_ceil(3) * 4;
    if text.len() > expected_text {
        return Err(JoseError::Length { expected: N, actual: text.len() / 4 * 3 });
    }
    let mut array = [0; N];
    if ENGINE.decode_slice(text, &mut array) == Ok(N) {
        return Ok(array);
    }
    let actual = decode(text)?.len();
    Err(JoseError::Length { expected: N, actual })
}
