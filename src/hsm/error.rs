//! What can go wrong between the daemon and a signing device, sorted by what a person does next.
//!
//! Invariants: no variant carries a PIN or key material; the cause is in `source()`, never in `Display`;
//! [`HsmError::reason`] is stable, because clients see it.

use std::path::PathBuf;
use std::time::Duration;

use crate::jose::Digest;

/// A cause of any kind, kept for the log.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error of a signing device, of its PIN, or of a log key in a file.
#[derive(Debug, thiserror::Error)]
pub enum HsmError {
    /// The PKCS#11 library could not be loaded or initialised.
    #[error("the PKCS#11 module {path} cannot be used; check `module`, and that its own configuration is readable", path = path.display())]
    Module {
        /// Path of the module.
        path: PathBuf,
        /// What the loader or the module said.
        #[source]
        source: Cause,
    },
    /// No `hsm_token` has this label (and serial).
    #[error("no hsm_token {wanted} in {path}; it has {found}; check `token` and `token_serial`", path = path.display())]
    TokenNotFound {
        /// What was asked for.
        wanted: String,
        /// Labels that are there.
        found: String,
        /// Path of the module.
        path: PathBuf,
    },
    /// More than one `hsm_token` fits.
    #[error("{count} hsm_tokens are called {wanted}; set `token_serial` to choose one")]
    TokenAmbiguous {
        /// What was asked for.
        wanted: String,
        /// How many fit.
        count: usize,
    },
    /// A label that PKCS#11 or this program cannot use.
    #[error("{what} {value:?} is not usable: {rule}")]
    BadName {
        /// Which name it is.
        what: &'static str,
        /// The name.
        value: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// An `hsm_token` of this label is there already.
    #[error("an hsm_token called {label} exists already; choose another label, nothing was changed")]
    TokenExists {
        /// The label.
        label: String,
    },
    /// An `hsm_token` without a user PIN: its initialisation was interrupted, and the security officer's PIN is gone.
    #[error(
        "the hsm_token {device} (serial {serial}) has no user PIN: its initialisation was interrupted, and it holds nothing; erase it (SoftHSM: softhsm2-util --delete-token --serial {serial}; other devices: with their maker's tool), then run setup --initialise again"
    )]
    TokenHalfMade {
        /// Which device.
        device: String,
        /// Its serial number, as the device says.
        serial: String,
    },
    /// There is no uninitialised slot to put an `hsm_token` into.
    #[error("{path} offers no uninitialised slot; free one, or initialise the device with its maker's tool", path = path.display())]
    NoFreeSlot {
        /// Path of the module.
        path: PathBuf,
    },
    /// The device refused the PIN. It is not tried again by this process.
    #[error(
        "the PIN of {device} was refused ({detail}); it is not tried again, so that the device does not lock: correct the PIN file and restart"
    )]
    PinRefused {
        /// Which device.
        device: String,
        /// What the device said: incorrect, locked, expired, or an earlier refusal.
        detail: &'static str,
    },
    /// The PIN file cannot be read, or others can read it too.
    #[error("the PIN file {path} is not usable: {problem}", path = path.display())]
    PinFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
        /// The error of the operating system, if it was one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// A key file cannot be read or written.
    #[error("the key file {path} is not usable: {problem}", path = path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
        /// The error of the operating system, if it was one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The device holds no private key of this thumbprint.
    #[error("{device} holds no key {kid}; check that the charter names a key of this hsm_token")]
    KeyNotFound {
        /// Which device.
        device: String,
        /// Thumbprint, or label where no thumbprint is known.
        kid: String,
    },
    /// Several objects claim to be this key. Nothing is signed and nothing is deleted.
    #[error(
        "{device} holds {count} objects that claim to be key {kid}; look at `breakglass inventory` and remove the false one"
    )]
    KeyAmbiguous {
        /// Which device.
        device: String,
        /// Thumbprint or label.
        kid: String,
        /// How many objects.
        count: usize,
    },
    /// The device cannot do this at all.
    #[error("{device} does not offer {what}")]
    Unsupported {
        /// Which device.
        device: String,
        /// The mechanism that is missing.
        what: &'static str,
    },
    /// A key came out of generation with weaker attributes than asked for. It was destroyed.
    #[error("{device} made a key that is weaker than asked for ({violations}); it was destroyed")]
    WeakKey {
        /// Which device.
        device: String,
        /// The attributes that differ.
        violations: String,
    },
    /// The device answered with bytes that are no signature or no key.
    #[error("{device} answered {action} with something malformed: {problem}")]
    Malformed {
        /// Which device.
        device: String,
        /// What was asked.
        action: &'static str,
        /// What is wrong with the answer.
        problem: &'static str,
    },
    /// The canary signature did not verify.
    #[error("the canary signature of {device} by key {kid} does not verify; take the key out of use")]
    CanaryFailed {
        /// Which device.
        device: String,
        /// The key that signed.
        kid: Digest,
    },
    /// All `pkcs11_session`s stayed in use.
    #[error("all sessions of {device} stayed in use for {waited:?}; try again, or raise `sessions`")]
    Busy {
        /// Which device.
        device: String,
        /// How long the caller waited.
        waited: Duration,
    },
    /// The device is gone; the next attempt to bring it back is not due yet.
    #[error("{device} does not answer; the next attempt to bring it back is due in {retry_after:?}")]
    Unavailable {
        /// Which device.
        device: String,
        /// Time until the module is initialised again.
        retry_after: Duration,
        /// The fault that was seen last.
        #[source]
        source: Cause,
    },
    /// The device failed, and re-login and re-initialisation did not help.
    #[error("{device} failed at {action}")]
    Fault {
        /// Which device.
        device: String,
        /// What was asked.
        action: &'static str,
        /// What the device said.
        #[source]
        source: Cause,
    },
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system; nothing was generated")]
    Randomness {
        /// The error of the operating system.
        #[source]
        source: Cause,
    },
}

impl HsmError {
    /// Stable reason for clients and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Module { .. } => "HSM_MODULE_UNUSABLE",
            Self::TokenNotFound { .. } => "HSM_TOKEN_NOT_FOUND",
            Self::TokenAmbiguous { .. } => "HSM_TOKEN_AMBIGUOUS",
            Self::BadName { .. } => "HSM_BAD_NAME",
            Self::TokenExists { .. } => "HSM_TOKEN_EXISTS",
            Self::TokenHalfMade { .. } => "HSM_TOKEN_HALF_MADE",
            Self::NoFreeSlot { .. } => "HSM_NO_FREE_SLOT",
            Self::PinRefused { .. } => "HSM_PIN_REFUSED",
            Self::PinFile { .. } => "HSM_PIN_FILE",
            Self::KeyFile { .. } => "HSM_KEY_FILE",
            Self::KeyNotFound { .. } => "HSM_KEY_NOT_FOUND",
            Self::KeyAmbiguous { .. } => "HSM_KEY_AMBIGUOUS",
            Self::Unsupported { .. } => "HSM_UNSUPPORTED",
            Self::WeakKey { .. } => "HSM_WEAK_KEY",
            Self::Malformed { .. } => "HSM_MALFORMED_ANSWER",
            Self::CanaryFailed { .. } => "HSM_CANARY_FAILED",
            Self::Busy { .. } => "HSM_BUSY",
            Self::Unavailable { .. } => "HSM_UNAVAILABLE",
            Self::Fault { .. } => "HSM_FAULT",
            Self::Randomness { .. } => "HSM_NO_RANDOMNESS",
        }
    }

    /// Whether the same call may succeed later without a person doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unavailable { .. } | Self::Fault { .. })
    }
}
