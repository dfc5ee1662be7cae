//! Which YubiKeys are plugged in.
//!
//! Every reader is asked by a thread of its own: a key that waits for a touch holds up nobody but those who want it.

use std::ffi::CString;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::PivError;
use super::link::{self, Link, LinkError};
use crate::domain::charter::Firmware;

/// A key waits fifteen seconds for a touch; after a little more than that its reader is free again.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The serial number printed on a YubiKey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub u32);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Serial {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

/// A YubiKey that is plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The name of its reader, valid while it stays plugged in.
    pub reader: CString,
    /// Its serial number.
    pub serial: Serial,
    /// Its firmware.
    pub firmware: Firmware,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The keys that answered, by serial number, each once.
    pub devices: Vec<Device>,
    /// Readers whose card could not be asked in time: another program has it for itself, or it waits for a touch.
    pub busy: Vec<CString>,
}

/// All YubiKeys that are plugged in (series 5 and later), by serial number. Waits for keys that are busy, at most twenty
/// seconds.
///
/// # Errors
/// [`PivError::Service`] when there is no pcscd.
pub fn devices() -> Result<Vec<Device>, PivError> {
    Ok(scan(PATIENCE)?.devices)
}

/// The YubiKeys that answer within `patience`, and the readers that do not.
///
/// # Errors
/// [`PivError::Service`] when there is no pcscd.
pub fn scan(patience: Duration) -> Result<Scan, PivError> {
    let mut scan = collect(patience, |_| false)?;
    scan.devices.sort_by_key(|device| device.serial);
    scan.devices.dedup_by_key(|device| device.serial);
    Ok(scan)
}

/// The YubiKey with this serial number, as soon as it answers.
pub(super) fn find(serial: Serial) -> Result<Device, PivError> {
    let scan = collect(PATIENCE, |device| device.serial == serial)?;
    match scan.devices.into_iter().find(|device| device.serial == serial) {
        Some(device) => Ok(device),
        None if scan.busy.is_empty() => Err(PivError::NotFound { serial }),
        None => Err(PivError::Busy { serial }),
    }
}

/// What the card in a reader said when it was asked who it is.
pub(super) enum Identity {
    /// A YubiKey with the PIV application, firmware 5 or later.
    Device(Device),
    /// Something else, or already gone.
    Other,
    /// Another program has it for itself.
    Held,
}

/// Asks the card in one reader who it is.
pub(super) fn identify(reader: CString) -> Identity {
    let asked = || -> Result<_, LinkError> {
        let service = link::service().map_err(|_| pcsc::Error::NoService)?;
        Link::connect(&service, &reader)?.begin()?.identify()
    };
    match asked() {
        Ok((serial, firmware)) => Identity::Device(Device { reader, serial, firmware }),
        Err(LinkError::Pcsc(pcsc::Error::SharingViolation)) => Identity::Held,
        Err(_) => Identity::Other,
    }
}

/// Asks all readers at once, until `enough` says so or `patience` ends. A thread that is left behind ends by itself
/// when its card answers.
fn collect(patience: Duration, enough: impl Fn(&Device) -> bool) -> Result<Scan, PivError> {
    let mut busy = link::readers_with_card(&link::service()?)?;
    let deadline = Instant::now() + patience;
    let (sender, receiver) = mpsc::channel();
    for reader in busy.clone() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            // Nobody listens any more once somebody else was enough.
            let _ = sender.send((reader.clone(), identify(reader)));
        });
    }
    drop(sender);
    let mut devices = Vec::new();
    while let Ok((reader, identity)) =
        receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        if !matches!(identity, Identity::Held) {
            busy.retain(|other| *other != reader);
        }
        let Identity::Device(device) = identity else { continue };
        let last = enough(&device);
        devices.push(device);
        if last {
            break;
        }
    }
    Ok(Scan { devices, busy })
}
