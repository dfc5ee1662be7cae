//! YubiKey PIV: the custodians' devices. Finding them, enrolling them, signing with them.
//!
//! - A key is chosen by serial number *and* public key; with several plugged in nothing is ever guessed.
//! - A PIN is sent once for each signature, and never again by itself: three wrong ones block the key.
//! - PIN and signature are one exclusive transaction, so no other program comes between them, and a refusal after a right
//!   PIN can only be a missing touch. The device forgets the PIN at the end of it.
//! - Every call blocks; a caller on an async runtime moves it to a thread of its own.
//!
//! Spec: NIST SP 800-73-4; Yubico's PIV extensions. Measured against virtual keys only, no physical one was compared.

mod apdu;
mod devices;
mod enrol;
mod error;
mod key;
mod link;
mod pin;
mod watch;

pub use devices::{Device, Scan, Serial, devices, scan};
pub use enrol::{EnrolledKey, Enrolment, ManagementKey, enrol, enrol_issuer};
pub use error::PivError;
pub use key::{PivKey, Slot};
pub use pin::Pin;
pub use watch::{PivEvent, Watch};
