//! The reference that the writer and the reader are held against: slower, simpler, and written before them.
//!
//! The writer is `serde_json_canonicalizer`, by others; the reader looks at one byte after the other.

use std::borrow::Cow;
use std::cmp::Ordering;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use serde::{Serialize, de::DeserializeOwned};

use super::{JoseError, MAX_DEPTH};

/// The integers that an IEEE 754 double holds exactly, and its neighbours do not share (RFC 7493).
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// What [`super::canonical`] has to do.
pub(super) fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, JoseError> {
    let bytes = serde_json_canonicalizer::to_vec(value)
        .map_err(|error| JoseError::Serialize { detail: error.to_string() })?;
    check(&bytes)?;
    Ok(bytes)
}

/// What [`super::parse`] has to do.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JoseError> {
    check(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| JoseError::JsonShape { detail: error.to_string() })
}

/// Accepts `bytes` only if they are one canonical JSON value.
fn check(bytes: &[u8]) -> Result<(), JoseError> {
    let text = std::str::from_utf8(bytes).map_err(|e| JoseError::JsonMalformed { at: e.valid_up_to() })?;
    let mut scanner = Scanner { text, at: 0 };
    scanner.value(0)?;
    match scanner.peek() {
        None => Ok(()),
        Some(byte) => Err(scanner.unexpected(byte)),
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// What is wrong with a byte that no canonical text has here.
    fn unexpected(&self, byte: u8) -> JoseError {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => JoseError::JsonNotCanonical { at: self.at },
            _ => JoseError::JsonMalformed { at: self.at },
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<(), JoseError> {
        match self.peek() {
            Some(byte) if byte == wanted => {
                self.at += 1;
                Ok(())
            }
            Some(byte) => Err(self.unexpected(byte)),
            None => Err(JoseError::JsonMalformed { at: self.at }),
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), JoseError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(JoseError::JsonMalformed { at: self.at });
        }
        self.at += word.len();
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), JoseError> {
        match self.peek() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => Err(JoseError::JsonTooDeep { limit: MAX_DEPTH }),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(|_| ()),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(byte) => Err(self.unexpected(byte)),
            None => Err(JoseError::JsonMalformed { at: self.at }),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), JoseError> {
        self.expect(b'[')?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), JoseError> {
        self.expect(b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut previous: Option<Cow<'a, str>> = None;
        loop {
            let at = self.at;
            let name = unescape(self.string()?);
            match previous.as_deref().map(|before| utf16_order(before, &name)) {
                None | Some(Ordering::Less) => {}
                Some(Ordering::Equal) => return Err(JoseError::JsonDuplicate { at }),
                Some(Ordering::Greater) => return Err(JoseError::JsonNotCanonical { at }),
            }
            previous = Some(name);
            self.expect(b':')?;
            self.value(depth + 1)?;
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn number(&mut self) -> Result<(), JoseError> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let digits = self.at;
        let mut value: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let length = self.at - digits;
        let leading_zero = length > 1 && self.text.as_bytes().get(digits) == Some(&b'0');
        if length == 0 || leading_zero {
            return Err(JoseError::JsonMalformed { at: start });
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Err(JoseError::JsonNumber { at: start });
        }
        if negative && value == 0 {
            return Err(JoseError::JsonNotCanonical { at: start });
        }
        if value > MAX_SAFE_INTEGER {
            return Err(JoseError::JsonIntegerTooBig { at: start });
        }
        Ok(())
    }

    /// Passes one string, and returns what stands between its quotes, still escaped.
    fn string(&mut self) -> Result<&'a str, JoseError> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(0x00..=0x1f) | None => return Err(JoseError::JsonMalformed { at: self.at }),
                Some(_) => self.at += 1,
            }
        }
        // Quotes are ASCII, so both ends are character boundaries.
        let raw = self.text.get(start..self.at).unwrap_or_default();
        self.at += 1;
        readable(raw, start)?;
        Ok(raw)
    }

    fn escape(&mut self) -> Result<(), JoseError> {
        let at = self.at;
        match self.text.as_bytes().get(at + 1) {
            Some(b'"' | b'\\') => {
                self.at += 2;
                Ok(())
            }
            Some(b'b' | b'f' | b'n' | b'r' | b't') => Err(JoseError::TextForbidden { at }),
            Some(b'/') => Err(JoseError::JsonNotCanonical { at }),
            Some(b'u') => {
                let hex = self.text.get(at + 2..at + 6).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
                match hex.and_then(|hex| u16::from_str_radix(hex, 16).ok()) {
                    // Controls, and halves of a pair: a whole pair could have been written as one character.
                    Some(0x00..=0x1f | 0x7f..=0x9f | 0xd800..=0xdfff) => Err(JoseError::TextForbidden { at }),
                    Some(_) => Err(JoseError::JsonNotCanonical { at }),
                    None => Err(JoseError::JsonMalformed { at }),
                }
            }
            _ => Err(JoseError::JsonMalformed { at }),
        }
    }
}

/// Refuses text that a person could misread. Escapes are ASCII and compose with nothing, so they may still stand in it.
fn readable(raw: &str, start: usize) -> Result<(), JoseError> {
    if raw.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
        return Ok(());
    }
    for (offset, character) in raw.char_indices() {
        if is_forbidden(character) {
            return Err(JoseError::TextForbidden { at: start + offset });
        }
    }
    if !unicode_normalization::is_nfc(raw) {
        return Err(JoseError::TextNotNfc { at: start });
    }
    Ok(())
}

/// Bidirectional controls are format characters; line and paragraph separators break the line of a list unseen.
fn is_forbidden(character: char) -> bool {
    matches!(
        character.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::Unassigned
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut plain = String::with_capacity(raw.len());
    let mut escaped = false;
    for character in raw.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(character);
            escaped = false;
        }
    }
    Cow::Owned(plain)
}

fn utf16_order(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}
