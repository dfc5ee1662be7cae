//! One virtual YubiKey at work: its file, its thread, and what a test may do to it.

use crate::attestation::AttestationCa;
use crate::card::Card;
use crate::state::{CardState, Version};
use crate::touch::{Finger, TouchCounts, TouchMode};
use crate::vpcd::{self, Plug};
use crate::{StackError, control};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A card to be made, or to be found in its file.
#[derive(Debug, Clone)]
pub struct CardSpec {
    /// Serial number.
    pub serial: u32,
    /// Firmware of a new card; one that has a file keeps its own.
    pub version: Version,
    /// How its touches are answered at first.
    pub touch: TouchMode,
    /// Whether it is in its reader from the start.
    pub plugged: bool,
}

impl CardSpec {
    /// A card with firmware 5.7.4 that is plugged in and touched at once.
    #[must_use]
    pub fn new(serial: u32) -> Self {
        Self { serial, version: Version::V5_7_4, touch: TouchMode::Grant, plugged: true }
    }

    /// The same with another firmware.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// The same with another finger.
    #[must_use]
    pub fn touch(mut self, touch: TouchMode) -> Self {
        self.touch = touch;
        self
    }

    /// The same, lying beside the machine.
    #[must_use]
    pub fn unplugged(mut self) -> Self {
        self.plugged = false;
        self
    }
}

/// What happened to a card since its process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Touches asked and given.
    #[serde(flatten)]
    pub touches: TouchCounts,
    /// Private-key operations done.
    pub signatures: u64,
    /// Whether it is in its reader.
    pub plugged: bool,
}

/// What a test or a script holds of a running card; clones share it.
#[derive(Clone)]
pub struct CardControl {
    finger: Finger,
    plug: Plug,
    signatures: Arc<AtomicU64>,
}

impl CardControl {
    /// Decides how touches are answered from now on, the one being waited for included.
    pub fn touch(&self, mode: TouchMode) {
        self.finger.set(mode);
    }

    /// Touches once (mode `Manual`).
    pub fn press(&self) {
        self.finger.press();
    }

    /// Pulls the card out. A touch being waited for ends.
    pub fn unplug(&self) {
        self.plug.set_plugged(false);
        self.finger.pull();
    }

    /// Puts the card back in; returns at once, the reader sees it a moment later (at least a second after it left).
    pub fn plug(&self) {
        self.plug.set_plugged(true);
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            touches: self.finger.counts(),
            signatures: self.signatures.load(Ordering::Relaxed),
            plugged: self.plug.is_plugged(),
        }
    }

    /// Waits until the card has asked for `asked` touches in all; false when `deadline` passes first.
    #[must_use]
    pub fn wait_until_asked(&self, asked: u64, deadline: Duration) -> bool {
        self.finger.wait_until_asked(asked, deadline)
    }
}

/// A card with its thread and control socket; ends both when dropped.
pub struct RunningCard {
    /// Serial number.
    pub serial: u32,
    /// Firmware.
    pub version: Version,
    /// The control socket (JSON lines, see [`control::Request`]).
    pub control_socket: PathBuf,
    control: CardControl,
    thread: Option<JoinHandle<()>>,
    socket: control::Listener,
}

impl RunningCard {
    /// Loads or makes the card under `cards`, and keeps it in the reader that listens on `port`.
    ///
    /// # Errors
    /// When its file or socket cannot be made.
    pub fn start(cards: &Path, spec: &CardSpec, port: u16, ca: &AttestationCa) -> Result<Self, StackError> {
        let file = cards.join(format!("{}.json", spec.serial));
        let card = Card::new(load_or_make(&file, spec, ca)?, Finger::new(spec.touch));
        let control = CardControl {
            finger: card.finger.clone(),
            plug: Plug::new(spec.plugged),
            signatures: Arc::clone(&card.signatures),
        };
        let version = card.state().version;
        vpcd::save(&card, &file).map_err(StackError::io("write", &file))?;
        let control_socket = cards.join(format!("{}.sock", spec.serial));
        let socket = control::Listener::start(&control_socket, control.clone())?;
        let plug = control.plug.clone();
        let card = Mutex::new(card);
        let thread = std::thread::spawn(move || vpcd::serve(&card, &file, port, &plug));
        Ok(Self { serial: spec.serial, version, control_socket, control, thread: Some(thread), socket })
    }

    /// What a test may do to it.
    #[must_use]
    pub fn control(&self) -> &CardControl {
        &self.control
    }
}

impl Drop for RunningCard {
    fn drop(&mut self) {
        self.control.plug.stop();
        self.control.finger.pull();
        self.socket.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn load_or_make(file: &Path, spec: &CardSpec, ca: &AttestationCa) -> Result<CardState, StackError> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| StackError::Card { file: file.to_path_buf(), reason: error.to_string() }),
        Err(_) => Ok(CardState::factory(spec.serial, spec.version, ca, &mut UnwrapErr(SysRng))?),
    }
}
