//! Checkpoints: what a log vouches for, and the signed note that carries it.
//!
//! Invariants: a [`SignedCheckpoint`] writes back byte for byte what it was parsed from; nothing of it is believed
//! before [`SignedCheckpoint::verify`]. Lines by unknown keys are kept and passed on. Stricter than the spec in one point:
//! extension lines are refused, since no log of this project writes any and nobody could audit them.
//!
//! Spec: C2SP tlog-checkpoint over C2SP signed-note.

use std::fmt;
use std::str::FromStr;

use super::error::TlogError;
use super::hash::Hash;
use super::note::{NoteSignature, Origin, VerifierKey};
use super::tree::MAX_SIZE;

/// Longest signed checkpoint in bytes; the spec asks for room for 16 signatures of post-quantum size.
const MAX_NOTE_BYTES: usize = 128 * 1024;
/// Most signature lines; the spec asks for 16 at least.
const MAX_SIGNATURES: usize = 64;

/// The head of a log: its name, size and root. Its Display is the text that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// How many entries.
    pub size: u64,
    /// The root of exactly these entries.
    pub root: Hash,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)
    }
}

impl FromStr for Checkpoint {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        let bad = TlogError::BadNote;
        let text = text.strip_suffix('\n').ok_or(bad("the text does not end with a newline"))?;
        let mut lines = text.split('\n');
        let mut line = || lines.next().ok_or(bad("origin, size and root are expected"));
        let (origin, size, root) = (line()?, line()?, line()?);
        if lines.next().is_some() {
            return Err(bad("extension lines are not accepted"));
        }
        Ok(Self { origin: origin.parse()?, size: parse_size(size)?, root: root.parse()? })
    }
}

/// A checkpoint with its signatures: the log's own, and those of witnesses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signatures: Vec<NoteSignature>,
}

impl SignedCheckpoint {
    /// Puts together what `key` has signed: `signature` over `checkpoint.to_string()`. It is verified at once, so that
    /// a fault of the signing device is noticed before anybody is shown the note.
    pub fn assemble(
        checkpoint: Checkpoint,
        key: &VerifierKey,
        signature: &[u8; 64],
    ) -> Result<Self, TlogError> {
        let signed = Self { checkpoint, signatures: vec![NoteSignature::by(key, signature)] };
        signed.verify(key)?;
        Ok(signed)
    }

    /// Adds a line, such as a witness's cosignature, unless it is there already.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), TlogError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(TlogError::BadNote("too many signatures"));
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// The checkpoint, if this key of this very log has signed it.
    pub fn verify(&self, key: &VerifierKey) -> Result<&Checkpoint, TlogError> {
        if self.checkpoint.origin != *key.name() {
            return Err(TlogError::OriginMismatch);
        }
        let text = self.checkpoint.to_string();
        let mut own = self.signatures.iter().filter(|line| line.is_of(key)).peekable();
        if own.peek().is_none() {
            return Err(TlogError::Unsigned);
        }
        // One wrong line of a known key spoils the note, whatever the others say.
        own.try_for_each(|line| key.verify(&text, &line.signature))?;
        Ok(&self.checkpoint)
    }

    /// What the note says, verified or not.
    #[must_use]
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// All signature lines, known or not.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.checkpoint)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for SignedCheckpoint {
    type Err = TlogError;

    fn from_str(note: &str) -> Result<Self, TlogError> {
        let bad = TlogError::BadNote;
        if note.len() > MAX_NOTE_BYTES {
            return Err(bad("it is longer than 131,072 bytes"));
        }
        if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(bad("it holds control characters"));
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(bad("no blank line before the signatures"))?;
        let lines = lines.strip_suffix('\n').ok_or(bad("it does not end with a newline"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() >= MAX_SIGNATURES {
                return Err(bad("it has more than 64 signatures"));
            }
            signatures.push(line.parse()?);
        }
        Ok(Self { checkpoint: format!("{text}\n").parse()?, signatures })
    }
}

/// Decimal digits without leading zeroes, at most [`MAX_SIZE`].
fn parse_size(text: &str) -> Result<u64, TlogError> {
    let bad = TlogError::BadNote("the size is not a plain decimal number");
    let canonical = text == "0" || !text.starts_with('0');
    if !canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad);
    }
    text.parse().ok().filter(|size| *size <= MAX_SIZE).ok_or(bad)
}
