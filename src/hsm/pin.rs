//! The user PIN of a device: where it comes from, and that it goes nowhere else.
//!
//! Invariants: no `Display`, a redacted `Debug`, wiped from memory when dropped; read only from a file that
//! nobody but its owner can read; written once, into a new file, durable before it is used.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use cryptoki::types::AuthPin;
use rand_core::CryptoRng;
use zeroize::{Zeroize as _, Zeroizing};

use super::error::HsmError;
use super::new_file::write_new;

/// Longest PIN that is read, in bytes. `CloudHSM` writes `user:password`, so this is generous.
const MAX_PIN: usize = 255;
/// Random bytes in a generated PIN: 128 bits, written as 32 hexadecimal digits.
const RANDOM_BYTES: usize = 16;

/// The user PIN of a signing device.
pub struct UserPin(Zeroizing<String>);

impl fmt::Debug for UserPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserPin(redacted)")
    }
}

impl UserPin {
    /// Takes a PIN that a person typed or a test chose.
    #[must_use]
    pub fn new(pin: Zeroizing<String>) -> Self {
        Self(pin)
    }

    /// A fresh PIN of 128 random bits as 32 hexadecimal digits, which every device with PINs of that length takes.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self(random_hex(rng))
    }

    /// Reads a PIN from a file of mode 0600 or 0400, or from a systemd credential. One newline at the end is cut.
    ///
    /// # Errors
    /// [`HsmError::PinFile`] if it cannot be read, is empty, too long, not UTF-8, or open to group or others.
    pub fn from_file(path: &Path) -> Result<Self, HsmError> {
        let text = read_private(path).map_err(|(problem, source)| pin_file(path, problem, source))?;
        let text = Zeroizing::new(text.strip_suffix('\n').unwrap_or(&text).to_owned());
        if text.is_empty() {
            return Err(pin_file(path, "it is empty".into(), None));
        }
        if text.len() > MAX_PIN {
            return Err(pin_file(path, format!("it is longer than {MAX_PIN} bytes"), None));
        }
        Ok(Self(text))
    }

    /// Writes the PIN into a new file of mode 0600, and returns once file and directory are on disk.
    ///
    /// # Errors
    /// [`HsmError::PinFile`] if the file exists already or cannot be written. Nothing is overwritten.
    pub fn write_new(&self, path: &Path) -> Result<(), HsmError> {
        write_new(path, 0o600, self.0.as_bytes())
            .map_err(|source| pin_file(path, "it cannot be created".into(), Some(source)))
    }

    /// The PIN itself, for a device that takes it as bytes. The one place where it is revealed.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// For `C_Login`; `AuthPin` wipes its copy too.
    pub(crate) fn auth_pin(&self) -> AuthPin {
        AuthPin::new(self.0.as_str().into())
    }
}

/// A security officer's PIN: exists only while a device is initialised, is never written, and cannot be read back.
pub(crate) struct SoPin(AuthPin);

impl SoPin {
    pub(crate) fn random(rng: &mut impl CryptoRng) -> Self {
        let text = random_hex(rng);
        Self(AuthPin::new(text.as_str().into()))
    }

    pub(crate) fn auth_pin(&self) -> &AuthPin {
        &self.0
    }
}

fn random_hex(rng: &mut impl CryptoRng) -> Zeroizing<String> {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut bytes = Zeroizing::new([0_u8; RANDOM_BYTES]);
    rng.fill_bytes(bytes.as_mut());
    // Reserved at once, so that no growth leaves a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * RANDOM_BYTES));
    for byte in bytes.iter() {
        for nibble in [byte >> 4, byte & 15] {
            text.extend(DIGITS.get(usize::from(nibble)));
        }
    }
    text
}

fn pin_file(path: &Path, problem: String, source: Option<std::io::Error>) -> HsmError {
    HsmError::PinFile { path: path.to_owned(), problem, source }
}

/// Reads a small secret text file, after making sure that only its owner can.
pub(super) fn read_private(path: &Path) -> Result<Zeroizing<String>, (String, Option<std::io::Error>)> {
    let mut bytes = read_private_bytes(path)?;
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(("it is not UTF-8".into(), None))
        }
    }
}

/// Reads a small secret file, after making sure that only its owner can.
pub(super) fn read_private_bytes(
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, (String, Option<std::io::Error>)> {
    const LIMIT: u64 = 4096;
    let cannot = |source| ("it cannot be read".to_owned(), Some(source));
    let file = File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if !meta.is_file() {
        return Err(("it is not a regular file".into(), None));
    }
    // systemd opens a credential to the service's user with an ACL, whose mask shows as the group's bits.
    let allowed = if path.starts_with("/run/credentials") { 0o740 } else { 0o700 };
    if meta.mode() & 0o777 & !allowed != 0 {
        let problem =
            format!("its mode is {:04o}, so others may read it; set it to 0600", meta.mode() & 0o7777);
        return Err((problem, None));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LIMIT).unwrap_or(0) + 1));
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > LIMIT {
        return Err((format!("it is longer than {LIMIT} bytes"), None));
    }
    Ok(bytes)
}
