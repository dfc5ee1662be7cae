//! Data objects: certificates, CHUID and whatever a client stores, by tag.
//!
//! Spec: SP 800-73-4 part 2 §3.1.2 (GET DATA) and §3.3.2 (PUT DATA).

use crate::apdu::{Command, Sw};
use crate::card::{Card, Outcome};
use crate::state::Bytes;
use crate::tlv;

const TAG_LIST: u32 = 0x5c;
const DISCOVERY: u32 = 0x7e;
/// Printed information, fingerprints, face and iris: readable only after the PIN.
const BEHIND_PIN: [u32; 4] = [0x5f_c109, 0x5f_c103, 0x5f_c108, 0x5f_c121];
/// The largest object, as on a real key.
const MAX_OBJECT: usize = 3063;

impl Card {
    /// GET DATA: 5C names the object; the answer is its 53, or the discovery object by its own tag.
    pub(super) fn get_data(&mut self, command: &Command) -> Outcome {
        let (tag, _) = object_tag(command)?;
        if tag == DISCOVERY {
            let application = tlv::write(0x4f, &[0xa0, 0, 0, 3, 8, 0, 0, 0x10, 0, 1, 0]);
            let pin_usage = tlv::write(0x5f2f, &[0x40, 0]);
            return Ok(tlv::write(DISCOVERY, &[application, pin_usage].concat()));
        }
        if BEHIND_PIN.contains(&tag) && !self.session.pin {
            return Err(Sw::SECURITY_STATUS);
        }
        let object = self.state.objects.get(&tag).ok_or(Sw::NOT_FOUND)?;
        Ok(tlv::write(0x53, &object.0))
    }

    /// PUT DATA: 5C names the object, 53 is its content; empty content deletes.
    pub(super) fn put_data(&mut self, command: &Command) -> Outcome {
        self.require_management()?;
        let (tag, rest) = object_tag(command)?;
        let (content, _) = tlv::read(rest).filter(|(tlv, _)| tlv.tag == 0x53).ok_or(Sw::WRONG_DATA)?;
        if tag == DISCOVERY || content.value.len() > MAX_OBJECT {
            return Err(Sw::WRONG_DATA);
        }
        if content.value.is_empty() {
            self.state.objects.remove(&tag);
        } else {
            self.state.objects.insert(tag, Bytes(content.value.to_vec()));
        }
        self.changed = true;
        Ok(Vec::new())
    }
}

fn object_tag(command: &Command) -> Result<(u32, &[u8]), Sw> {
    if (command.p1, command.p2) != (0x3f, 0xff) {
        return Err(Sw::WRONG_PARAMETERS);
    }
    let (list, rest) =
        tlv::read(&command.data).filter(|(tlv, _)| tlv.tag == TAG_LIST).ok_or(Sw::WRONG_DATA)?;
    if list.value.is_empty() || list.value.len() > 3 {
        return Err(Sw::WRONG_DATA);
    }
    let tag = list.value.iter().fold(0, |tag, byte| (tag << 8) | u32::from(*byte));
    Ok((tag, rest))
}
