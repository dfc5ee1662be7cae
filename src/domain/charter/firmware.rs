//! The firmware of a hardware key: three numbers, ordered as versions are.

use serde::{Deserialize, Serialize};

/// A firmware version, `5.7.4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Firmware(pub [u8; 3]);

impl TryFrom<String> for Firmware {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let mut parts = text.split('.').map(str::parse::<u8>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(a)), Some(Ok(b)), Some(Ok(c)), None) if format!("{a}.{b}.{c}") == text => {
                Ok(Self([a, b, c]))
            }
            _ => Err(format!("{text:?} is not a firmware version such as 5.7.4")),
        }
    }
}

impl From<Firmware> for String {
    fn from(firmware: Firmware) -> Self {
        firmware.to_string()
    }
}

impl std::fmt::Display for Firmware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "{a}.{b}.{c}")
    }
}
