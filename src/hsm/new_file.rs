//! A file that appears under its name whole and durable, or not at all, and never in the place of another.
//!
//! Invariant: what a kill -9 leaves is either nothing, or `NAME.new`, which nobody reads and the next attempt removes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Creates `path` with `bytes`; an error if it exists. Two at once are kept apart by the caller.
pub(crate) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(new)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| name_it(new, path));
    if written.is_err() {
        let _ = fs::remove_file(new);
    }
    written?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Gives the file its name, unless something has it.
fn name_it(new: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, new, CWD, path, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it: a second name is never given in the place of another file, either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(new, path)?;
            fs::remove_file(new)
        }
        renamed => Ok(renamed?),
    }
}
