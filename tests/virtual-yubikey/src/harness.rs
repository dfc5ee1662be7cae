//! Tests with a stack of their own.
//!
//! libpcsclite takes its socket from the environment of the process, which a test must not change. So a test runs twice:
//! the first run starts the stack and runs the same test again as a child with the right environment; the second run,
//! the child, does the work.

use crate::control::{self, Request};
use crate::reader::{CardSpec, Counts};
use crate::stack::Stack;
use crate::touch::TouchMode;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where the child finds its stack.
const DIRECTORY: &str = "VIRTUAL_YUBIKEY_STACK";

/// A stack that another process runs: what the second run of a test holds.
pub struct Remote {
    dir: PathBuf,
}

/// Runs `body` in a process whose smart card service is a fresh stack with these cards. `test` is the full name of the
/// calling test, for example `"sign::wrong_pin"`.
///
/// # Panics
/// When the stack does not come up, or the body fails.
pub fn in_stack(test: &str, cards: &[CardSpec], body: impl FnOnce(&Remote)) {
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        return body(&Remote { dir: dir.into() });
    }
    let failed = match run(test, cards) {
        Ok(None) => None,
        Ok(Some(how)) => Some(how),
        Err(error) => Some(error.to_string()),
    };
    assert!(failed.is_none(), "{test}: {}", failed.unwrap_or_default());
}

/// How the child failed, if it did.
fn run(test: &str, cards: &[CardSpec]) -> Result<Option<String>, Box<dyn std::error::Error>> {
    let dir = temporary()?;
    let stack = Stack::start(&dir.0, cards)?;
    let mut child = Command::new(std::env::current_exe()?)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("PCSCLITE_CSOCK_NAME", stack.socket())
        .env(DIRECTORY, &dir.0)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        std::io::Read::read_to_string(&mut stdout, &mut output)?;
    }
    let status = child.wait()?;
    // A name that matches no test would be a test that always passes.
    if status.success() && output.contains("1 passed") {
        return Ok(None);
    }
    // A panic is on standard error, above; of an end by a signal only the status tells.
    Ok(Some(format!("it failed in its own process ({status}), see above; it printed: {output}")))
}

impl Remote {
    /// Decides how the touches of a card are answered.
    pub fn touch(&self, serial: u32, mode: TouchMode) {
        self.send(serial, Request::Touch(mode));
    }

    /// Touches a card once (mode `Manual`).
    pub fn press(&self, serial: u32) {
        self.send(serial, Request::Press);
    }

    /// Pulls a card out.
    pub fn unplug(&self, serial: u32) {
        self.send(serial, Request::Unplug);
    }

    /// Puts a card back.
    pub fn plug(&self, serial: u32) {
        self.send(serial, Request::Plug);
    }

    /// What happened to a card so far.
    #[must_use]
    pub fn counts(&self, serial: u32) -> Counts {
        self.send(serial, Request::Counts)
    }

    /// Waits until a card has asked for `asked` touches in all.
    ///
    /// # Panics
    /// When `deadline` passes first.
    pub fn wait_until_asked(&self, serial: u32, asked: u64, deadline: Duration) {
        let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let counts = self.send(serial, Request::Wait { asked, ms });
        assert!(counts.touches.asked >= asked, "card {serial} asked for {} touches", counts.touches.asked);
    }

    /// The stack's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The attestation root, DER.
    ///
    /// # Panics
    /// When the file is not there.
    #[must_use]
    pub fn root_der(&self) -> Vec<u8> {
        let read = std::fs::read(self.dir.join("ca/root.der"));
        assert!(read.is_ok(), "no attestation root in {}", self.dir.display());
        read.unwrap_or_default()
    }

    fn send(&self, serial: u32, request: Request) -> Counts {
        let socket = self.dir.join("cards").join(format!("{serial}.sock"));
        let sent = control::send(&socket, request);
        assert!(sent.is_ok(), "card {serial} does not answer: {sent:?}");
        sent.unwrap_or_default()
    }
}

/// A short-named directory that is removed at the end: sockets have short paths.
struct Temporary(PathBuf);

fn temporary() -> Result<Temporary, Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("vyk-{:016x}", getrandom::u64()?));
    std::fs::create_dir(&dir)?;
    Ok(Temporary(dir))
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What remains is in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
