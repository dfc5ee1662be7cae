//! A PIN: held for one use, zeroized, never shown.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use super::PivError;

/// Six to eight bytes. It has no `Display`, its `Debug` is redacted, and its memory is cleared when dropped.
pub struct Pin {
    /// Padded with 0xff, as it goes to the device.
    padded: Zeroizing<[u8; 8]>,
    length: usize,
}

impl Pin {
    /// Takes a PIN from a buffer; the caller clears the buffer.
    ///
    /// # Errors
    /// [`PivError::PinShape`] unless it has 6 to 8 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, PivError> {
        let mut padded = Zeroizing::new([0xff; 8]);
        match padded.get_mut(..bytes.len()) {
            Some(start) if bytes.len() >= 6 => start.copy_from_slice(bytes),
            _ => return Err(PivError::PinShape),
        }
        Ok(Self { padded, length: bytes.len() })
    }

    /// Reads the PIN in the first line of a file.
    ///
    /// # Errors
    /// [`PivError::PinFile`] or [`PivError::PinShape`].
    pub fn from_file(path: &Path) -> Result<Self, PivError> {
        let content = Zeroizing::new(std::fs::read(path).map_err(|error| PivError::PinFile {
            path: path.display().to_string(),
            detail: error.to_string(),
        })?);
        let line = content.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        Self::new(line)
    }

    /// The PIN itself, for the one call that sends it to a device.
    pub(super) fn reveal(&self) -> &[u8] {
        self.padded.get(..self.length).unwrap_or_default()
    }

    /// The PIN padded to eight bytes, for the one command that sends it to a device.
    pub(super) fn reveal_padded(&self) -> &[u8; 8] {
        &self.padded
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_six_to_eight_bytes_and_pads_them() {
        for length in 0..12 {
            let pin = Pin::new(&b"123456789012"[..length]);
            assert_eq!(pin.is_ok(), (6..=8).contains(&length), "{length}");
        }
        let pin = Pin::new(b"123456").unwrap();
        assert_eq!(pin.reveal(), b"123456");
        assert_eq!(pin.reveal_padded(), b"123456\xff\xff");
    }

    #[test]
    fn never_shows_itself() {
        assert_eq!(format!("{:?}", Pin::new(b"654321").unwrap()), "Pin(redacted)");
    }

    #[test]
    fn reads_the_first_line_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345678\r\nnot this\n").unwrap();
        assert_eq!(Pin::from_file(file.path()).unwrap().reveal(), b"12345678");
        std::fs::write(file.path(), "\n12345678").unwrap();
        assert_eq!(Pin::from_file(file.path()).unwrap_err(), PivError::PinShape);
        let missing = Pin::from_file(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(missing.reason(), "PIV_PIN_FILE");
    }
}
