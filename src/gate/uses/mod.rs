//! Tells the log which tokens passed: the first use at once, then counts for each minute.
//!
//! Invariants: a use is in the file before its request is answered, so that neither `kill -9` nor a daemon that is away loses one;
//! the first use of a token is on the disk by then. What could not be written is refused, and so is the first use of a token once
//! the file is full: nothing is lost silently. Memory and file are bounded ([`book::MAX_SLOTS`]).

mod book;
mod send;
mod slot;

use std::{
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use book::Book;
pub(super) use book::Flight;
pub(super) use send::run;

use super::{clock::Moment, decide::Pass};
use crate::jose::Digest;

/// Why a use could not be noted.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoteError {
    #[error("the file of uses is full: no daemon has taken any for too long")]
    Full,
    #[error("the file of uses cannot be written")]
    File(#[from] io::Error),
}

/// See the module.
pub(super) struct Uses {
    book: Mutex<Book>,
    /// Woken when something can be sent.
    ready: Notify,
}

impl Uses {
    /// Opens the file in this folder, and takes up what an earlier run left.
    pub(super) fn open(folder: &Path, now: Moment) -> io::Result<Self> {
        Ok(Self { book: Mutex::new(Book::open(&folder.join("uses"), now.wall)?), ready: Notify::new() })
    }

    /// Notes what is about to pass.
    pub(super) fn note(&self, pass: &Pass, now: Moment) -> Result<(), NoteError> {
        let claims = &pass.token.claims;
        let what = || {
            let need = &pass.need;
            let object = need.identifier.as_ref().map(|word| format!(" {word}")).unwrap_or_default();
            format!("{} {}{object}", need.action, need.location)
        };
        if self.book().note(claims.jti, claims.exp, now.seconds(), what)? {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Notes how a connection that had passed was cut. `from`: when it passed, Unix seconds. `reason`: stable, `UPPER_SNAKE`.
    pub(super) fn cut(&self, pass: &Pass, from: i64, reason: &str, now: Moment) -> Result<(), NoteError> {
        let what = format!("{} {} cut: {reason}", pass.need.action, pass.need.location);
        self.book().cut(pass.token.claims.jti, from, now.seconds(), what)?;
        self.ready.notify_one();
        Ok(())
    }

    /// Uses of how many minutes and tokens wait for a daemon.
    pub(super) fn waiting(&self) -> u64 {
        self.book().waiting() as u64
    }

    /// What is to be sent next; the same again until [`Self::sent`].
    fn flight(&self, charter: Digest, now: Moment) -> io::Result<Option<Flight>> {
        self.book().flight(charter, now.seconds())
    }

    fn sent(&self, seq: u64) -> io::Result<()> {
        self.book().sent(seq)
    }

    fn renumber(&self, last: u64) -> io::Result<()> {
        self.book().renumber(last)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
