//! The few PIV commands of signing and recognising a key, and the answers to them, as bytes.
//!
//! Spec: ISO 7816-4 §5; SP 800-73-4 part 2 §3.2; GET METADATA and GET SERIAL as Yubico's SDK documents them.

/// SELECT the PIV application.
pub(super) const SELECT_PIV: &[u8] = &[0, 0xa4, 4, 0, 5, 0xa0, 0, 0, 3, 8];
/// SELECT the management application, which makes the device forget the PIN.
pub(super) const SELECT_MANAGEMENT: &[u8] = &[0, 0xa4, 4, 0, 8, 0xa0, 0, 0, 5, 0x27, 0x47, 0x11, 0x17];
/// Firmware version: three bytes.
pub(super) const GET_VERSION: &[u8] = &[0, 0xfd, 0, 0];
/// Serial number: four bytes, big endian.
pub(super) const GET_SERIAL: &[u8] = &[0, 0xf8, 0, 0];

/// The rest of a long answer.
pub(super) fn get_response(length: u8) -> [u8; 5] {
    [0, 0xc0, 0, 0, length]
}

/// Header of VERIFY with a PIN; eight bytes follow.
pub(super) const VERIFY: [u8; 5] = [0, 0x20, 0, 0x80, 8];

/// VERIFY without a PIN: asks for the counter.
pub(super) const VERIFY_NOTHING: &[u8] = &[0, 0x20, 0, 0x80];

/// GET METADATA of a key.
pub(super) fn get_metadata(slot: u8) -> [u8; 4] {
    [0, 0xf7, 0, slot]
}

/// GENERAL AUTHENTICATE: sign a digest with a P-256 key.
pub(super) fn sign(slot: u8, digest: &[u8; 32]) -> Vec<u8> {
    const P256: u8 = 0x11;
    [&[0, 0x87, P256, slot, 38, 0x7c, 36, 0x82, 0, 0x81, 32], digest.as_slice(), &[0]].concat()
}

/// A status word, sorted by what it means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    /// More bytes wait; so many, 0 for 256 or more.
    More(u8),
    /// Wrong PIN; so many tries are left.
    WrongPin(u8),
    Blocked,
    /// PIN, management key or touch is missing.
    NotAuthorised,
    /// No such key.
    NoReference,
    Other(u16),
}

/// Splits an answer into data and status.
pub(super) fn split(answer: &[u8]) -> Option<(&[u8], Status)> {
    let (data, &[high, low]) = answer.split_last_chunk::<2>()?;
    let status = match u16::from_be_bytes([high, low]) {
        0x9000 => Status::Ok,
        0x6983 => Status::Blocked,
        0x6982 => Status::NotAuthorised,
        0x6a88 | 0x6a82 => Status::NoReference,
        0x6100..=0x61ff => Status::More(low),
        0x63c0..=0x63cf => Status::WrongPin(low & 0x0f),
        other => Status::Other(other),
    };
    Some((data, status))
}

/// The value of the first element with this one-byte tag, in BER-TLV whose lengths are below 65,536.
pub(super) fn find(mut input: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [tag, rest @ ..] = input {
        let (length, rest) = match rest {
            [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            [0x81, length, rest @ ..] | [length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        if *tag == wanted {
            return Some(value);
        }
        input = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_elements_by_tag() {
        let input = [0x01, 1, 0x11, 0x02, 2, 3, 2, 0x04, 0x81, 3, 7, 8, 9];
        assert_eq!(find(&input, 0x02), Some([3, 2].as_slice()));
        assert_eq!(find(&input, 0x04), Some([7, 8, 9].as_slice()));
        assert_eq!(find(&input, 0x05), None);
        assert_eq!(find(&input[..12], 0x04), None, "cut short");
    }

    #[test]
    fn sorts_status_words() {
        assert_eq!(split(&[1, 2, 0x90, 0]), Some(([1, 2].as_slice(), Status::Ok)));
        assert_eq!(split(&[0x63, 0xc2]), Some(([].as_slice(), Status::WrongPin(2))));
        assert_eq!(split(&[0x69, 0x83]), Some(([].as_slice(), Status::Blocked)));
        assert_eq!(split(&[0x90]), None);
    }

    #[test]
    fn a_signature_command_is_well_formed() {
        let command = sign(0x9c, &[0xaa; 32]);
        assert_eq!(command.len(), 5 + usize::from(command[4]) + 1);
        let template = find(&command[5..43], 0x7c).unwrap();
        assert_eq!(find(template, 0x81), Some([0xaa; 32].as_slice()));
        assert_eq!(find(template, 0x82), Some([].as_slice()));
    }

    proptest! {
        #[test]
        fn no_answer_of_a_device_can_break_the_reader(answer: Vec<u8>, tag: u8) {
            let _ = split(&answer);
            let _ = find(&answer, tag);
        }
    }
}
