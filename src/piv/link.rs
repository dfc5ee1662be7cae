//! One connection to the card in one reader, and exclusive conversations with it.
//!
//! The connection leaves the card as it found it: another program's session in the same reader is not reset.
//!
//! libpcsclite (1.9.9 at least) forgets a connection without the lock of its lists: threads that disconnect at the same
//! time read memory that was freed, and the process ends. So one thread at a time opens or closes a context or closes a
//! connection. To connect and to talk takes no turn: those wait for the card, for as long as somebody is asked for a touch.

use std::ffi::{CStr, CString};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pcsc::{Card, Context, Disposition, Protocols, Scope, ShareMode, State, Transaction};
use zeroize::Zeroizing;

use super::apdu::{self, Status};
use super::{Pin, PivError, Serial, Slot};
use crate::domain::charter::Firmware;
use crate::jose::P256PublicKey;

/// A short answer with its status word, with room to spare.
const ANSWER: usize = 300;
/// No PIV answer of interest is longer.
const LONGEST: usize = 4096;

/// Waits for a turn to change libpcsclite's lists; it lasts until the guard is dropped.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    static LISTS: Mutex<()> = Mutex::new(());
    // It guards nothing that a panic could leave half done.
    LISTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The smart card service. Each thread has its own context: calls on one wait for each other.
pub(super) struct Service {
    // `None` only while it is being dropped.
    context: Option<Context>,
}

/// Opens the smart card service.
pub(super) fn service() -> Result<Service, PivError> {
    let _turn = turn();
    let context = Context::establish(Scope::System);
    context
        .map(|context| Service { context: Some(context) })
        .map_err(|error| PivError::Service { detail: error.to_string() })
}

impl Service {
    pub fn context(&self) -> Result<&Context, pcsc::Error> {
        self.context.as_ref().ok_or(pcsc::Error::InvalidHandle)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _turn = turn();
        self.context.take();
    }
}

/// Readers of YubiKeys that hold a card now.
pub(super) fn readers_with_card(opened: &Service) -> Result<Vec<CString>, PivError> {
    let service = |error: pcsc::Error| PivError::Service { detail: error.to_string() };
    let context = opened.context().map_err(service)?;
    let names: Vec<CString> =
        context.list_readers_owned().map_err(service)?.into_iter().filter(|name| is_yubikey(name)).collect();
    let mut states: Vec<_> =
        names.iter().map(|name| pcsc::ReaderState::new(name.clone(), State::UNAWARE)).collect();
    if states.is_empty() {
        return Ok(Vec::new());
    }
    match context.get_status_change(Duration::ZERO, &mut states) {
        Ok(()) | Err(pcsc::Error::Timeout) => {}
        // A reader left between the two calls: the next scan sees what is left.
        Err(pcsc::Error::UnknownReader) => return Ok(names),
        Err(error) => return Err(service(error)),
    }
    let holds_card = |state: &pcsc::ReaderState| state.event_state().contains(State::PRESENT);
    Ok(states.iter().filter(|state| holds_card(state)).map(|state| state.name().to_owned()).collect())
}

/// Other smart cards (an employee card, a SIM) are never spoken to.
pub(super) fn is_yubikey(reader: &CStr) -> bool {
    reader.to_string_lossy().to_ascii_lowercase().contains("yubikey")
}

/// What one command brought back.
pub(super) struct Answer {
    pub data: Zeroizing<Vec<u8>>,
    pub status: Status,
}

/// A connection to one card, shared with other programs.
pub(super) struct Link {
    // `None` only while it is being dropped.
    card: Option<Card>,
}

impl Link {
    pub fn connect(service: &Service, reader: &CStr) -> Result<Self, pcsc::Error> {
        let card = service.context()?.connect(reader, ShareMode::Shared, Protocols::T1)?;
        Ok(Self { card: Some(card) })
    }

    /// Waits for other programs to end their transactions, then keeps them out. The PIV application is selected.
    pub fn begin(&mut self) -> Result<Conversation<'_>, LinkError> {
        let card = self.card.as_mut().ok_or(LinkError::Pcsc(pcsc::Error::InvalidHandle))?;
        let transaction = match card.transaction2() {
            Ok(transaction) => transaction,
            // Another program reset the card while this one waited: take note, and begin again.
            Err((card, pcsc::Error::ResetCard)) => {
                card.reconnect(ShareMode::Shared, Protocols::T1, Disposition::LeaveCard)?;
                card.transaction()?
            }
            Err((_, error)) => return Err(error.into()),
        };
        let conversation = Conversation { transaction };
        match conversation.send(apdu::SELECT_PIV)?.status {
            Status::Ok => Ok(conversation),
            other => Err(LinkError::Answer(format!("no PIV application: {other:?}"))),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(card) = self.card.take() {
            let _turn = turn();
            // The card may be gone; there is nothing to be done about it.
            let _ = card.disconnect(Disposition::LeaveCard);
        }
    }
}

/// Why a conversation broke off.
#[derive(Debug)]
pub(super) enum LinkError {
    Pcsc(pcsc::Error),
    Answer(String),
}

impl From<pcsc::Error> for LinkError {
    fn from(error: pcsc::Error) -> Self {
        Self::Pcsc(error)
    }
}

