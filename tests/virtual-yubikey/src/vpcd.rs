//! The wire between a card and the vpcd reader driver, and the plug that connects them.
//!
//! The card is the TCP client; messages carry a length of two bytes; those of one byte are power and reset. Quick
//! acknowledgements are switched on before every read: the driver writes length and body apart, and with delayed ones
//! each APDU would take 44 ms.
//!
//! Spec: vsmartcard, `virtualsmartcard/src/vpcd/vpcd.h`.

use crate::card::Card;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::linux::net::TcpStreamExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const POWER_OFF: u8 = 0;
const POWER_ON: u8 = 1;
const RESET: u8 = 2;
const GET_ATR: u8 = 4;

/// How long to wait before the driver is tried again: it listens only once its reader is set up.
const RETRY: Duration = Duration::from_millis(20);

/// How long a card that was pulled out stays away at least. pcscd looks every 400 ms; a card that is back before it has
/// looked, with a client's failed command in between, is mute to it for good. (A real key takes its reader with it.)
const ABSENCE: Duration = Duration::from_secs(1);

/// Whether a card is in its reader; clones share it.
#[derive(Clone)]
pub(crate) struct Plug(Arc<(Mutex<PlugState>, Condvar)>);

struct PlugState {
    plugged: bool,
    stopped: bool,
    /// When it was last pulled out.
    pulled: Option<Instant>,
    stream: Option<TcpStream>,
}

impl Plug {
    pub fn new(plugged: bool) -> Self {
        let state = PlugState { plugged, stopped: false, pulled: None, stream: None };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    pub fn is_plugged(&self) -> bool {
        self.lock().plugged
    }

    pub fn set_plugged(&self, plugged: bool) {
        self.change(|state| {
            if state.plugged && !plugged {
                state.pulled = Some(Instant::now());
            }
            state.plugged = plugged;
        });
    }

    /// Ends the card's thread.
    pub fn stop(&self) {
        self.change(|state| state.stopped = true);
    }

    fn change(&self, change: impl FnOnce(&mut PlugState)) {
        let mut state = self.lock();
        change(&mut state);
        if (!state.plugged || state.stopped)
            && let Some(stream) = state.stream.take()
        {
            // An error means that the other side was faster.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.0.1.notify_all();
    }

    /// Waits until the card is to be in the reader; false when it is to end.
    fn wait_plugged(&self) -> bool {
        let mut state = self.lock();
        loop {
            let away = state.pulled.map_or(ABSENCE, |pulled| pulled.elapsed());
            if state.stopped {
                return false;
            }
            state = if !state.plugged {
                self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else if away < ABSENCE {
                self.0
                    .1
                    .wait_timeout(state, ABSENCE.saturating_sub(away))
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            } else {
                return true;
            };
        }
    }

    /// Waits a moment before the next attempt.
    fn pause(&self) {
        let _ = self.0.1.wait_timeout(self.lock(), RETRY);
    }

    /// Hands over the connection, so that it can be cut; false when the card was pulled out meanwhile.
    fn connected(&self, stream: &TcpStream) -> bool {
        let mut state = self.lock();
        state.stream = stream.try_clone().ok();
        state.plugged && !state.stopped
    }

    fn lock(&self) -> MutexGuard<'_, PlugState> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a card in the reader on `port` for as long as its plug says so. Ends with [`Plug::stop`].
pub(crate) fn serve(card: &Mutex<Card>, file: &Path, port: u16, plug: &Plug) {
    while plug.wait_plugged() {
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            && plug.connected(&stream)
        {
            // A broken connection is the card being pulled out: nothing to report.
            let _ = converse(card, file, stream);
        }
        card.lock().unwrap_or_else(PoisonError::into_inner).reset();
        plug.pause();
    }
}

fn converse(card: &Mutex<Card>, file: &Path, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let message = receive(&mut stream)?;
        let mut card = card.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match message.as_slice() {
            [POWER_OFF | POWER_ON | RESET] => {
                card.reset();
                continue;
            }
            [GET_ATR] => Card::ATR.to_vec(),
            apdu => card.transmit(apdu),
        };
        if card.take_changed() {
            save(&card, file)?;
        }
        drop(card);
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&[length.to_be_bytes().to_vec(), answer].concat())?;
    }
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.set_quickack(true)?;
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.set_quickack(true)?;
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Writes the persistent part; a crash leaves the file before or the file after.
pub(crate) fn save(card: &Card, file: &Path) -> io::Result<()> {
    let mut part: PathBuf = file.to_path_buf();
    part.set_extension("part");
    std::fs::write(&part, serde_json::to_vec_pretty(card.state())?)?;
    std::fs::rename(&part, file)
}
