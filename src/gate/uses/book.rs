//! The file of uses: places of a fixed size, each written over until its minute is over and a daemon has it.
//!
//! Invariants: what is in memory is what is in the file; a report is the same bytes each time it is sent, since its places are
//! closed and its charter is kept; its number is above all that were used before, also where the file was lost, because numbers
//! begin with the time. One process at a time.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::{
    NoteError,
    slot::{SIZE, Slot, State},
};
use crate::{
    domain::{
        gate::{MAX_USES, Use},
        id::RequestId,
    },
    jose::Digest,
};

/// Places at most: a file of 4 MiB.
pub(super) const MAX_SLOTS: usize = 16_384;
/// Seconds whose uses are counted together.
const WINDOW: i64 = 60;
const MAGIC: &[u8; 8] = b"bguses1\n";

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gate) struct Flight {
    pub(super) seq: u64,
    pub(super) charter: Digest,
    pub(super) uses: Vec<Use>,
}

/// See the module.
pub(super) struct Book {
    file: File,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// By token: where the uses of this minute are counted.
    open: HashMap<RequestId, usize>,
    /// Tokens whose first use was told, with their exp.
    known: HashMap<RequestId, i64>,
    next: u64,
    /// The charter that the report in flight names.
    charter: Option<Digest>,
}

