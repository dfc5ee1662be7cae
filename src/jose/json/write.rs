//! Canonical JSON straight into one buffer: no tree of values, and each member is put in its place when its object ends.
//!
//! Invariant: what [`to_vec`] returns is canonical, or `doubtful` was set on the way and the scanner has said that it is
//! canonical all the same. In doubt is whatever is not plain ASCII, a number that is no safe integer, and deep nesting.
//! Spec: RFC 8785; strings by its section 3.2.2.2, member order by 3.2.3.

use std::cmp::Ordering;

use serde::Serialize;

use super::{JoseError, MAX_DEPTH, scan, serializer::Fault};

/// The canonical bytes of a value that any strict reader takes.
pub(super) fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, JoseError> {
    let mut writer = Writer::default();
    value.serialize(&mut writer).map_err(|Fault(detail)| JoseError::Serialize { detail })?;
    if writer.doubtful {
        scan::check(&writer.out)?;
    }
    Ok(writer.out)
}

/// The text so far, and the members of the objects that are still open.
#[derive(Debug, Default)]
pub(super) struct Writer {
    out: Vec<u8>,
    members: Vec<Member>,
    scratch: Vec<u8>,
    depth: usize,
    doubtful: bool,
}

/// Where a member stands in the text: its name between the quotes, and the end of its value.
#[derive(Debug, Clone, Copy)]
struct Member {
    name: usize,
    name_end: usize,
    end: usize,
}

/// An object that is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    /// After its brace.
    start: usize,
    /// Its first one in `Writer::members`.
    first: usize,
}

impl Writer {
    pub(super) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    pub(super) fn string(&mut self, text: &str) {
        self.out.push(b'"');
        self.fragment(text);
        self.out.push(b'"');
    }

    /// A part of a string, without quotes.
    pub(super) fn fragment(&mut self, text: &str) {
        let bytes = text.as_bytes();
        // Without an early end, so that it is done many bytes at a time.
        if bytes.iter().fold(true, |plain, byte| plain & scan::is_plain(*byte)) {
            self.out.extend_from_slice(bytes);
        } else {
            for byte in bytes {
                self.escaped(*byte);
            }
        }
    }

    fn escaped(&mut self, byte: u8) {
        const HEX: [char; 16] =
            ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        match byte {
            b'"' => self.raw("\\\""),
            b'\\' => self.raw("\\\\"),
            0x20..=0x7e => self.out.push(byte),
            _ => {
                self.doubtful = true;
                match byte {
                    0x08 => self.raw("\\b"),
                    b'\t' => self.raw("\\t"),
                    b'\n' => self.raw("\\n"),
                    0x0c => self.raw("\\f"),
                    b'\r' => self.raw("\\r"),
                    0x00..=0x1f => {
                        self.raw(if byte < 0x10 { "\\u000" } else { "\\u001" });
                        let digit = HEX.get(usize::from(byte & 0xf)).copied().unwrap_or('0');
                        self.out.extend(u8::try_from(digit));
                    }
                    _ => self.out.push(byte),
                }
            }
        }
    }

    pub(super) fn integer(&mut self, negative: bool, magnitude: u64) {
        self.doubtful |= magnitude > scan::MAX_SAFE_INTEGER;
        if negative {
            self.out.push(b'-');
        }
        let start = self.out.len();
        let mut rest = magnitude;
        loop {
            self.out.extend(u8::try_from(rest % 10).map(|digit| b'0' + digit));
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if let Some(digits) = self.out.get_mut(start..) {
            digits.reverse();
        }
    }

    /// A number that may be no integer, or too large for one that is exact: only its kind matters, for it is refused.
    pub(super) fn number(&mut self, value: f64) -> Result<(), Fault> {
        /// From here on RFC 8785 writes an exponent.
        const EXPONENT: f64 = 1e21;
        if !value.is_finite() {
            return Err(Fault("NaN and infinity are no JSON".into()));
        }
        self.doubtful = true;
        if value.fract() == 0.0 && value.abs() < EXPONENT {
            // Not "-0".
            self.raw(&format!("{:.0}", if value == 0.0 { 0.0 } else { value }));
        } else {
            self.raw(&format!("{value:e}"));
        }
        Ok(())
    }

    /// Opens an object or a list.
    pub(super) fn open(&mut self, bracket: u8) -> Open {
        self.depth += 1;
        self.doubtful |= self.depth > MAX_DEPTH;
        self.out.push(bracket);
        Open { start: self.out.len(), first: self.members.len() }
    }

    /// The next item of a list comes.
    pub(super) fn item(&mut self, open: Open) {
        if self.out.len() > open.start {
            self.out.push(b',');
        }
    }

    pub(super) fn close_list(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.out.push(b']');
    }

    /// The name of the next member; its value follows.
    pub(super) fn name(
        &mut self,
        open: Open,
        write: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.item(open);
        let start = self.out.len();
        write(self)?;
        match self.out.get(start) {
            Some(b'"') => {}
            // A map from numbers: as names they are text.
            Some(b'-' | b'0'..=b'9') => {
                self.out.insert(start, b'"');
                self.out.push(b'"');
            }
            _ => return Err(Fault("the name of a member must be text or an integer".into())),
        }
        self.members.push(Member { name: start + 1, name_end: self.out.len().saturating_sub(1), end: 0 });
        self.out.push(b':');
        Ok(())
    }

    /// The value of the newest member of this object is complete.
    pub(super) fn value(&mut self, open: Open) {
        let end = self.out.len();
        if let Some(member) = self.members.get_mut(open.first..).and_then(<[Member]>::last_mut) {
            member.end = end;
        }
    }

    pub(super) fn close_object(&mut self, open: Open) {
        self.depth = self.depth.saturating_sub(1);
        let Self { out, members, scratch, doubtful, .. } = self;
        let members = members.get_mut(open.first..).unwrap_or_default();
        if !members.is_sorted_by(|a, b| order(out, *a, *b).is_lt()) {
            members.sort_unstable_by(|a, b| order(out, *a, *b));
            *doubtful |= members.array_windows().any(|[a, b]| order(out, *a, *b).is_eq());
            scratch.clear();
            for member in members.iter() {
                if !scratch.is_empty() {
                    scratch.push(b',');
                }
                scratch.extend_from_slice(out.get(member.name - 1..member.end).unwrap_or_default());
            }
            out.truncate(open.start);
            out.extend_from_slice(scratch);
        }
        self.members.truncate(open.first);
        self.out.push(b'}');
    }
}

/// Names by their UTF-16 code units, as they were before they were escaped.
fn order(text: &[u8], a: Member, b: Member) -> Ordering {
    let [a, b] = [a, b].map(|member| text.get(member.name..member.name_end).unwrap_or_default());
    if [a, b].iter().all(|name| name.iter().all(|byte| scan::is_plain(*byte))) {
        return a.cmp(b);
    }
    let units = |name: &[u8]| {
        let quoted = [b"\"", name, b"\""].concat();
        serde_json::from_slice::<String>(&quoted).unwrap_or_default().encode_utf16().collect::<Vec<u16>>()
    };
    units(a).cmp(&units(b))
}
