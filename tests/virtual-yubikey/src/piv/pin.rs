//! PIN and PUK: verification, the counters, change, unblocking.
//!
//! A counter goes down before the comparison's answer leaves, and is persistent: three wrong tries block, and pulling the
//! card out does not help.

use crate::apdu::{Command, Sw};
use crate::card::{Card, Outcome};
use crate::state::Reference;

const PIN: u8 = 0x80;
const PUK: u8 = 0x81;

impl Card {
    /// VERIFY: no data asks for the state; eight bytes are a try; P1 = FF forgets.
    pub(super) fn verify(&mut self, command: &Command) -> Outcome {
        if command.p2 != PIN {
            return Err(Sw::REFERENCE_NOT_FOUND);
        }
        match (command.p1, command.data.as_slice()) {
            (0xff, []) => {
                self.session.pin = false;
                self.session.pin_unused = false;
                Ok(Vec::new())
            }
            (0, []) if self.session.pin => Ok(Vec::new()),
            (0, []) if self.state.pin.left == 0 => Err(Sw::BLOCKED),
            (0, []) => Err(Sw::tries_left(self.state.pin.left)),
            (0, value) if value.len() == 8 => {
                self.session.pin = false;
                self.session.pin_unused = false;
                self.changed = true;
                attempt(&mut self.state.pin, value)?;
                self.session.pin = true;
                self.session.pin_unused = true;
                Ok(Vec::new())
            }
            (0, _) => Err(Sw::WRONG_DATA),
            _ => Err(Sw::WRONG_PARAMETERS),
        }
    }

    /// CHANGE REFERENCE DATA: old and new value, eight bytes each.
    pub(super) fn change_reference(&mut self, command: &Command) -> Outcome {
        let (old, new) = two_values(&command.data)?;
        let reference = match command.p2 {
            PIN => &mut self.state.pin,
            PUK => &mut self.state.puk,
            _ => return Err(Sw::REFERENCE_NOT_FOUND),
        };
        self.changed = true;
        attempt(reference, old)?;
        reference.set(new);
        Ok(Vec::new())
    }

    /// RESET RETRY COUNTER: PUK and new PIN.
    pub(super) fn reset_retry(&mut self, command: &Command) -> Outcome {
        if command.p2 != PIN {
            return Err(Sw::REFERENCE_NOT_FOUND);
        }
        let (puk, new) = two_values(&command.data)?;
        self.changed = true;
        attempt(&mut self.state.puk, puk)?;
        self.state.pin.set(new);
        Ok(Vec::new())
    }

    /// SET PIN RETRIES: new limits, and factory values for both.
    pub(super) fn set_retries(&mut self, command: &Command) -> Outcome {
        self.require_management()?;
        if !self.session.pin {
            return Err(Sw::SECURITY_STATUS);
        }
        if command.p1 == 0 || command.p2 == 0 {
            return Err(Sw::WRONG_PARAMETERS);
        }
        self.state.pin = Reference { tries: command.p1, left: command.p1, ..Reference::factory(b"123456") };
        self.state.puk = Reference { tries: command.p2, left: command.p2, ..Reference::factory(b"12345678") };
        self.changed = true;
        Ok(Vec::new())
    }
}

fn attempt(reference: &mut Reference, value: &[u8]) -> Result<(), Sw> {
    if reference.left == 0 {
        return Err(Sw::BLOCKED);
    }
    if reference.value.0 == value {
        reference.left = reference.tries;
        return Ok(());
    }
    reference.left -= 1;
    Err(if reference.left == 0 { Sw::BLOCKED } else { Sw::tries_left(reference.left) })
}

fn two_values(data: &[u8]) -> Result<(&[u8], &[u8]), Sw> {
    if data.len() != 16 {
        return Err(Sw::WRONG_DATA);
    }
    data.split_at_checked(8).ok_or(Sw::WRONG_DATA)
}
