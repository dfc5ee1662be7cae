//! Sorts the errors of a PKCS#11 call by the smallest thing that can heal them.
//!
//! Measured: no module ever returns `CKR_DEVICE_REMOVED` when it should. A lost device shows as an invalid
//! handle, a general error, or a key that is suddenly not there, so all of these climb the whole ladder.
//! Spec: PKCS #11 v3.0 section 5.1 (return values).

use cryptoki::error::{Error, RvError};

use super::error::HsmError;

/// What may heal a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Remedy {
    /// Nothing: the same call will fail the same way.
    None,
    /// A new `pkcs11_session` with a new login and a new look-up.
    Session,
    /// The above, then `C_Finalize` and `C_Initialize`.
    Module,
}

/// Error of one attempt, before the ladder has decided what the caller sees.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The module returned an error.
    Pkcs11(Error),
    /// A token or key that was there before is not there now.
    Gone(HsmError),
    /// An answer that no repetition changes.
    Final(HsmError),
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Self::Pkcs11(error)
    }
}

impl Attempt {
    /// The smallest thing that may heal this.
    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            Self::Pkcs11(error) => remedy(error),
            Self::Gone(_) => Remedy::Module,
            Self::Final(_) => Remedy::None,
        }
    }

    /// What the caller sees once the ladder has ended.
    pub(crate) fn into_error(self, device: &str, action: &'static str) -> HsmError {
        match self {
            Self::Pkcs11(source) => {
                HsmError::Fault { device: device.to_owned(), action, source: source.into() }
            }
            Self::Gone(error) => HsmError::Fault { device: device.to_owned(), action, source: error.into() },
            Self::Final(error) => error,
        }
    }
}

/// The smallest thing that may heal a call that failed with `error`.
pub(crate) fn remedy(error: &Error) -> Remedy {
    let Error::Pkcs11(rv, _) = error else { return Remedy::None };
    match rv {
        // The token, the daemon behind the module or the module itself went away.
        RvError::GeneralError
        | RvError::FunctionFailed
        | RvError::DeviceError
        | RvError::DeviceMemory
        | RvError::DeviceRemoved
        | RvError::HostMemory
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid
        | RvError::CryptokiNotInitialized
        | RvError::ObjectHandleInvalid
        | RvError::KeyHandleInvalid
        | RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::VendorDefined(_) => Remedy::Module,
        // Someone logged out, or a half-done operation stuck to the session.
        RvError::UserNotLoggedIn
        | RvError::UserAnotherAlreadyLoggedIn
        | RvError::OperationActive
        | RvError::OperationNotInitialized
        | RvError::FunctionCanceled
        | RvError::SessionCount
        | RvError::BufferTooSmall => Remedy::Session,
        _ => Remedy::None,
    }
}

/// The wording for a refused PIN, if that is what `error` is.
pub(crate) fn pin_refusal(error: &Error) -> Option<&'static str> {
    match error {
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            Some("incorrect")
        }
        Error::Pkcs11(RvError::PinLocked, _) => Some("locked"),
        Error::Pkcs11(RvError::PinExpired, _) => Some("expired"),
        _ => None,
    }
}
