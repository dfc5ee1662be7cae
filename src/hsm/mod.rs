//! Signing devices: keys that never leave them, behind two narrow traits.
//!
//! [`SigningDevice`] holds issuing keys and has two implementations: [`Pkcs11Token`] here, and a YubiKey's
//! PIV application (ES256 only) through glue in the daemon. [`LogSigner`] holds the one key of the log (Ed25519): [`Pkcs11LogKey`]
//! on its own `hsm_token`, or [`FileLogKey`] where the HSM has no Ed25519.
//!
//! Invariants: a device is given a message and an algorithm, and whatever has to be hashed first is hashed here, because
//! `CKM_ECDSA` takes any length; both traits block, and never wait without a bound of their own; the caller verifies every signature with
//! the charter's public key before it leaves the process; unknown objects are reported, never deleted.
//! Spec: PKCS #11 v3.0; RFC 7518 section 3.4 (r‖s).

mod attributes;
mod canary;
mod error;
mod fault;
mod file_log_key;
mod generate;
mod initialise;
mod inventory;
mod late;
mod log_key;
mod lookup;
mod module;
mod names;
mod new_file;
mod open;
mod pair;
mod pin;
mod pool;
mod reinit;
mod report;
mod select;
mod sign;
mod template;
mod token;

use crate::jose::{Digest, Ed25519PublicKey, PublicKey, TokenAlg};

pub use attributes::{AttributeReport, Expected};
pub use canary::CANARY;
pub use error::{Cause, HsmError};
pub use file_log_key::FileLogKey;
pub use generate::GeneratedKey;
pub use initialise::{InitialisedToken, initialise_token, token_exists};
pub use inventory::{Inventory, KeyEntry, UnknownObject};
pub use late::LateDevice;
pub use log_key::Pkcs11LogKey;
pub use module::Pkcs11Module;
pub use names::{KeyName, TokenSelector};
pub(crate) use new_file::write_new;
pub use pair::DevicePair;
pub use pin::UserPin;
pub use report::{Backend, Capabilities, DeviceDescription, HealthReport};
pub use token::{Pkcs11Token, TokenOptions};

/// A device that signs with issuing keys, chosen by their RFC 7638 thumbprint (`kid`).
pub trait SigningDevice: Send + Sync + 'static {
    /// Signs a message with the key `kid`, whose algorithm this is; the answer is as in a JWS (ECDSA: r‖s). Not verified
    /// here: the caller does, with the key of the charter.
    ///
    /// # Errors
    /// [`HsmError::KeyNotFound`] if the device has no such key, [`HsmError::Unsupported`] if it does not offer the
    /// algorithm, [`HsmError::Unavailable`] or [`HsmError::Fault`] if it failed and could not be revived,
    /// [`HsmError::Busy`] if others used it all the time.
    fn sign(&self, kid: &Digest, alg: TokenAlg, message: &[u8]) -> Result<Vec<u8>, HsmError>;

    /// The public half of a key, read from the device.
    ///
    /// # Errors
    /// As [`SigningDevice::sign`].
    fn public_key(&self, kid: &Digest) -> Result<PublicKey, HsmError>;

    /// Public halves of all keys that the device could sign with.
    ///
    /// # Errors
    /// As [`SigningDevice::sign`].
    fn public_keys(&self) -> Result<Vec<PublicKey>, HsmError>;

    /// Makes and verifies a canary signature ([`CANARY`], which is no JWS) with key `kid`, whose algorithm this is. The only honest test of
    /// health: a device that is gone goes on saying that its session is logged in.
    ///
    /// # Errors
    /// As [`SigningDevice::sign`], and [`HsmError::CanaryFailed`].
    fn health(&self, kid: &Digest, alg: TokenAlg) -> Result<HealthReport, HsmError>;

    /// Destroys a key for ever, and looks whether it is gone; whether it was there until now.
    ///
    /// # Errors
    /// [`HsmError::Unsupported`] if the device has the key and cannot destroy it, or as [`SigningDevice::sign`] except for
    /// [`HsmError::KeyNotFound`]: a key that is not there is an answer.
    fn destroy(&self, kid: &Digest) -> Result<bool, HsmError>;

    /// What the device is and can do, read when it was opened.
    fn describe(&self) -> &DeviceDescription;
}

/// The signer of the log's checkpoints.
pub trait LogSigner: Send + Sync + 'static {
    /// The public half.
    fn public_key(&self) -> &Ed25519PublicKey;

    /// Signs a message with Ed25519 (RFC 8032, pure).
    ///
    /// # Errors
    /// As [`SigningDevice::sign`].
    fn sign_ed25519(&self, message: &[u8]) -> Result<[u8; 64], HsmError>;

    /// Makes and verifies a signature over [`CANARY`], which is no checkpoint.
    ///
    /// # Errors
    /// As [`SigningDevice::health`].
    fn health(&self) -> Result<HealthReport, HsmError>;

    /// Where the key lives.
    fn describe(&self) -> &DeviceDescription;
}
