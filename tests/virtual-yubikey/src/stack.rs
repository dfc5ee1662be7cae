//! pcscd with virtual YubiKeys in its readers, all under one directory and all ending together.
//!
//! ```text
//! DIR/ca/root.pem root.der key.pem    the attestation root
//! DIR/cards/SERIAL.json SERIAL.sock   a card's memory and its control socket
//! DIR/run/pcscd/pcscd.comm            the daemon's socket: PCSCLITE_CSOCK_NAME
//! DIR/conf DIR/lib DIR/pcscd.log      the daemon's configuration, driver copies, log
//! ```

use crate::attestation::{AttestationCa, AttestationError};
use crate::pcscd::{Pcscd, free_ports};
use crate::reader::{CardControl, CardSpec, RunningCard};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most cards one daemon serves: eight reader entries of two slots.
pub const MAX_CARDS: usize = 16;

/// Longest time from start to all cards being seen, on a machine that is busy with other things.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Why a stack did not come up.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A file or a process.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The reader driver is not installed.
    #[error("the vpcd reader driver is not installed: apt-get install pcscd vsmartcard-vpcd libpcsclite-dev")]
    NoDriver,
    /// A Unix socket's path has at most 107 bytes.
    #[error("the socket's path is too long, choose a shorter directory: {socket}")]
    LongPath {
        /// The path.
        socket: PathBuf,
    },
    /// The daemon did not see all cards in time.
    #[error(
        "pcscd sees {seen} of {cards} cards; its log (a failed mount means that namespaces are not allowed here):\n{log}"
    )]
    NotReady {
        /// Cards it sees.
        seen: usize,
        /// Cards it should see.
        cards: usize,
        /// The daemon's log.
        log: String,
    },
    /// More than [`MAX_CARDS`].
    #[error("{0} cards do not fit into one pcscd; it has room for {MAX_CARDS}")]
    TooMany(usize),
    /// No free ports.
    #[error("no free pair of ports between 20000 and 32000")]
    NoPorts,
    /// No randomness.
    #[error("the system gives no randomness: {0}")]
    Random(String),
    /// A card's file is damaged.
    #[error("the card's file {file} is damaged: {reason}")]
    Card {
        /// The file.
        file: PathBuf,
        /// Why it cannot be read.
        reason: String,
    },
    /// Keys or certificates.
    #[error(transparent)]
    Attestation(#[from] AttestationError),
}

impl StackError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// A running stack. Dropping it pulls all cards and ends the daemon.
pub struct Stack {
    // In this order: cards leave before their readers.
    cards: Vec<RunningCard>,
    pcscd: Pcscd,
    dir: PathBuf,
    root_der: Vec<u8>,
}

impl Stack {
    /// Starts pcscd and the cards under `dir`, which is made if needed, and waits until the daemon sees all cards that
    /// are plugged in. Cards that were there before keep their keys.
    ///
    /// # Errors
    /// When something is missing on this machine, or the daemon does not see the cards within half a minute.
    pub fn start(dir: &Path, specs: &[CardSpec]) -> Result<Self, StackError> {
        if specs.len() > MAX_CARDS {
            return Err(StackError::TooMany(specs.len()));
        }
        fs::create_dir_all(dir).map_err(StackError::io("make", dir))?;
        let dir = fs::canonicalize(dir).map_err(StackError::io("find", dir))?;
        let ca = load_or_make_ca(&dir)?;
        let cards_dir = dir.join("cards");
        fs::create_dir_all(&cards_dir).map_err(StackError::io("make", &cards_dir))?;
        let ports = free_ports(specs.len().div_ceil(2))?;
        let mut pcscd = Pcscd::start(&dir, &ports)?;
        let slots = ports.iter().flat_map(|port| [*port, *port + 1]);
        let cards = std::thread::scope(|scope| {
            let starting: Vec<_> = specs
                .iter()
                .zip(slots)
                .map(|(spec, port)| (&cards_dir, &ca, spec, port))
                .map(|(dir, ca, spec, port)| scope.spawn(move || RunningCard::start(dir, spec, port, ca)))
                .collect();
            starting.into_iter().map(join).collect::<Result<Vec<_>, _>>()
        })?;
        pcscd.wait_for_cards(specs.iter().filter(|spec| spec.plugged).count(), START_DEADLINE)?;
        Ok(Self { cards, pcscd, dir, root_der: ca.root_der().to_vec() })
    }

    /// The daemon's socket, for the environment variable `PCSCLITE_CSOCK_NAME` of a client's process.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.pcscd.socket()
    }

    /// The cards, in the order of their specifications.
    #[must_use]
    pub fn cards(&self) -> &[RunningCard] {
        &self.cards
    }

    /// What a test may do to the card with this serial number.
    #[must_use]
    pub fn card(&self, serial: u32) -> Option<&CardControl> {
        self.cards.iter().find(|card| card.serial == serial).map(RunningCard::control)
    }

    /// The attestation root, DER.
    #[must_use]
    pub fn root_der(&self) -> &[u8] {
        &self.root_der
    }

    /// The attestation root as a PEM file.
    #[must_use]
    pub fn root_pem_file(&self) -> PathBuf {
        self.dir.join("ca/root.pem")
    }

    /// A client's process that talks to this stack.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        command.env("PCSCLITE_CSOCK_NAME", self.socket());
        command
    }
}

/// The attestation authority kept under `dir`, made on first use.
///
/// # Errors
/// When its files cannot be written or read.
pub fn load_or_make_ca(dir: &Path) -> Result<AttestationCa, StackError> {
    let ca_dir = dir.join("ca");
    let (key, pem) = (ca_dir.join("key.pem"), ca_dir.join("root.pem"));
    if let (Ok(key), Ok(pem)) = (fs::read_to_string(&key), fs::read_to_string(&pem)) {
        return Ok(AttestationCa::from_pem(&key, &pem)?);
    }
    let ca = AttestationCa::create(&mut UnwrapErr(SysRng))?;
    fs::create_dir_all(&ca_dir).map_err(StackError::io("make", &ca_dir))?;
    let write = |file: &Path, content: &[u8]| fs::write(file, content).map_err(StackError::io("write", file));
    write(&key, ca.key_pem()?.as_bytes())?;
    write(&pem, ca.root_pem()?.as_bytes())?;
    write(&ca_dir.join("root.der"), ca.root_der())?;
    Ok(ca)
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
