//! Space kept for the entries that must not fail: kills and lifts.
//!
//! A file of real blocks lies beside the database. When an append that may use it meets a full disk, the file is
//! removed and the append tried again. While it is gone nothing else is written: the freed space belongs to kills and
//! lifts alone, until there is room to put the reserve back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use super::files::{beside, create_private, sync_directory_of};

/// The reserve of one log.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The blocks are allocated.
    InPlace,
    /// The blocks are given to kills and lifts.
    Released,
    /// Nothing can be reserved here: the size is 0, or the file system knows no allocation.
    Without,
}

impl Reserve {
    /// The reserve of the log at `path`; [`Reserve::restore`] puts it in place.
    pub(super) fn of(path: &Path, bytes: u64) -> Self {
        Self {
            path: beside(path, ".reserve"),
            bytes,
            state: if bytes == 0 { State::Without } else { State::Released },
        }
    }

    /// Puts the reserve in place if there is room. `false` means that only reserved appends may go on.
    pub(super) fn restore(&mut self) -> bool {
        if self.state != State::Released {
            return true;
        }
        match self.allocate() {
            Ok(()) => self.state = State::InPlace,
            Err(error) if is_unsupported(&error) => {
                tracing::warn!("the file system cannot reserve space: on a full disk kills will fail too");
                self.state = State::Without;
            }
            Err(error) => {
                tracing::error!(%error, bytes = self.bytes, "no room for the reserve: only kills and lifts are recorded");
                self.drop_file();
                return false;
            }
        }
        true
    }

    /// Whether space may be used for other things than kills and lifts.
    pub(super) fn is_whole(&self) -> bool {
        self.state != State::Released
    }

    /// Gives the space away. `false` if there was none to give.
    pub(super) fn release(&mut self) -> bool {
        if self.state == State::Without {
            return false;
        }
        self.state = State::Released;
        let given = self.drop_file();
        if given {
            tracing::error!("the disk is full: the reserve is released for kills and lifts");
        }
        given
    }

    /// Allocating what is allocated already costs nothing, so a leftover is neither trusted nor thrown away.
    fn allocate(&self) -> io::Result<()> {
        let file = match File::options().write(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => create_private(&self.path)?,
            opened => opened?,
        };
        fallocate(&file, FallocateFlags::empty(), 0, self.bytes)?;
        file.sync_all()?;
        sync_directory_of(&self.path)
    }

    fn drop_file(&self) -> bool {
        match fs::remove_file(&self.path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "cannot remove the reserve");
                false
            }
        }
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        rustix::io::Errno::from_io_error(error),
        Some(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS)
    )
}
