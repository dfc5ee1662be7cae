//! Asking for a secret on the terminal.
//!
//! Invariants: the echo is off before the question is shown, so that no keystroke of the answer ever appears; what was
//! typed before the question is thrown away; the terminal is put back as it was on every way out.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
};

use anyhow::{Context as _, Result};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Longest answer that is read; no PIN is as long.
const LONGEST: usize = 64;

/// The terminal without echo, until this is dropped.
struct Quiet {
    tty: File,
    before: Termios,
}

impl Quiet {
    fn new(tty: File) -> Result<Self> {
        let before = tcgetattr(&tty)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(&tty, OptionalActions::Flush, &quiet)?;
        Ok(Self { tty, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that does not take its own settings back.
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}

/// Asks on the controlling terminal, and reads a line unseen.
pub(crate) fn secret(question: &str) -> Result<Zeroizing<Vec<u8>>> {
    let tty = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let place = "the PIN could not be asked for: there is no terminal";
    let mut quiet = Quiet::new(tty.context(place)?).context(place)?;
    write!(quiet.tty, "{question} ").context(place)?;
    // Reserved at once, so that growing leaves no copy behind.
    let mut typed = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = Zeroizing::new([0]);
    while typed.len() < LONGEST {
        let read = quiet.tty.read(byte.as_mut_slice()).context(place)?;
        if read == 0 || *byte == [b'\n'] {
            break;
        }
        typed.extend_from_slice(byte.as_slice());
    }
    Ok(typed)
}
