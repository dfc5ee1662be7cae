//! The PIV application: which instruction does what.
//!
//! Spec: NIST SP 800-73-4 part 2, and the YubiKey's own instructions (0xf6 to 0xff) as its clients send them.

mod keys;
mod management;
mod objects;
mod pin;

use crate::apdu::{Command, Sw};
use crate::card::{Card, Outcome};
use std::time::Instant;

/// What a client has proven since it selected the application; lost at every SELECT and reset.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The PIN was right.
    pub pin: bool,
    /// The PIN was right, and no private-key operation has used it up (PIN policy "always").
    pub pin_unused: bool,
    /// The management key was right.
    pub management: bool,
    /// What the client must decrypt to prove that it has the management key.
    pub witness: Option<Vec<u8>>,
    /// What the client must encrypt to prove the same (the one-sided way).
    pub challenge: Option<Vec<u8>>,
    /// The last touch, for touch policy "cached".
    pub touched: Option<Instant>,
}

impl Card {
    pub(crate) fn piv(&mut self, command: &Command) -> Outcome {
        match command.ins {
            0x20 => self.verify(command),
            0x24 => self.change_reference(command),
            0x2c => self.reset_retry(command),
            0x47 => self.generate(command),
            0x87 if command.p2 == management::SLOT => self.authenticate_management(command),
            0x87 => self.use_key(command),
            0xcb => self.get_data(command),
            0xdb => self.put_data(command),
            0xf6 => self.move_key(command),
            0xf7 => self.metadata(command),
            0xf8 => Ok(self.state.serial.to_be_bytes().to_vec()),
            0xf9 => self.attest(command),
            0xfa => self.set_retries(command),
            0xfb => self.factory_reset(),
            0xfd => Ok(self.state.version.bytes().to_vec()),
            0xfe => self.import(command),
            0xff => self.set_management_key(command),
            _ => Err(Sw::UNKNOWN_INS),
        }
    }

    /// Refuses unless the management key was proven.
    fn require_management(&self) -> Result<(), Sw> {
        if self.session.management { Ok(()) } else { Err(Sw::SECURITY_STATUS) }
    }

    fn factory_reset(&mut self) -> Outcome {
        if self.state.pin.left > 0 || self.state.puk.left > 0 {
            return Err(Sw::CONDITIONS);
        }
        self.state.reset();
        self.session = Session::default();
        self.changed = true;
        Ok(Vec::new())
    }
}
