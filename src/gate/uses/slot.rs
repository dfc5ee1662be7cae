//! One place of the file: uses of one token within a minute.
//!
//! ```text
//! 0  checksum of the rest (FNV-1a, 64 bits)   8  state: 0 free, 1 open, 2 closed   16 number of its report, 0 before
//! 24 first use   32 last use   40 count       48 jti (32 bytes)                    80 length of the words   81 words
//! ```
//! Numbers are little-endian, times Unix seconds.

use crate::{domain::id::RequestId, jose::Digest};

/// Bytes of a place.
pub(super) const SIZE: usize = 256;
const WORDS: usize = 81;

/// Whether more uses may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is here.
    Free,
    /// Uses of this minute are counted here.
    Open,
    /// It waits for a daemon.
    Closed,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) report: u64,
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) count: u64,
    pub(super) jti: RequestId,
    pub(super) what: String,
}

impl Slot {
    pub(super) fn free() -> Self {
        let jti = RequestId(Digest::from_bytes([0; 32]));
        Self { state: State::Free, report: 0, from: 0, until: 0, count: 0, jti, what: String::new() }
    }

    /// The first use of a place. Words that are too long are cut.
    pub(super) fn begin(state: State, jti: RequestId, at: i64, mut what: String) -> Self {
        while what.len() > SIZE - WORDS {
            what.pop();
        }
        Self { state, report: 0, from: at, until: at, count: 1, jti, what }
    }

    pub(super) fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let state = match self.state {
            State::Free => return bytes,
            State::Open => 1,
            State::Closed => 2,
        };
        let length = u8::try_from(self.what.len()).unwrap_or_default();
        let mut rest = vec![state, 0, 0, 0, 0, 0, 0, 0];
        let numbers = [self.report, self.from.cast_unsigned(), self.until.cast_unsigned(), self.count];
        rest.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        rest.extend(self.jti.0.as_bytes());
        rest.push(length);
        rest.extend(self.what.as_bytes());
        for (place, byte) in bytes.iter_mut().skip(8).zip(rest) {
            *place = byte;
        }
        let sum = checksum(&bytes);
        for (place, byte) in bytes.iter_mut().zip(sum.to_le_bytes()) {
            *place = byte;
        }
        bytes
    }

    /// None where it is damaged.
    pub(super) fn decode(bytes: &[u8; SIZE]) -> Option<Self> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Some(Self::free());
        }
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        if number(0)? != checksum(bytes) {
            return None;
        }
        let state = match bytes.get(8)? {
            1 => State::Open,
            2 => State::Closed,
            _ => return None,
        };
        let jti = RequestId(Digest::from_bytes(bytes.get(48..80)?.try_into().ok()?));
        let length = usize::from(*bytes.get(80)?);
        let what = String::from_utf8(bytes.get(WORDS..WORDS + length)?.to_vec()).ok()?;
        let (from, until) = (number(24)?.cast_signed(), number(32)?.cast_signed());
        Some(Self { state, report: number(16)?, from, until, count: number(40)?, jti, what })
    }
}

/// FNV-1a over all but the first eight bytes: against torn writes, not against people.
fn checksum(bytes: &[u8; SIZE]) -> u64 {
    bytes
        .iter()
        .skip(8)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
