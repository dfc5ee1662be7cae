//! A YubiKey without hardware: a PIV card that speaks to a private pcscd through the vpcd reader.
//!
//! For tests and the demo only: its secrets are in the clear, its attestation root belongs to nobody, and the reader
//! driver listens on all interfaces without authentication. No physical key was compared with it; it is judged by the
//! clients that must accept it (`ykman`, OpenSC, `yubico-piv-tool`, the `yubikey` crate).
//!
//! [`Card`] is the card as a state machine, [`Stack`] is pcscd with cards in its readers.

mod apdu;
pub mod attestation;
mod card;
pub mod control;
pub mod harness;
mod pcscd;
mod piv;
mod reader;
mod stack;
pub mod state;
mod tlv;
mod touch;
mod vpcd;

pub use card::Card;
pub use reader::{CardControl, CardSpec, Counts, RunningCard};
pub use stack::{MAX_CARDS, Stack, StackError, load_or_make_ca};
pub use state::{CardState, Version};
pub use touch::{Finger, TOUCH_TIMEOUT, TouchCounts, TouchMode};
