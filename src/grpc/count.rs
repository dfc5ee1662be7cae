//! Counts calls by method and reason.
//!
//! Invariant: a label is the name of a method of this API, or a reason that [`ServiceError`](super::status::ServiceError)
//! was made with: nothing that a caller wrote. A stream counts when its answer begins; how it ends is not seen here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::{Layer, Service};

use crate::telemetry::Metrics;

/// All methods of `breakglass.v1`, whose names are distinct; others (health, reflection, none) count as `other`.
const METHODS: [&str; 35] = [
    "AcknowledgeKills",
    "AnnounceGenesis",
    "CancelGenesis",
    "CheckIn",
    "FileRequest",
    "GetCharter",
    "GetCheckpoint",
    "GetConsistencyProof",
    "GetDaemon",
    "GetGenesis",
    "GetInclusionProof",
    "GetKills",
    "GetRequest",
    "Kill",
    "Lift",
    "ListCharters",
    "ListDevices",
    "ListGates",
    "ListProposals",
    "ListRequests",
    "ListReviews",
    "ListVerifiers",
    "ProbeVerifier",
    "ProposeCharter",
    "RecordTranscript",
    "Redeem",
    "ReportUses",
    "RetractCharter",
    "Review",
    "SignCharter",
    "StreamEntries",
    "SubmitSignature",
    "WatchKills",
    "WatchRequests",
    "Withdraw",
];

/// Wraps all services, and what gives their errors a reason.
#[derive(Clone, Debug)]
pub(super) struct CountLayer(pub(super) Arc<Metrics>);

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Count { inner, metrics: Arc::clone(&self.0) }
    }
}

/// See [`CountLayer`].
#[derive(Clone, Debug)]
pub(super) struct Count<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S> Service<Request<Body>> for Count<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (method, metrics) = (method(request.uri().path()), Arc::clone(&self.metrics));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            match reason(answer.headers()) {
                Some(reason) => metrics.call(method, &reason),
                None => metrics.call(method, "OK"),
            }
            Ok(answer)
        })
    }
}

fn method(path: &str) -> &'static str {
    let called = path.strip_prefix("/breakglass.v1.").and_then(|path| path.split('/').nth(1));
    METHODS.into_iter().find(|method| Some(*method) == called).unwrap_or("other")
}

/// Why the call was refused; `None` if it was not, or if that is not known yet.
fn reason(headers: &HeaderMap) -> Option<String> {
    let status = Status::from_header_map(headers).filter(|status| status.code() != Code::Ok)?;
    let info = status.get_error_details().error_info().map(|info| info.reason.clone());
    Some(info.unwrap_or_else(|| "UNTYPED".to_owned()))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_method_of_the_api_has_its_own_count() {
        let files = prost_types::FileDescriptorSet::decode(crate::grpc::DESCRIPTORS).unwrap().file;
        let own = files.iter().filter(|file| file.package() == "breakglass.v1");
        let services = own.flat_map(|file| &file.service);
        let mut methods: Vec<(String, &str)> = services
            .flat_map(|service| {
                let path = |method: &str| format!("/breakglass.v1.{}/{method}", service.name());
                service.method.iter().map(move |method| (path(method.name()), method.name()))
            })
            .collect();
        methods.sort_by_key(|(_, name)| *name);
        assert_eq!(methods.iter().map(|(_, name)| *name).collect::<Vec<_>>(), METHODS);
        for (path, name) in methods {
            assert_eq!(method(&path), name);
        }
        for path in ["/grpc.health.v1.Health/Check", "/breakglass.v1.AccessService/Mint", "/", ""] {
            assert_eq!(method(path), "other");
        }
    }

    #[test]
    fn a_refusal_counts_under_its_reason() {
        use super::super::status::{Kind, ServiceError};
        let refused = Status::from(ServiceError::new(Kind::PermissionDenied, "SELF_APPROVAL", "no"));
        assert_eq!(reason(refused.into_http::<Body>().headers()).as_deref(), Some("SELF_APPROVAL"));
        assert_eq!(reason(&HeaderMap::new()), None);
        let bare = Status::new(Code::Internal, "bare").into_http::<Body>();
        assert_eq!(reason(bare.headers()).as_deref(), Some("UNTYPED"));
    }
}
