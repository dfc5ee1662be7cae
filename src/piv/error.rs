//! Everything that can go wrong with a custodian's device, each with what to do next.

use thiserror::Error;

use super::Serial;

/// Why a device did not do what was asked. No variant ever carries a PIN.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of a variant says what its fields are")]
pub enum PivError {
    /// No smart card service to talk to.
    #[error("no smart card service answers ({detail}): is pcscd installed and running?")]
    Service { detail: String },
    /// No reader holds this key.
    #[error("YubiKey {serial} is not plugged in: plug it in and try again")]
    NotFound { serial: Serial },
    /// Some reader could not be asked, so the key may be there.
    #[error(
        "YubiKey {serial} cannot be reached: another program holds a key (often gpg's scdaemon), or one waits for a touch; end that and try again"
    )]
    Busy { serial: Serial },
    /// Pulled out in the middle.
    #[error(
        "YubiKey {serial} was removed before it had answered: nothing was signed; plug it in and start again"
    )]
    Removed { serial: Serial },
    /// Slot holds no key.
    #[error("YubiKey {serial} has no key in slot {slot}: enrol it with `breakglass custodian enrol`")]
    NoKey { serial: Serial, slot: &'static str },
    /// Slot holds a key, and it is not the one expected.
    #[error(
        "YubiKey {serial} holds another key in slot {slot} than the charter lists: it was enrolled anew, or reset; nothing was signed"
    )]
    WrongKey { serial: Serial, slot: &'static str },
    /// A PIN that no key would take.
    #[error("a PIN has 6 to 8 bytes: this one was not sent to the key")]
    PinShape,
    /// The PIN file cannot be read.
    #[error("the PIN file {path} cannot be read: {detail}")]
    PinFile { path: String, detail: String },
    /// Wrong PIN.
    #[error(
        "wrong PIN for YubiKey {serial}: {tries_left} tries left before it blocks; it was not tried again"
    )]
    WrongPin { serial: Serial, tries_left: u8 },
    /// No tries left.
    #[error(
        "the PIN of YubiKey {serial} is blocked: unblock it with its PUK (`ykman piv access unblock-pin`), or use another key"
    )]
    PinBlocked { serial: Serial },
    /// The PIN was right and the key refused to sign.
    #[error(
        "YubiKey {serial} was not touched ({waited_ms} ms): nothing was signed; start again and touch it when it blinks"
    )]
    TouchMissing { serial: Serial, waited_ms: u64 },
    /// The management key was not accepted.
    #[error("YubiKey {serial} does not accept this management key: pass the one it was set to")]
    ManagementKey { serial: Serial },
    /// Enrolment would destroy a key.
    #[error(
        "YubiKey {serial} already has a key in slot {slot}: pass --overwrite to destroy it and make a new one"
    )]
    SlotOccupied { serial: Serial, slot: &'static str },
    /// The device's answer breaks the protocol, or its signature does not verify.
    #[error("YubiKey {serial} gave an answer that cannot be used ({detail}): unplug it and plug it in again")]
    Device { serial: Serial, detail: String },
}

impl PivError {
    /// A stable name for machines.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Service { .. } => "PIV_NO_SERVICE",
            Self::NotFound { .. } => "PIV_KEY_NOT_FOUND",
            Self::Busy { .. } => "PIV_BUSY",
            Self::Removed { .. } => "PIV_KEY_REMOVED",
            Self::NoKey { .. } => "PIV_SLOT_EMPTY",
            Self::WrongKey { .. } => "PIV_WRONG_KEY",
            Self::PinShape => "PIV_PIN_SHAPE",
            Self::PinFile { .. } => "PIV_PIN_FILE",
            Self::WrongPin { .. } => "PIV_WRONG_PIN",
            Self::PinBlocked { .. } => "PIV_PIN_BLOCKED",
            Self::TouchMissing { .. } => "PIV_TOUCH_MISSING",
            Self::ManagementKey { .. } => "PIV_MANAGEMENT_KEY",
            Self::SlotOccupied { .. } => "PIV_SLOT_OCCUPIED",
            Self::Device { .. } => "PIV_DEVICE",
        }
    }
}
