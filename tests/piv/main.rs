//! The boundary to the custodians' devices: `src/piv` and foreign clients against virtual YubiKeys, through a real pcscd.
//!
//! Each test has a pcscd of its own (see `virtual_yubikey::harness`). No physical key was compared.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do, by panicking")]

mod backend;
mod enrolment;
mod finding;
mod foreign;
mod signing;

use breakglass::piv::{EnrolledKey, Enrolment, ManagementKey, Pin, Serial, enrol};
use std::time::Duration;

/// Longest wait for anything that should happen at once, on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(10);

fn pin() -> Pin {
    Pin::new(b"123456").unwrap()
}

fn enrolled(serial: u32) -> EnrolledKey {
    enrol(&Enrolment {
        serial: Serial(serial),
        pin: &pin(),
        management_key: ManagementKey::Default,
        overwrite: false,
    })
    .unwrap()
}
