//! The fixed input of health checks.
//!
//! Invariant: it can never be mistaken for anything that the system signs in earnest. A JWS signing input is
//! base64url with one dot, and a checkpoint is lines of text; this has a NUL, which neither can contain.

/// What a canary signs: no JWS (RFC 7515 section 5.1), no signed note (C2SP).
pub const CANARY: &[u8] = b"breakglass canary v1\0this is neither a token nor a checkpoint";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_is_no_signing_input_and_no_note() {
        assert!(CANARY.contains(&0));
        assert!(!CANARY.contains(&b'.') && !CANARY.contains(&b'\n'));
    }
}
