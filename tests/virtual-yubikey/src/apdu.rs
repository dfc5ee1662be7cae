//! Command and response APDUs: short and extended lengths, and the status words this card uses.
//!
//! Spec: ISO 7816-4 §5.1 (cases 1 to 4) and §5.6 (status words).

/// A command as the applets see it: unchained, lengths removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Class byte; bit 0x10 says that another command continues this one.
    pub cla: u8,
    /// Instruction.
    pub ins: u8,
    /// First parameter.
    pub p1: u8,
    /// Second parameter.
    pub p2: u8,
    /// Command data, at most 65,535 bytes.
    pub data: Vec<u8>,
    /// The most response bytes the client takes in one answer: 256, or up to 65,536 with an extended length.
    pub limit: usize,
}

/// A status word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sw(pub u16);

impl Sw {
    /// Done.
    pub const OK: Self = Self(0x9000);
    /// The command's length is wrong.
    pub const WRONG_LENGTH: Self = Self(0x6700);
    /// PIN, management key or touch is missing.
    pub const SECURITY_STATUS: Self = Self(0x6982);
    /// No tries are left.
    pub const BLOCKED: Self = Self(0x6983);
    /// Not now.
    pub const CONDITIONS: Self = Self(0x6985);
    /// The data field is malformed or names something unsupported.
    pub const WRONG_DATA: Self = Self(0x6a80);
    /// No such object or application.
    pub const NOT_FOUND: Self = Self(0x6a82);
    /// P1 or P2 is wrong.
    pub const WRONG_PARAMETERS: Self = Self(0x6a86);
    /// The key reference names nothing.
    pub const REFERENCE_NOT_FOUND: Self = Self(0x6a88);
    /// Unknown instruction.
    pub const UNKNOWN_INS: Self = Self(0x6d00);
    /// The class byte is not supported.
    pub const WRONG_CLASS: Self = Self(0x6e00);

    /// Wrong PIN or PUK; `tries` are left.
    #[must_use]
    pub fn tries_left(tries: u8) -> Self {
        Self(0x63c0 | u16::from(tries.min(15)))
    }

    /// At least `more` bytes wait for GET RESPONSE (0 means 256 or more).
    #[must_use]
    pub fn more(more: usize) -> Self {
        Self(0x6100 | u16::from(u8::try_from(more).unwrap_or(0)))
    }
}

impl Command {
    /// Parses one command.
    ///
    /// # Errors
    /// 6700 when the lengths do not add up.
    pub fn parse(bytes: &[u8]) -> Result<Self, Sw> {
        let [cla, ins, p1, p2, body @ ..] = bytes else { return Err(Sw::WRONG_LENGTH) };
        let (data, limit) = Self::body(body).ok_or(Sw::WRONG_LENGTH)?;
        Ok(Self { cla: *cla, ins: *ins, p1: *p1, p2: *p2, data: data.to_vec(), limit })
    }

    fn body(body: &[u8]) -> Option<(&[u8], usize)> {
        let short = |le: u8| if le == 0 { 256 } else { usize::from(le) };
        let extended = |high: u8, low: u8| match u16::from_be_bytes([high, low]) {
            0 => 65_536,
            le => usize::from(le),
        };
        match body {
            // A client that names no length still gets data, as T=1 cards do.
            [] => Some((&[], 256)),
            [le] => Some((&[], short(*le))),
            [0, high, low] => Some((&[], extended(*high, *low))),
            [0, high, low, rest @ ..] => {
                let (data, le) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
                match le {
                    [] => Some((data, 256)),
                    [high, low] => Some((data, extended(*high, *low))),
                    _ => None,
                }
            }
            [lc, rest @ ..] => {
                let (data, le) = rest.split_at_checked(usize::from(*lc))?;
                match le {
                    [] => Some((data, 256)),
                    [le] => Some((data, short(*le))),
                    _ => None,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> (Vec<u8>, usize) {
        let command = Command::parse(bytes).expect("well formed");
        (command.data, command.limit)
    }

    #[test]
    fn reads_all_cases_short_and_extended() {
        assert_eq!(parsed(&[0, 0xa4, 4, 0]), (vec![], 256));
        assert_eq!(parsed(&[0, 0xa4, 4, 0, 0]), (vec![], 256));
        assert_eq!(parsed(&[0, 0xa4, 4, 0, 2, 7, 8]), (vec![7, 8], 256));
        assert_eq!(parsed(&[0, 0xa4, 4, 0, 2, 7, 8, 9]), (vec![7, 8], 9));
        assert_eq!(parsed(&[0, 0xa4, 4, 0, 0, 0, 0]), (vec![], 65_536));
        assert_eq!(parsed(&[0, 0xa4, 4, 0, 0, 0, 2, 7, 8]), (vec![7, 8], 256));
        assert_eq!(parsed(&[0, 0xa4, 4, 0, 0, 0, 2, 7, 8, 1, 0]), (vec![7, 8], 256));
    }

    #[test]
    fn refuses_lengths_that_do_not_add_up() {
        for bad in [&[0, 0xa4, 4][..], &[0, 0xa4, 4, 0, 3, 1, 2], &[0, 0xa4, 4, 0, 1, 1, 2, 3]] {
            assert_eq!(Command::parse(bad), Err(Sw::WRONG_LENGTH));
        }
    }
}
