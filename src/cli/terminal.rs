//! Asking for a secret on the terminal.
//!
//! Invariants: the echo is off before the question is shown, so that no keystroke of the answer ever appears; what was
//! typed before the question is thrown away; the terminal is put back as it was on every way out, signals included.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

use anyhow::{Context as _, Result};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

/// Longest answer that is read; no PIN is as long.
const LONGEST: usize = 64;

/// A terminal whose echo is off, and how it was before.
static QUIET: Mutex<Option<(File, Termios)>> = Mutex::new(None);

fn quiet() -> MutexGuard<'static, Option<(File, Termios)>> {
    QUIET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the terminal back, if its echo is off.
fn restore(quiet: &mut Option<(File, Termios)>) {
    if let Some((tty, before)) = quiet.take() {
        // Nothing can be done about a terminal that does not take its own settings back.
        let _ = tcsetattr(&tty, OptionalActions::Now, &before);
    }
}

/// The terminal without echo, until this is dropped or the process is told to end.
struct Quiet;

impl Quiet {
    fn new(tty: &File) -> Result<Self> {
        end_politely()?;
        let before = tcgetattr(tty)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        // Held meanwhile, so that no signal finds the echo off and nothing to restore.
        let mut quiet = quiet();
        tcsetattr(tty, OptionalActions::Flush, &silent)?;
        *quiet = Some((tty.try_clone()?, before));
        Ok(Self)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        restore(&mut quiet());
    }
}

/// From the first question on, a signal that ends the process puts the terminal back first. The exit code is a shell's: 128
/// and the signal's number.
fn end_politely() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut outcome = Ok(());
    ONCE.call_once(|| outcome = watch_signals());
    outcome
}

fn watch_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut hangup, mut interrupt, mut quit, mut terminate) = {
        let _inside = runtime.enter();
        let on = |kind| -> Result<Signal> { Ok(signal(kind)?) };
        (
            on(SignalKind::hangup())?,
            on(SignalKind::interrupt())?,
            on(SignalKind::quit())?,
            on(SignalKind::terminate())?,
        )
    };
    let watch = move || {
        let came = runtime.block_on(async {
            tokio::select! {
                _ = hangup.recv() => SignalKind::hangup(),
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = quit.recv() => SignalKind::quit(),
                _ = terminate.recv() => SignalKind::terminate(),
            }
        });
        // Kept until the end, so that nobody turns the echo off again.
        let mut silenced = quiet();
        restore(&mut silenced);
        std::process::exit(128 + came.as_raw_value());
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(())
}

/// Asks on the controlling terminal, and reads a line unseen.
pub(crate) fn secret(question: &str) -> Result<Zeroizing<Vec<u8>>> {
    let tty = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let place = "the PIN could not be asked for: there is no terminal";
    let mut tty = tty.context(place)?;
    let _quiet = Quiet::new(&tty).context(place)?;
    write!(tty, "{question} ").context(place)?;
    // Reserved at once, so that growing leaves no copy behind.
    let mut typed = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = Zeroizing::new([0]);
    while typed.len() < LONGEST {
        let read = tty.read(byte.as_mut_slice()).context(place)?;
        if read == 0 || *byte == [b'\n'] {
            break;
        }
        typed.extend_from_slice(byte.as_slice());
    }
    Ok(typed)
}
