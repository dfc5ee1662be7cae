//! The card as a state machine: one APDU in, one answer out; applets, command chaining and long responses.
//!
//! Whatever a command changed for good is in [`Card::state`] when it returns; the driver writes it down before the
//! answer leaves, so that a card killed at any point is a card that lost power.
//!
//! Spec: ISO 7816-4; the YubiKey's PIV, management and OTP applications as their public clients use them.

use crate::apdu::{Command, Sw};
use crate::piv::Session;
use crate::state::CardState;
use crate::tlv;
use crate::touch::Finger;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The longest command a chain may build, as on a real key.
const MAX_CHAINED: usize = 3072;

const PIV: &[u8] = &[0xa0, 0, 0, 3, 8, 0, 0, 0x10, 0, 1, 0];
const MANAGEMENT: &[u8] = &[0xa0, 0, 0, 5, 0x27, 0x47, 0x11, 0x17];
const OTP: &[u8] = &[0xa0, 0, 0, 5, 0x27, 0x20, 1];

/// What a command brings back, or the status word that refuses it.
pub(crate) type Outcome = Result<Vec<u8>, Sw>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Applet {
    Piv,
    Management,
    Otp,
}

/// A virtual YubiKey, powered on.
pub struct Card {
    pub(crate) state: CardState,
    pub(crate) finger: Finger,
    pub(crate) session: Session,
    pub(crate) changed: bool,
    /// Private-key operations done; shared with whoever counts them.
    pub(crate) signatures: Arc<AtomicU64>,
    applet: Option<Applet>,
    chain: Vec<u8>,
    pending: Vec<u8>,
}

impl Card {
    /// Answer to reset of a YubiKey 5.
    pub const ATR: [u8; 23] = [
        0x3b, 0xfd, 0x13, 0x00, 0x00, 0x81, 0x31, 0xfe, 0x15, 0x80, 0x73, 0xc0, 0x21, 0xc0, 0x57, 0x59, 0x75,
        0x62, 0x69, 0x4b, 0x65, 0x79, 0x40,
    ];

    /// Powers up a card.
    #[must_use]
    pub fn new(state: CardState, finger: Finger) -> Self {
        Self {
            state,
            finger,
            session: Session::default(),
            changed: false,
            signatures: Arc::new(AtomicU64::new(0)),
            applet: None,
            chain: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Power off, or a reset: what was not persistent is gone.
    pub fn reset(&mut self) {
        self.session = Session::default();
        self.applet = None;
        self.chain.clear();
        self.pending.clear();
    }

    /// The persistent part.
    #[must_use]
    pub fn state(&self) -> &CardState {
        &self.state
    }

    /// Whether the persistent part changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Answers one APDU: data and status word. Blocks while the card waits for a touch.
    pub fn transmit(&mut self, apdu: &[u8]) -> Vec<u8> {
        let (mut answer, sw) = match Command::parse(apdu) {
            Ok(command) => self.answer(command),
            Err(sw) => (Vec::new(), sw),
        };
        answer.extend(sw.0.to_be_bytes());
        answer
    }

    fn answer(&mut self, mut command: Command) -> (Vec<u8>, Sw) {
        const GET_RESPONSE: u8 = 0xc0;
        if command.ins == GET_RESPONSE {
            return self.next_part(command.limit);
        }
        self.pending.clear();
        if command.cla & !0x10 != 0 {
            return (Vec::new(), Sw::WRONG_CLASS);
        }
        if self.chain.len() + command.data.len() > MAX_CHAINED {
            self.chain.clear();
            return (Vec::new(), Sw::WRONG_LENGTH);
        }
        if command.cla & 0x10 != 0 {
            self.chain.append(&mut command.data);
            return (Vec::new(), Sw::OK);
        }
        if !self.chain.is_empty() {
            let mut whole = std::mem::take(&mut self.chain);
            whole.append(&mut command.data);
            command.data = whole;
        }
        match self.dispatch(&command) {
            Ok(data) => {
                self.pending = data;
                self.next_part(command.limit)
            }
            Err(sw) => (Vec::new(), sw),
        }
    }

    /// The next part of a long response, and how much is left.
    fn next_part(&mut self, limit: usize) -> (Vec<u8>, Sw) {
        let rest = self.pending.split_off(limit.min(self.pending.len()));
        let part = std::mem::replace(&mut self.pending, rest);
        let sw = if self.pending.is_empty() { Sw::OK } else { Sw::more(self.pending.len()) };
        (part, sw)
    }

    fn dispatch(&mut self, command: &Command) -> Outcome {
        const SELECT: u8 = 0xa4;
        if command.ins == SELECT && command.p1 == 4 {
            return self.select(&command.data);
        }
        match self.applet {
            Some(Applet::Piv) => self.piv(command),
            Some(Applet::Management) => self.management(command),
            Some(Applet::Otp) => self.otp(command),
            None => Err(Sw::UNKNOWN_INS),
        }
    }

    fn select(&mut self, aid: &[u8]) -> Outcome {
        let names = |full: &[u8]| aid.len() >= 5 && full.starts_with(aid);
        let applet = match () {
            () if names(PIV) => Applet::Piv,
            () if names(MANAGEMENT) => Applet::Management,
            () if names(OTP) => Applet::Otp,
            // The application selected before stays selected.
            () => return Err(Sw::NOT_FOUND),
        };
        self.session = Session::default();
        self.applet = Some(applet);
        let [major, minor, patch] = self.state.version.bytes();
        Ok(match applet {
            Applet::Piv => {
                let authority = tlv::write(0x79, &tlv::write(0x4f, &[0xa0, 0, 0, 3, 8]));
                tlv::write(0x61, &[tlv::write(0x4f, &[0, 0, 0x10, 0, 1, 0]), authority].concat())
            }
            Applet::Management => format!("Virtual mgr - FW version {}", self.state.version).into_bytes(),
            Applet::Otp => vec![major, minor, patch, 0, 0, 0, 0],
        })
    }

    /// The management application: what the device is. Configuration cannot be written.
    fn management(&mut self, command: &Command) -> Outcome {
        const READ_CONFIG: u8 = 0x1d;
        const PIV_ONLY: &[u8] = &[0, 0x10];
        if command.ins != READ_CONFIG {
            return Err(Sw::UNKNOWN_INS);
        }
        if command.p1 != 0 {
            return Ok(vec![0]);
        }
        let items = [
            tlv::write(0x01, PIV_ONLY),
            tlv::write(0x02, &self.state.serial.to_be_bytes()),
            tlv::write(0x03, PIV_ONLY),
            tlv::write(0x04, &[crate::attestation::FORM_FACTOR]),
            tlv::write(0x05, &self.state.version.bytes()),
            tlv::write(0x06, &[0, 0]),
            tlv::write(0x07, &[0]),
            tlv::write(0x08, &[0]),
            tlv::write(0x0a, &[0]),
        ]
        .concat();
        let length = u8::try_from(items.len()).map_err(|_| Sw::CONDITIONS)?;
        Ok([vec![length], items].concat())
    }

    /// The OTP application: only the serial number, for clients that ask it there.
    fn otp(&mut self, command: &Command) -> Outcome {
        match (command.ins, command.p1) {
            (0x01, 0x10) => Ok(self.state.serial.to_be_bytes().to_vec()),
            _ => Err(Sw::UNKNOWN_INS),
        }
    }
}
