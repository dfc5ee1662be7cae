//! The signing devices, on real modules: `SoftHSM`, and tpm2-pkcs11 on a software TPM.
//!
//! One suite of behaviours (`suite`) runs on every device through [`common::Device`]; what only one of them can do is
//! in that device's own file. Each test runs in a process of its own, because a module reads its configuration from the
//! environment and `C_Initialize` acts on a whole process.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do, by panicking")]

mod common;
mod examples;
mod file_log_key;
mod pin;
mod softhsm;
mod softhsm_only;
mod suite;
mod tpm;