impl Book {
    /// `now`: Unix milliseconds.
    pub(super) fn open(path: &Path, now: i64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            io::Error::new(io::ErrorKind::ResourceBusy, "another gate uses this state_dir: give each its own")
        })?;
        let length = file.metadata()?.len();
        let mut book = Self {
            file,
            slots: Vec::new(),
            free: Vec::new(),
            open: HashMap::new(),
            known: HashMap::new(),
            next: u64::try_from(now).unwrap_or(1),
            charter: None,
        };
        if length == 0 {
            book.write_header()?;
            book.file.sync_all()?;
            return Ok(book);
        }
        book.read_header()?;
        let count = usize::try_from(length / SIZE as u64).unwrap_or(usize::MAX).saturating_sub(1);
        for at in 0..count.min(MAX_SLOTS) {
            book.read(at)?;
        }
        Ok(book)
    }

    fn read(&mut self, at: usize) -> io::Result<()> {
        let mut bytes = [0; SIZE];
        self.file.read_exact_at(&mut bytes, place(at))?;
        let slot = Slot::decode(&bytes).unwrap_or_else(|| {
            tracing::error!(at, "ALARM: a record of uses is damaged, and what it held is lost");
            Slot::free()
        });
        if slot.state == State::Free {
            self.free.push(at);
        }
        self.slots.push(slot);
        // What an earlier run was counting is over.
        if self.slots.get(at).is_some_and(|slot| slot.state == State::Open) {
            self.change(at, |slot| slot.state = State::Closed)?;
        }
        Ok(())
    }

    fn read_header(&mut self) -> io::Result<()> {
        let mut bytes = [0; 48];
        self.file.read_exact_at(&mut bytes, 0)?;
        let (magic, rest) = bytes.split_at(8);
        let (next, charter) = rest.split_at(8);
        if magic != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file of uses"));
        }
        self.next = self.next.max(u64::from_le_bytes(next.try_into().unwrap_or_default()));
        // A report in flight keeps its number, whatever time it is.
        let charter: [u8; 32] = charter.try_into().unwrap_or_default();
        if charter != [0; 32] {
            self.next = u64::from_le_bytes(next.try_into().unwrap_or_default());
            self.charter = Some(Digest::from_bytes(charter));
        }
        Ok(())
    }

    fn write_header(&self) -> io::Result<()> {
        let charter = self.charter.map_or([0; 32], |charter| *charter.as_bytes());
        let bytes: Vec<u8> = MAGIC.iter().copied().chain(self.next.to_le_bytes()).chain(charter).collect();
        self.file.write_all_at(&bytes, 0)
    }

    /// Notes a use; whether something can be sent now. `what` is asked at the first use of a minute only.
    pub(super) fn note(
        &mut self,
        jti: RequestId,
        exp: i64,
        now: i64,
        what: impl FnOnce() -> String,
    ) -> Result<bool, NoteError> {
        if let Some(at) = self.open.get(&jti).copied() {
            let fresh = self.slots.get(at).is_some_and(|slot| now < slot.from.saturating_add(WINDOW));
            // A full file counts on in the minutes that it has.
            if fresh || !self.has_room() {
                self.change(at, |slot| {
                    slot.count = slot.count.saturating_add(1);
                    slot.until = slot.until.max(now);
                })?;
                return Ok(false);
            }
            self.change(at, |slot| slot.state = State::Closed)?;
            self.open.remove(&jti);
        }
        if !self.has_room() {
            return Err(NoteError::Full);
        }
        let is_first = !self.known.contains_key(&jti);
        let state = if is_first { State::Closed } else { State::Open };
        let at = self.put(Slot::begin(state, jti, now, what()))?;
        if is_first {
            self.file.sync_data()?;
            self.known.retain(|_, exp| *exp > now);
            self.known.insert(jti, exp);
        } else {
            self.open.insert(jti, at);
        }
        Ok(is_first)
    }

    /// Notes how a connection that had passed was cut. Half of the file is kept for uses, which are refused when it is full.
    pub(super) fn cut(
        &mut self,
        jti: RequestId,
        from: i64,
        until: i64,
        what: String,
    ) -> Result<(), NoteError> {
        if self.waiting() >= MAX_SLOTS / 2 {
            return Err(NoteError::Full);
        }
        let slot = Slot { from: from.min(until), count: 0, ..Slot::begin(State::Closed, jti, until, what) };
        self.put(slot)?;
        Ok(())
    }

    fn has_room(&self) -> bool {
        !self.free.is_empty() || self.slots.len() < MAX_SLOTS
    }

    fn put(&mut self, slot: Slot) -> io::Result<usize> {
        let at = self.free.last().copied().unwrap_or(self.slots.len());
        self.file.write_all_at(&slot.encode(), place(at))?;
        if self.free.pop().is_none() {
            self.slots.push(slot);
        } else if let Some(old) = self.slots.get_mut(at) {
            *old = slot;
        }
        Ok(at)
    }

    /// Changes a place, in the file first.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Slot)) -> io::Result<()> {
        let Some(slot) = self.slots.get_mut(at) else { return Ok(()) };
        let mut next = slot.clone();
        change(&mut next);
        self.file.write_all_at(&next.encode(), place(at))?;
        *slot = next;
        Ok(())
    }

    /// Places that wait for a daemon, those of this minute included.
    pub(super) fn waiting(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// What is to be sent next: the same again until it was [`Self::sent`]. Durable when this returns.
    pub(super) fn flight(&mut self, charter: Digest, now: i64) -> io::Result<Option<Flight>> {
        if self.charter.is_none() {
            self.close(now)?;
            let wait = |(at, slot): (usize, &Slot)| (slot.state == State::Closed).then_some(at);
            let ready: Vec<usize> = self.slots.iter().enumerate().filter_map(wait).take(MAX_USES).collect();
            if ready.is_empty() {
                return Ok(None);
            }
            let seq = self.next;
            for at in ready {
                self.change(at, |slot| slot.report = seq)?;
            }
            self.charter = Some(charter);
            self.write_header()?;
            self.file.sync_data()?;
        }
        let Some(charter) = self.charter else { return Ok(None) };
        let own = self.slots.iter().filter(|slot| slot.state == State::Closed && slot.report == self.next);
        let uses: Vec<Use> = own
            .map(|slot| Use {
                jti: slot.jti,
                from: slot.from,
                until: slot.until,
                count: slot.count,
                what: (!slot.what.is_empty()).then(|| slot.what.clone()),
            })
            .collect();
        if uses.is_empty() {
            // Its places were damaged, or a daemon had them before the power went.
            self.sent(self.next)?;
            return Ok(None);
        }
        Ok(Some(Flight { seq: self.next, charter, uses }))
    }

    /// Closes the minutes that are over.
    fn close(&mut self, now: i64) -> io::Result<()> {
        let over: BTreeMap<usize, RequestId> = self
            .open
            .iter()
            .filter(|(_, at)| {
                self.slots.get(**at).is_some_and(|slot| slot.from.saturating_add(WINDOW) <= now)
            })
            .map(|(jti, at)| (*at, *jti))
            .collect();
        for (at, jti) in over {
            self.change(at, |slot| slot.state = State::Closed)?;
            self.open.remove(&jti);
        }
        Ok(())
    }

    /// A daemon has the report of this number.
    pub(super) fn sent(&mut self, seq: u64) -> io::Result<()> {
        if seq != self.next {
            return Ok(());
        }
        let own =
            |(at, slot): (usize, &Slot)| (slot.state == State::Closed && slot.report == seq).then_some(at);
        let places: Vec<usize> = self.slots.iter().enumerate().filter_map(own).collect();
        for at in places {
            self.change(at, |slot| *slot = Slot::free())?;
            self.free.push(at);
        }
        self.next = seq.saturating_add(1);
        self.charter = None;
        self.write_header()?;
        self.file.sync_data()
    }

    /// The log has reports of this gate up to a number that this file does not know: what is in flight gets a higher one.
    pub(super) fn renumber(&mut self, last: u64) -> io::Result<()> {
        let (old, new) = (self.next, last.saturating_add(1));
        let own =
            |(at, slot): (usize, &Slot)| (slot.state == State::Closed && slot.report == old).then_some(at);
        let places: Vec<usize> = self.slots.iter().enumerate().filter_map(own).collect();
        for at in places {
            self.change(at, |slot| slot.report = new)?;
        }
        self.next = new;
        self.write_header()?;
        self.file.sync_data()
    }
}

/// The first place of the file is its header.
const fn place(at: usize) -> u64 {
    ((at + 1) * SIZE) as u64
}

#[cfg(test)]
mod tests;
