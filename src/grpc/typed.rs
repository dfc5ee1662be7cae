//! Gives the transport's own errors the same shape as ours: a reason in google.rpc.ErrorInfo.
//!
//! tonic answers some calls by itself: too large, not protobuf, no such method, too slow. Those statuses carry no
//! details, by which they are recognised: all statuses made in this crate carry some.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::status::{Kind, ServiceError};

/// Wraps all services.
#[derive(Clone, Debug)]
pub(super) struct TypedLayer {
    call: Duration,
}

impl TypedLayer {
    /// `call`: how long a call may take until its answer begins.
    pub(super) fn new(call: Duration) -> Self {
        Self { call }
    }
}

impl<S> Layer<S> for TypedLayer {
    type Service = Typed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Typed { inner, call: self.call }
    }
}

/// See [`TypedLayer`].
#[derive(Clone, Debug)]
pub(super) struct Typed<S> {
    inner: S,
    call: Duration,
}

impl<S> Service<Request<Body>> for Typed<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = tracing::debug_span!("grpc.call", method = request.uri().path());
        let (answer, most) = (self.inner.call(request), self.call);
        let typed = async move {
            let Ok(answer) = tokio::time::timeout(most, answer).await else {
                let message = format!("no answer within {} s: ask again, nothing is lost", most.as_secs());
                return Ok(into_response(ServiceError::new(Kind::DeadlineExceeded, "CALL_TIMEOUT", message)));
            };
            let answer = answer?;
            Ok(untyped(answer.headers()).map_or(answer, into_response))
        };
        Box::pin(typed.instrument(span))
    }
}

fn into_response(error: ServiceError) -> Response<Body> {
    Status::from(error).into_http()
}

/// The error that a status without details stands for; `None` for success and for errors that are typed already.
fn untyped(headers: &HeaderMap) -> Option<ServiceError> {
    let status = Status::from_header_map(headers)?;
    if status.code() == Code::Ok || !status.details().is_empty() {
        return None;
    }
    let (kind, reason) = match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => (Kind::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        // A request that does not decode is "internal" to tonic; it is the caller's fault.
        Code::Internal | Code::InvalidArgument => (Kind::InvalidArgument, "MESSAGE_MALFORMED"),
        Code::Unimplemented => (Kind::Unimplemented, "NOT_SUPPORTED"),
        Code::DeadlineExceeded | Code::Cancelled => (Kind::DeadlineExceeded, "CALL_TIMEOUT"),
        _ => (Kind::Unavailable, "TRANSPORT_FAILED"),
    };
    Some(ServiceError::new(kind, reason, status.message()))
}