impl LinkError {
    /// The same, said of a device.
    pub fn of(self, serial: Serial) -> PivError {
        use pcsc::Error::{
            CommDataLost, CommError, InvalidHandle, NoSmartcard, NotTransacted, ReaderUnavailable,
            RemovedCard, ResetCard, UnknownReader, UnpoweredCard, UnresponsiveCard,
        };
        match self {
            Self::Pcsc(
                CommDataLost | CommError | InvalidHandle | NoSmartcard | NotTransacted | ReaderUnavailable
                | RemovedCard | ResetCard | UnknownReader | UnpoweredCard | UnresponsiveCard,
            ) => PivError::Removed { serial },
            Self::Pcsc(pcsc::Error::SharingViolation) => PivError::Busy { serial },
            Self::Pcsc(error @ (pcsc::Error::NoService | pcsc::Error::ServiceStopped)) => {
                PivError::Service { detail: error.to_string() }
            }
            Self::Pcsc(error) => PivError::Device { serial, detail: error.to_string() },
            Self::Answer(detail) => PivError::Device { serial, detail },
        }
    }
}

/// An exclusive transaction with the PIV application. When it ends, the device has forgotten the PIN.
pub(super) struct Conversation<'a> {
    transaction: Transaction<'a>,
}

impl Conversation<'_> {
    /// Serial number and firmware.
    pub fn identify(&self) -> Result<(Serial, Firmware), LinkError> {
        let odd = |what: &str| LinkError::Answer(format!("its {what} has another length"));
        let version = self.demand(apdu::GET_VERSION)?;
        let serial = self.demand(apdu::GET_SERIAL)?;
        let version = version.as_slice().try_into().map_err(|_| odd("firmware version"))?;
        let serial = serial.as_slice().try_into().map_err(|_| odd("serial number"))?;
        Ok((Serial(u32::from_be_bytes(serial)), Firmware(version)))
    }

    /// The public key in a slot, `None` if there is none (or none that can sign ES256). Firmware 5.3 and later.
    pub fn public_key(&self, slot: Slot) -> Result<Option<P256PublicKey>, LinkError> {
        const PUBLIC: u8 = 0x04;
        const POINT: u8 = 0x86;
        let answer = self.send(&apdu::get_metadata(slot.number()))?;
        match answer.status {
            Status::Ok => {}
            Status::NoReference => return Ok(None),
            other => return Err(LinkError::Answer(format!("no metadata: {other:?}"))),
        }
        let point = apdu::find(&answer.data, PUBLIC).and_then(|public| apdu::find(public, POINT));
        Ok(point.and_then(|point| P256PublicKey::from_sec1(point).ok()))
    }

    /// Tries left for the PIN, without using one.
    pub fn pin_tries(&self) -> Result<u8, LinkError> {
        match self.send(apdu::VERIFY_NOTHING)?.status {
            Status::WrongPin(left) => Ok(left),
            Status::Blocked => Ok(0),
            other => Err(LinkError::Answer(format!("no PIN counter: {other:?}"))),
        }
    }

    /// Sends the PIN, once.
    pub fn verify(&self, pin: &Pin) -> Result<Status, LinkError> {
        let command = Zeroizing::new([apdu::VERIFY.as_slice(), pin.reveal_padded()].concat());
        Ok(self.send(&command)?.status)
    }

    /// Signs a digest; blocks while the key waits for a touch. DER or the status that refuses it, and the time it took.
    pub fn sign(
        &self,
        slot: Slot,
        digest: &[u8; 32],
    ) -> Result<(Result<Vec<u8>, Status>, Duration), LinkError> {
        let started = Instant::now();
        let answer = self.send(&apdu::sign(slot.number(), digest))?;
        if answer.status != Status::Ok {
            return Ok((Err(answer.status), started.elapsed()));
        }
        let signature = apdu::find(&answer.data, 0x7c)
            .and_then(|template| apdu::find(template, 0x82))
            .ok_or_else(|| LinkError::Answer("no signature in its answer".to_owned()))?;
        Ok((Ok(signature.to_vec()), started.elapsed()))
    }

    fn demand(&self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, LinkError> {
        let answer = self.send(command)?;
        match answer.status {
            Status::Ok => Ok(answer.data),
            other => Err(LinkError::Answer(format!("{other:?}"))),
        }
    }

    /// One command and its whole answer.
    fn send(&self, command: &[u8]) -> Result<Answer, LinkError> {
        let (mut data, mut status) = self.exchange(command)?;
        while let Status::More(length) = status {
            let (part, next) = self.exchange(&apdu::get_response(length))?;
            data.extend_from_slice(&part);
            status = next;
            if data.len() > LONGEST || (part.is_empty() && matches!(status, Status::More(_))) {
                return Err(LinkError::Answer("its answer does not end".to_owned()));
            }
        }
        Ok(Answer { data: Zeroizing::new(data), status })
    }

    fn exchange(&self, command: &[u8]) -> Result<(Vec<u8>, Status), LinkError> {
        let mut buffer = [0; ANSWER];
        let answer = self.transaction.transmit(command, &mut buffer)?;
        // Some drivers report a card that left in the middle as success, with an answer cut short.
        let (data, status) = apdu::split(answer).ok_or(pcsc::Error::CommDataLost)?;
        Ok((data.to_vec(), status))
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        // Selecting another application makes the device forget the PIN; if the card is gone, it has forgotten already.
        let _ = self.exchange(apdu::SELECT_MANAGEMENT);
    }
}
