//! Paths: one reading of each, or none.
//!
//! Invariant: what passes here means the same to every proxy and application behind the gate, whether it decodes before or
//! after it merges slashes and resolves dots. What could mean two things is refused, not repaired: repairing would let the
//! gate decide about one resource and the application serve another.
//!
//! Specs: RFC 3986 sections 2.1, 3.3 and 6.2.2; RFC 9112 section 3.2.1 (origin form).

use std::borrow::Cow;

/// Bytes of a request target at most; proxies take 8 kB of request line.
const MAX_TARGET: usize = 4_096;
/// Segments of a path at most.
const MAX_SEGMENTS: usize = 64;

/// Why a request target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not an absolute path.
    #[error("the request target is not a path that begins with a slash")]
    NotAPath,
    /// Longer than any application needs.
    #[error("the request target is longer than {MAX_TARGET} bytes or has more than {MAX_SEGMENTS} segments")]
    TooLong,
    /// Characters that have no place in a target, or an escape that is none.
    #[error("the request target has a character or an escape that is not allowed in one")]
    Malformed,
    /// Two readings.
    #[error(
        "the path could be read in two ways: it has an empty or dot segment, or an encoded slash, backslash, dot, percent, semicolon or control character"
    )]
    Ambiguous,
}

/// A path of decoded segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<'a> {
    /// As it was sent, without the query.
    pub(crate) raw: &'a str,
    /// Decoded; the last one is empty if the path ends in a slash.
    pub(crate) segments: Vec<Cow<'a, str>>,
}

impl<'a> Path<'a> {
    /// Reads the target of a request as it was sent: a path, and perhaps a query, which is left aside.
    pub fn parse(target: &'a str) -> Result<Self, PathError> {
        if target.len() > MAX_TARGET {
            return Err(PathError::TooLong);
        }
        let raw = target.split_once('?').map_or(target, |(path, _)| path);
        let rest = raw.strip_prefix('/').ok_or(PathError::NotAPath)?;
        // Browsers send more in a query than its syntax allows, and no rule reads it.
        let in_target = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        let in_path = |byte: u8| !b"\"<>^`{|}".contains(&byte);
        if !target.bytes().all(in_target) || !raw.bytes().all(in_path) {
            return Err(PathError::Malformed);
        }
        // A backslash is a slash to some, and what follows a semicolon is nothing to others.
        if raw.contains(['\\', ';']) {
            return Err(PathError::Ambiguous);
        }
        let mut segments = Vec::new();
        let mut parts = rest.split('/').peekable();
        while let Some(part) = parts.next() {
            let segment = decode(part)?;
            let is_last = parts.peek().is_none();
            if matches!(segment.as_ref(), "." | "..") || (segment.is_empty() && !is_last) {
                return Err(PathError::Ambiguous);
            }
            if segments.len() == MAX_SEGMENTS {
                return Err(PathError::TooLong);
            }
            segments.push(segment);
        }
        Ok(Self { raw, segments })
    }
}

fn decode(part: &str) -> Result<Cow<'_, str>, PathError> {
    if !part.contains('%') {
        return Ok(Cow::Borrowed(part));
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(PathError::Malformed) };
        let decoded = u8::try_from(high * 16 + low).map_err(|_| PathError::Malformed)?;
        // A percent sign that comes out would be decoded again by whoever decodes twice.
        if decoded < 0x20 || b"/\\.%;\x7f".contains(&decoded) {
            return Err(PathError::Ambiguous);
        }
        bytes.push(decoded);
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| PathError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segments(target: &str) -> Result<Vec<String>, PathError> {
        Path::parse(target).map(|path| path.segments.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_plain_path_is_its_segments() {
        assert_eq!(segments("/db/prod/orders?x=../..%2f").unwrap(), ["db", "prod", "orders"]);
        assert_eq!(segments("/").unwrap(), [""]);
        assert_eq!(segments("/a/").unwrap(), ["a", ""]);
        assert_eq!(segments("/a%20b/%C3%A9").unwrap(), ["a b", "é"]);
        assert_eq!(segments("/v1.2/a..b/...").unwrap(), ["v1.2", "a..b", "..."]);
    }

    #[test]
    fn what_two_programs_could_read_in_two_ways_is_refused() {
        for target in [
            "/a//b",
            "//a",
            "/a/./b",
            "/a/../b",
            "/..",
            "/.",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a;x=1/b",
            "/a%3bb",
            "/a%00",
            "/a%0d%0aX:y",
            "/a%252e",
            "/%25",
            "/a%7f",
            "/.%2e/",
        ] {
            assert_eq!(segments(target), Err(PathError::Ambiguous), "{target}");
        }
        for target in
            ["/a%", "/a%2", "/a%zz", "/a b", "/a\tb", "/é", "/a\u{0}", "/%ff", "/a#b", "/{a}", "/a?b c"]
        {
            assert_eq!(segments(target), Err(PathError::Malformed), "{target}");
        }
        for target in ["", "a", "*", "http://host/a", "?a"] {
            assert_eq!(segments(target), Err(PathError::NotAPath), "{target}");
        }
        assert_eq!(segments(&format!("/{}", "a".repeat(MAX_TARGET))), Err(PathError::TooLong));
        assert_eq!(segments(&"/a".repeat(MAX_SEGMENTS + 1)), Err(PathError::TooLong));
    }

    proptest! {
        /// Whatever is sent: what passes has no segment that another reader could take for a way up or a separator.
        #[test]
        fn what_passes_has_one_reading(target in "/[a-zA-Z0-9%./;\\\\ é?#-]{0,40}") {
            if let Ok(path) = Path::parse(&target) {
                for (at, segment) in path.segments.iter().enumerate() {
                    prop_assert!(!segment.contains(['/', '\\', '%', ';', '\0']));
                    prop_assert!(segment != "." && segment != "..");
                    prop_assert!(!segment.is_empty() || at + 1 == path.segments.len());
                }
            }
        }
    }
}
