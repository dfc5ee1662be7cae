//! Names that go into PKCS#11: of an `hsm_token`, and of a key on it.
//!
//! Invariant: one constructor each; a name that exists is printable ASCII and short enough for every device.
//! Spec: PKCS #11 v3.0 section 5.5 (labels are 32 bytes, padded with blanks).

use std::fmt;

use super::error::HsmError;

/// Which `hsm_token` to use. Slot numbers change when a token is initialised, so they never choose one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSelector {
    label: String,
    serial: Option<String>,
}

impl TokenSelector {
    /// Chooses by label, and by serial where two tokens have the same label.
    ///
    /// # Errors
    /// [`HsmError::BadName`] unless the label is 1 to 32 printable ASCII characters without blanks at the ends.
    pub fn new(label: &str, serial: Option<&str>) -> Result<Self, HsmError> {
        Ok(Self { label: token_label(label)?, serial: serial.map(|s| s.trim().to_owned()) })
    }

    /// The label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn fits(&self, label: &str, serial: &str) -> bool {
        self.label == label && self.serial.as_deref().is_none_or(|wanted| wanted == serial)
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.serial {
            Some(serial) => write!(f, "{} (serial {serial})", self.label),
            None => f.write_str(&self.label),
        }
    }
}

fn token_label(label: &str) -> Result<String, HsmError> {
    const RULE: &str = "it must be 1 to 32 printable ASCII characters, with no blank at either end";
    let printable = label.bytes().all(|b| (0x20..0x7f).contains(&b));
    if label.is_empty() || label.len() > 32 || !printable || label.trim() != label {
        return Err(HsmError::BadName { what: "the hsm_token label", value: label.to_owned(), rule: RULE });
    }
    Ok(label.to_owned())
}

/// The label of a key that this program makes, such as `issuing-1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

impl KeyName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`HsmError::BadName`] unless it is 1 to 32 characters of `a-z`, `0-9` and `-`.
    pub fn new(name: &str) -> Result<Self, HsmError> {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if name.is_empty() || name.len() > 32 || !plain {
            let rule = "it must be 1 to 32 characters of a-z, 0-9 and -";
            return Err(HsmError::BadName { what: "the key name", value: name.to_owned(), rule });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_labels_fit_into_pkcs11() {
        for good in ["a", "breakglass issuing", "0123456789abcdef0123456789abcdef"] {
            assert!(TokenSelector::new(good, None).is_ok(), "{good}");
        }
        for bad in ["", " a", "a ", "é", "a\n", "0123456789abcdef0123456789abcdef0"] {
            assert_eq!(TokenSelector::new(bad, None).unwrap_err().reason(), "HSM_BAD_NAME", "{bad:?}");
        }
    }

    #[test]
    fn the_serial_narrows_the_choice() {
        let any = TokenSelector::new("t", None).unwrap();
        let one = TokenSelector::new("t", Some(" 42 ")).unwrap();
        assert!(any.fits("t", "41") && one.fits("t", "42"));
        assert!(!one.fits("t", "41") && !any.fits("u", "41"));
    }

    #[test]
    fn key_names_are_plain() {
        assert!(KeyName::new("issuing-1").is_ok());
        for bad in ["", "Issuing", "a b", "ä", "0123456789abcdef0123456789abcdef0"] {
            assert!(KeyName::new(bad).is_err(), "{bad:?}");
        }
    }
}
