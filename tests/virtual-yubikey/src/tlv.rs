//! BER-TLV as PIV uses it: tags of one to three bytes, definite lengths up to 65,535.
//!
//! Reading never panics: what is malformed is `None`. Spec: ISO 7816-4 §5.2.2.

/// One element and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The tag's bytes, big endian: `0x53`, `0x7f49`, `0x5fc105`.
    pub tag: u32,
    /// The value.
    pub value: &'a [u8],
}

/// Reads the first element of `input`, and returns it with the rest.
#[must_use]
pub fn read(input: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let (tag, rest) = read_tag(input)?;
    let (length, rest) = read_length(rest)?;
    let (value, rest) = rest.split_at_checked(length)?;
    Some((Tlv { tag, value }, rest))
}

/// All elements of `input`, or `None` if anything is left over or malformed.
#[must_use]
pub fn read_all(mut input: &[u8]) -> Option<Vec<Tlv<'_>>> {
    let mut all = Vec::new();
    while !input.is_empty() {
        let (tlv, rest) = read(input)?;
        all.push(tlv);
        input = rest;
    }
    Some(all)
}

/// The value of the first element with this tag.
#[must_use]
pub fn find<'a>(elements: &[Tlv<'a>], tag: u32) -> Option<&'a [u8]> {
    elements.iter().find(|tlv| tlv.tag == tag).map(|tlv| tlv.value)
}

/// Encodes one element.
#[must_use]
pub fn write(tag: u32, value: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = tag.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    match length {
        0..=0x7f => out.push(low),
        0x80..=0xff => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(value);
    out
}

fn read_tag(input: &[u8]) -> Option<(u32, &[u8])> {
    let (first, mut rest) = input.split_first()?;
    let mut tag = u32::from(*first);
    if first & 0x1f == 0x1f {
        loop {
            let (next, after) = rest.split_first()?;
            rest = after;
            tag = tag.checked_mul(0x100)? | u32::from(*next);
            if next & 0x80 == 0 || tag > 0xffff {
                break;
            }
        }
    }
    Some((tag, rest))
}

fn read_length(input: &[u8]) -> Option<(usize, &[u8])> {
    match input {
        [0x82, high, low, rest @ ..] => Some((usize::from(u16::from_be_bytes([*high, *low])), rest)),
        [length @ 0..=0x7f, rest @ ..] | [0x81, length, rest @ ..] => Some((usize::from(*length), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_tags_and_lengths_of_every_size() {
        for tag in [0x53, 0x7e, 0x7f49, 0x5f_c105] {
            for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 3000] {
                let value = vec![0xa5; length];
                let mut bytes = write(tag, &value);
                bytes.push(0x99);
                let (tlv, rest) = read(&bytes).expect("well formed");
                assert_eq!((tlv.tag, tlv.value, rest), (tag, value.as_slice(), [0x99].as_slice()));
            }
        }
    }

    #[test]
    fn refuses_what_is_cut_short() {
        let whole = write(0x5f_c105, &[1; 300]);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_none(), "cut at {cut}");
        }
    }
}
