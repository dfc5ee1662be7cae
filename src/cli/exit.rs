//! Exit codes, and the errors that the command line itself raises.
//!
//! Invariant: the code of a failure depends on the kinds of its causes alone, so a script can rely on it. The table in
//! [`TABLE`] is part of `--help`.

use std::error::Error as StdError;

use crate::{
    client::{ClientError, tunnel::TunnelError},
    config::{chain::ChainError, client::ConfigError},
    domain::{
        attestation::AttestationError,
        charter::{CharterError, NotPermitted},
        refusal::Refusal,
        replay::WrongEntry,
        strict::Rejection,
    },
    jose::JoseError,
    piv::PivError,
    store::StoreError,
    tlog::TlogError,
};

/// Shown at the end of `breakglass --help`.
pub(crate) const TABLE: &str = "\
Exit codes:
  0  done
  1  refused or failed: the message says by whom and why
  2  wrong command line or configuration
  3  not reachable: the daemon or a hardware key; trying again may help
  4  does not verify: a token, charter, request or log is not what it claims to be
  5  not confirmed: the question was answered with no, or could not be asked";

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Refused or failed.
    Refused = 1,
    /// Wrong command line or configuration.
    Usage = 2,
    /// Daemon or device not reachable.
    Unavailable = 3,
    /// Something signed is not what it claims to be.
    Unverified = 4,
    /// A person said no.
    Declined = 5,
}

/// An error of the command line itself: what happened, to what, and what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Problem {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// Stable, `UPPER_SNAKE`.
    pub(crate) reason: &'static str,
    message: String,
    #[source]
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Problem {
    fn new(exit: Exit, reason: &'static str, message: impl Into<String>) -> Self {
        Self { exit, reason, message: message.into(), cause: None }
    }

    /// With the error that led to it.
    pub(crate) fn because(self, cause: anyhow::Error) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    pub(crate) fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, reason, message)
    }

    pub(crate) fn usage(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, reason, message)
    }

    pub(crate) fn unavailable(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::Unavailable, reason, message)
    }

    pub(crate) fn unverified(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::Unverified, reason, message)
    }

    pub(crate) fn declined(message: impl Into<String>) -> Self {
        Self::new(Exit::Declined, "NOT_CONFIRMED", message)
    }
}

/// The exit code and the stable reason of an error: those of the first cause that has some.
pub(crate) fn classify(error: &anyhow::Error) -> (Exit, String) {
    error.chain().find_map(known).unwrap_or((Exit::Refused, "FAILED".to_owned()))
}

fn known(cause: &(dyn StdError + 'static)) -> Option<(Exit, String)> {
    let found = |exit, reason: &str| Some((exit, reason.to_owned()));
    if let Some(problem) = cause.downcast_ref::<Problem>() {
        return found(problem.exit, problem.reason);
    }
    if let Some(error) = cause.downcast_ref::<ClientError>() {
        return found(of_client(error), &error.reason);
    }
    if let Some(error) = cause.downcast_ref::<TunnelError>() {
        return found(of_tunnel(error), error.reason());
    }
    if let Some(error) = cause.downcast_ref::<ConfigError>() {
        // A charter that is not the pinned one is no slip of the pen.
        let is_charter = matches!(error, ConfigError::Charter { .. });
        return found(if is_charter { Exit::Unverified } else { Exit::Usage }, error.reason());
    }
    if let Some(error) = cause.downcast_ref::<ChainError>() {
        let is_charter = matches!(error, ChainError::Shape { .. });
        return found(if is_charter { Exit::Unverified } else { Exit::Usage }, error.reason());
    }
    if let Some(error) = cause.downcast_ref::<PivError>() {
        return found(of_device(error), error.reason());
    }
    if let Some(error) = cause.downcast_ref::<Rejection>() {
        return found(Exit::Unverified, error.reason());
    }
    if let Some(error) = cause.downcast_ref::<CharterError>() {
        return found(Exit::Unverified, error.reason());
    }
    if let Some(error) = cause.downcast_ref::<TlogError>() {
        return found(Exit::Unverified, error.reason());
    }
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return found(of_store(error), error.reason());
    }
    if cause.is::<WrongEntry>() {
        return found(Exit::Unverified, "ENTRY_WRONG");
    }
    if cause.is::<AttestationError>() {
        return found(Exit::Unverified, "ATTESTATION_REFUSED");
    }
    if let Some(error) = cause.downcast_ref::<NotPermitted>() {
        return found(Exit::Refused, error.reason());
    }
    if let Some(error) = cause.downcast_ref::<Refusal>() {
        return found(Exit::Refused, error.reason());
    }
    cause.downcast_ref::<JoseError>().map(|error| (Exit::Refused, error.reason().to_owned()))
}

/// A device that is not there may come; one that refuses has refused.
fn of_device(error: &PivError) -> Exit {
    match error {
        PivError::Service { .. }
        | PivError::NotFound { .. }
        | PivError::Busy { .. }
        | PivError::Removed { .. } => Exit::Unavailable,
        _ => Exit::Refused,
    }
}

/// An export that is not what it claims to be, or one that cannot be read or written.
fn of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::Export { .. }
        | StoreError::ExportEntry(_)
        | StoreError::RootMismatch { .. }
        | StoreError::Tlog(_) => Exit::Unverified,
        _ => Exit::Refused,
    }
}

fn of_client(error: &ClientError) -> Exit {
    use tonic::Code;
    match error.code {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Exit::Unavailable,
        // The pinned key did not answer: whoever did is not the daemon.
        Code::Unauthenticated if error.reason == "SERVER_NOT_PINNED" => Exit::Unverified,
        _ => Exit::Refused,
    }
}

fn of_tunnel(error: &TunnelError) -> Exit {
    match error {
        TunnelError::Address(_) | TunnelError::NoPin | TunnelError::Setup(_) => Exit::Usage,
        TunnelError::NotPinned(_) | TunnelError::Answer(_) => Exit::Unverified,
        TunnelError::Refused { is_final: true, .. } => Exit::Refused,
        TunnelError::Unreachable { .. }
        | TunnelError::Broken(_)
        | TunnelError::Timeout
        | TunnelError::Refused { .. } => Exit::Unavailable,
    }
}
