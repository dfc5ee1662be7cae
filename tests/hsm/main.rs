//! The signing devices, on real modules: `SoftHSM`, and tpm2-pkcs11 on a software TPM.
//!
//! Each test runs in a process of its own, because a module reads its configuration from the environment and
//! `C_Initialize` acts on a whole process.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stand outside test functions, which clippy's exception covers"
)]

mod common;
mod softhsm;
