//! Requests and verdicts as files, for custodians whose machine has no network: export, sign apart, submit.
//!
//! The signed object is the one that travels by gRPC, so nothing here is trusted that was not trusted there: the air-gapped
//! machine verifies the request with its own charter chain, and the daemon verifies the verdict when somebody carries it
//! back.

mod export;
mod submit;
mod verdict;

pub(super) use export::{Args as ExportArgs, run as export};
pub(super) use submit::{Command as ApprovalCommand, run as approval};
pub(super) use verdict::{OfflineArgs, judge, scanned};
