//! The management key: proof of possession both ways, and replacement. 3DES and AES, as the firmware has it.
//!
//! Spec: SP 800-73-4 part 2 §3.2.4 (GENERAL AUTHENTICATE, cases 2 to 4).

use crate::apdu::{Command, Sw};
use crate::card::{Card, Outcome};
use crate::state::{Bytes, Management};
use crate::tlv;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

/// The slot of the management key.
pub(super) const SLOT: u8 = 0x9b;

impl Card {
    /// GENERAL AUTHENTICATE with slot 9B. Either the card sends a witness and answers a challenge (mutual), or it sends
    /// a challenge (one-sided).
    pub(super) fn authenticate_management(&mut self, command: &Command) -> Outcome {
        if command.p1 != self.state.management.algorithm {
            return Err(Sw::WRONG_PARAMETERS);
        }
        let (template, _) = tlv::read(&command.data).filter(|(t, _)| t.tag == 0x7c).ok_or(Sw::WRONG_DATA)?;
        let items = tlv::read_all(template.value).ok_or(Sw::WRONG_DATA)?;
        let (witness, challenge, response) =
            (tlv::find(&items, 0x80), tlv::find(&items, 0x81), tlv::find(&items, 0x82));
        match (witness, challenge, response) {
            (Some([]), None, None) => {
                let secret = self.random_block()?;
                let sealed = self.state.management.encrypt(&secret)?;
                self.session.witness = Some(secret);
                Ok(answer(0x80, &sealed))
            }
            (Some(opened), Some(challenge), _) => {
                let expected = self.session.witness.take().ok_or(Sw::CONDITIONS)?;
                self.session.management = expected == opened;
                self.require_management()?;
                Ok(answer(0x82, &self.state.management.encrypt(challenge)?))
            }
            (None, Some([]), None) => {
                let challenge = self.random_block()?;
                self.session.challenge = Some(challenge.clone());
                Ok(answer(0x81, &challenge))
            }
            (None, None, Some(response)) => {
                let challenge = self.session.challenge.take().ok_or(Sw::CONDITIONS)?;
                self.session.management = self.state.management.encrypt(&challenge)? == response;
                self.require_management()?;
                Ok(Vec::new())
            }
            _ => Err(Sw::WRONG_DATA),
        }
    }

    /// SET MANAGEMENT KEY: algorithm, 9B, length, key. Keys that ask for a touch (P2 = FE) are taken as if they did not.
    pub(super) fn set_management_key(&mut self, command: &Command) -> Outcome {
        self.require_management()?;
        if command.p1 != 0xff || !matches!(command.p2, 0xff | 0xfe) {
            return Err(Sw::WRONG_PARAMETERS);
        }
        let [algorithm, SLOT, length, key @ ..] = command.data.as_slice() else { return Err(Sw::WRONG_DATA) };
        let expected = match algorithm {
            0x03 | 0x0a => 24,
            0x08 => 16,
            0x0c => 32,
            _ => return Err(Sw::WRONG_DATA),
        };
        if key.len() != expected || usize::from(*length) != expected {
            return Err(Sw::WRONG_DATA);
        }
        self.state.management =
            Management { algorithm: *algorithm, key: Bytes(key.to_vec()), default: false };
        self.changed = true;
        Ok(Vec::new())
    }

    fn random_block(&self) -> Result<Vec<u8>, Sw> {
        let mut block = vec![0; if self.state.management.algorithm == 0x03 { 8 } else { 16 }];
        getrandom::fill(&mut block).map_err(|_| Sw::CONDITIONS)?;
        Ok(block)
    }
}

impl Management {
    /// Encrypts one block.
    fn encrypt(&self, block: &[u8]) -> Result<Vec<u8>, Sw> {
        match self.algorithm {
            0x03 => encrypt_block::<des::TdesEde3>(&self.key.0, block),
            0x08 => encrypt_block::<aes::Aes128>(&self.key.0, block),
            0x0a => encrypt_block::<aes::Aes192>(&self.key.0, block),
            _ => encrypt_block::<aes::Aes256>(&self.key.0, block),
        }
    }
}

fn encrypt_block<C: BlockCipherEncrypt + KeyInit>(key: &[u8], block: &[u8]) -> Result<Vec<u8>, Sw> {
    let cipher = C::new_from_slice(key).map_err(|_| Sw::WRONG_DATA)?;
    let mut out = aes::cipher::Block::<C>::try_from(block).map_err(|_| Sw::WRONG_DATA)?;
    cipher.encrypt_block(&mut out);
    Ok(out.to_vec())
}

fn answer(tag: u32, value: &[u8]) -> Vec<u8> {
    tlv::write(0x7c, &tlv::write(tag, value))
}
