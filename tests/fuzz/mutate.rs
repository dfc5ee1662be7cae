//! A small mutator: seeded, so that a run can be repeated, and fond of what parsers get wrong.

/// `SplitMix64`: one word of state, good enough to choose bytes with.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Less than `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Pieces that mean something to one parser or another.
const TOKENS: [&[u8]; 28] = [
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b".",
    b"-",
    b"0",
    b"null",
    b"true",
    b"1e999",
    b"9007199254740993",
    b"-0",
    b" ",
    b"\n",
    b"\r\n",
    b"=",
    b"_",
    b"\xff",
    b"e\xcc\x81",
    b"\xe2\x80\xae",
    b"\xe2\x80\x94 ",
    b"\x00\x00",
];

/// Longest input: more than any parser takes.
const LONGEST: usize = 100_000;

/// Some input made of the corpus: one to four changes to one of its members.
pub fn mutate(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = rng.pick(corpus).clone();
    for _ in 0..=rng.below(4) {
        change(rng, &mut bytes, corpus);
        bytes.truncate(LONGEST);
    }
    bytes
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = rng.below(bytes.len() + 1);
    let end = at + rng.below(bytes.len() - at + 1).min(1 << rng.below(10));
    match rng.below(10) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
        1 if at < bytes.len() => bytes[at] = u8::try_from(rng.below(256)).unwrap(),
        2 => drop(bytes.drain(at..end)),
        3 => bytes.truncate(at),
        4 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        5 => {
            let other = rng.pick(corpus);
            let from = rng.below(other.len() + 1);
            let to = from + rng.below(other.len() - from + 1);
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        // Depth and length: the same piece very often.
        6 if rng.below(16) == 0 => {
            let piece = rng.pick(&TOKENS).repeat(1 << rng.below(14));
            bytes.splice(at..at, piece);
        }
        7 if end > at => {
            // A digit for a digit, a letter for a letter: the form stays, the meaning changes.
            let (from, alphabet) = (bytes[at], b"0123456789ABCDEFabcdefXYZxyz-_".as_slice());
            let fits = |byte: &&u8| byte.is_ascii_digit() == from.is_ascii_digit();
            let fitting: Vec<&u8> = alphabet.iter().filter(fits).collect();
            bytes[at] = **rng.pick(&fitting);
        }
        _ => {
            let token = rng.pick(&TOKENS).to_vec();
            bytes.splice(at..if rng.below(2) == 0 { at } else { end }, token);
        }
    }
}
