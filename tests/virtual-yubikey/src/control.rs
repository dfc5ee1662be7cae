//! The control socket of a card: a test or a script touches it, pulls it out, and counts.
//!
//! JSON lines over a Unix socket: one [`Request`] per line, answered by one line with the card's [`Counts`].
//! `{"do":"touch","mode":"grant"}`, `{"do":"touch","mode":"delay","ms":800}`, `{"do":"touch","mode":"refuse"}`,
//! `{"do":"touch","mode":"manual"}`, `{"do":"press"}`, `{"do":"unplug"}`, `{"do":"plug"}`, `{"do":"counts"}`,
//! `{"do":"wait","asked":1,"ms":5000}`.

use crate::StackError;
use crate::reader::{CardControl, Counts};
use crate::touch::TouchMode;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// One line to the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Decide how touches are answered.
    Touch(TouchMode),
    /// Touch once.
    Press,
    /// Pull the card out.
    Unplug,
    /// Put it back.
    Plug,
    /// Only report.
    Counts,
    /// Report once the card has asked for so many touches, or after so many milliseconds.
    Wait {
        /// Touches asked for since the card's process started.
        asked: u64,
        /// Milliseconds.
        ms: u64,
    },
}

/// Sends one request to a card's socket and returns its counts.
///
/// # Errors
/// When nobody listens there, or the answer is not the card's.
pub fn send(socket: &Path, request: Request) -> io::Result<Counts> {
    let mut stream = UnixStream::connect(socket)?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// Accepts clients of one card until stopped.
pub(crate) struct Listener {
    path: PathBuf,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub fn start(path: &Path, control: CardControl) -> Result<Self, StackError> {
        // A file of an earlier run that was killed; nobody listens on it.
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).map_err(StackError::io("listen on", path))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let control = control.clone();
                if let Ok(stream) = stream {
                    std::thread::spawn(move || converse(stream, &control));
                }
            }
        });
        Ok(Self { path: path.to_path_buf(), stopped, thread: Some(thread) })
    }

    pub fn stop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn converse(stream: UnixStream, control: &CardControl) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let answer = match serde_json::from_str(&line) {
            Ok(request) => serde_json::to_string(&perform(request, control))?,
            Err(error) => serde_json::json!({ "error": error.to_string() }).to_string(),
        };
        writeln!(writer, "{answer}")?;
    }
    Ok(())
}

fn perform(request: Request, control: &CardControl) -> Counts {
    match request {
        Request::Touch(mode) => control.touch(mode),
        Request::Press => control.press(),
        Request::Unplug => control.unplug(),
        Request::Plug => control.plug(),
        Request::Counts => {}
        Request::Wait { asked, ms } => {
            // The counts say whether it came to that.
            let _ = control.wait_until_asked(asked, Duration::from_millis(ms));
        }
    }
    control.counts()
}
