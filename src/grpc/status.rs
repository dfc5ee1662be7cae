//! The single place where an error becomes a gRPC status: what a caller gets to see is decided here.
//!
//! Every status carries a `google.rpc.ErrorInfo`: domain `breakglass`, a reason that is part of the API and never
//! changes its meaning, and metadata. Spec: google/rpc/status.proto, `google/rpc/error_details.proto`, AIP-193.

use std::collections::BTreeMap;
use std::fmt;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::domain::gate::GateRefusal;
use crate::domain::{Fault, Refusal};
use crate::engine::EngineError;
use crate::store::AppendError;

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "breakglass";

/// Longest message and longest metadata value, in bytes: statuses travel in HTTP/2 headers, and clients limit those.
const MAX_MESSAGE: usize = 1024;
const MAX_VALUE: usize = 256;

/// Whose fault an error is and what helps: one gRPC code each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The caller showed no certificate, or one that the charter does not know.
    Unauthenticated,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// The message is wrong whatever the state of the daemon.
    InvalidArgument,
    /// What was named does not exist.
    NotFound,
    /// It was done before.
    AlreadyExists,
    /// The state of the daemon forbids it; retrying does not help until something else changes.
    FailedPrecondition,
    /// A quota is used up; retrying later helps.
    ResourceExhausted,
    /// The daemon cannot do it just now; retrying helps.
    Unavailable,
    /// It took too long.
    DeadlineExceeded,
    /// Something was found broken; the daemon's log has the cause.
    Internal,
    /// Another command was faster; starting over helps.
    Aborted,
    /// This daemon has no such method, or does not compress that way.
    Unimplemented,
}

impl Kind {
    /// The gRPC code.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::Unauthenticated => Code::Unauthenticated,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::InvalidArgument => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::FailedPrecondition => Code::FailedPrecondition,
            Self::ResourceExhausted => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Internal => Code::Internal,
            Self::Aborted => Code::Aborted,
            Self::Unimplemented => Code::Unimplemented,
        }
    }
}

/// An error as a caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    kind: Kind,
    reason: &'static str,
    message: String,
    metadata: BTreeMap<&'static str, String>,
}

impl ServiceError {
    /// `reason` is `UPPER_SNAKE_CASE` and stable; `message` says what happened, to what, and what to do next.
    pub fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into(), metadata: BTreeMap::new() }
    }

    /// Adds a fact that a program may act on.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.metadata.insert(name, value.to_string());
        self
    }

    /// Whose fault it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// What people read.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for ServiceError {}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        let metadata: std::collections::HashMap<String, String> = error
            .metadata
            .into_iter()
            .map(|(name, value)| (name.to_owned(), cut(value, MAX_VALUE)))
            .collect();
        let details = ErrorDetails::with_error_info(error.reason, DOMAIN, metadata);
        Status::with_error_details(error.kind.code(), cut(error.message, MAX_MESSAGE), details)
    }
}

impl From<&EngineError> for ServiceError {
    fn from(error: &EngineError) -> Self {
        let reason = error.reason();
        let kind = match error {
            EngineError::Refused(refusal) => return refused(refusal),
            EngineError::NotYet { state, setback } => {
                let told =
                    Self::new(Kind::FailedPrecondition, reason, error.to_string()).with("state", state);
                return match setback {
                    Some(setback) => told.with("cause", setback.reason),
                    None => told,
                };
            }
            EngineError::Hsm(device) if !device.is_transient() => Kind::FailedPrecondition,
            EngineError::Overloaded
            | EngineError::Stopping
            | EngineError::Hsm(_)
            | EngineError::DeviceSilent
            | EngineError::NoOperationalKey
            | EngineError::OperationalSignature
            | EngineError::Unrecorded
            | EngineError::Log(AppendError::Full | AppendError::Busy) => Kind::Unavailable,
            EngineError::Latched(_) | EngineError::Clock(_) => Kind::FailedPrecondition,
            EngineError::Log(AppendError::Conflict { .. }) => Kind::Aborted,
            EngineError::Log(AppendError::Broken(_) | AppendError::TooLarge { .. })
            | EngineError::Store(_)
            | EngineError::Proof(_)
            | EngineError::Randomness(_)
            | EngineError::Start(_) => Kind::Internal,
        };
        tracing::warn!(error = error as &dyn std::error::Error, reason, "grpc.engine.failed");
        Self::new(kind, reason, error.to_string())
    }
}

/// A refusal says all it knows, the cause included: it is about the caller's own message.
fn refused(refusal: &Refusal) -> ServiceError {
    let kind = match refusal.fault() {
        Fault::Invalid => Kind::InvalidArgument,
        Fault::Denied => Kind::PermissionDenied,
        Fault::Missing => Kind::NotFound,
        Fault::Duplicate => Kind::AlreadyExists,
        Fault::State => Kind::FailedPrecondition,
        Fault::Limit => Kind::ResourceExhausted,
    };
    let mut message = refusal.to_string();
    let mut cause = std::error::Error::source(refusal);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    let error = ServiceError::new(kind, refusal.reason(), message);
    match refusal {
        Refusal::Duplicate(id) | Refusal::RequestUnknown(id) => error.with("request_id", id),
        Refusal::ClockSkew { signed_at, now } => error.with("signed_at", signed_at).with("now", now),
        Refusal::Cooldown { until } => error.with("until", until),
        Refusal::TooManyOpen { limit, .. } | Refusal::TokenTooLarge { limit, .. } => {
            error.with("limit", limit)
        }
        Refusal::WrongState(state) => error.with("state", state),
        Refusal::Gate(GateRefusal::Number { last }) => error.with("last", last),
        _ => error,
    }
}

/// Cuts at a character's border.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let mut end = most;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_the_reason_and_the_metadata() {
        let error =
            ServiceError::new(Kind::NotFound, "REQUEST_UNKNOWN", "no such request").with("request_id", "abc");
        let status = Status::from(error);
        assert_eq!((status.code(), status.message()), (Code::NotFound, "no such request"));
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.domain.as_str(), info.reason.as_str()), ("breakglass", "REQUEST_UNKNOWN"));
        assert_eq!(info.metadata["request_id"], "abc");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let error = ServiceError::new(Kind::Internal, "X", "ä".repeat(5_000)).with("v", "€".repeat(5_000));
        let status = Status::from(error);
        assert!(status.message().len() <= MAX_MESSAGE + 3 && status.message().ends_with("ä…"));
        let value = status.get_error_details().error_info().unwrap().metadata["v"].clone();
        assert!(value.len() <= MAX_VALUE + 3 && value.ends_with("€…"));
    }
}
