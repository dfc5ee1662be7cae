//! The files beside the database: the lock that admits one daemon, and durable creation.
//!
//! Invariant: whoever holds a [`Lock`] is the only daemon on this database, until it is dropped or the process ends;
//! the kernel releases it then, so there are no stale locks to clean up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::StoreError;

/// Only the daemon's own user reads the log.
const MODE: u32 = 0o600;

/// The database's path with something after its name, e.g. `log.db` + `.lock`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// An exclusive lock on `PATH.lock`. The file stays; only the lock on it counts.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let lock_path = beside(path, ".lock");
        let what = || format!("lock {}", lock_path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(&lock_path)
            .map_err(|error| StoreError::io(what(), error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Only a hint for a person: an unreadable hint must not hide the reason.
                let _ = file.read_to_string(&mut holder);
                return Err(StoreError::Locked { path: path.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(error) => return Err(StoreError::io(what(), io::Error::from(error))),
        }
        let hint = || -> io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // On a full disk the daemon must still start, to record kills from the reserve.
        if let Err(error) = { hint }() {
            tracing::warn!(%error, "the lock file cannot name this process");
        }
        Ok(Self { _file: file })
    }
}

/// Makes an empty file that nobody else can read. Fails where one exists.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)
}

/// Takes group's and others' rights away, as a restored copy may have them.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & !MODE == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "the log was open to others; closed to 600");
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))
}

/// Makes the names in the directory of `path` durable.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
