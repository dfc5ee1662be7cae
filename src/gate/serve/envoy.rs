//! Envoy's external authorization over gRPC: `envoy.service.auth.v3.Authorization/Check`.
//!
//! Envoy itself says whose certificate the connection showed (`include_peer_certificate`), so no header is read for that, and
//! what is handed to the application takes the place of what the client sent. A refusal is a denied response, never an error of
//! gRPC: with `failure_mode_allow`, Envoy would let pass what ends in an error.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_stream::{
    StreamExt as _,
    wrappers::{TcpListenerStream, UnixListenerStream},
};
use tonic::{Request, Response, Status};

use super::auth::{challenge, handed};
use crate::{
    gate::{
        Gate,
        certificate::{self, CertificateError},
        config::CertificateFormat,
        decide::{self, Pass, Refusal},
    },
    grpc::envoy::{
        AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption,
        HttpStatus, OkHttpResponse, Status as RpcStatus,
        authorization_server::{Authorization, AuthorizationServer},
        check_response::HttpResponse,
    },
    http::connection::Listener,
};

/// A question at most, in bytes: the headers of one request, its certificate, and no body.
const MAX_QUESTION: usize = 128 * 1024;
/// Questions at once on one connection.
const STREAMS: u32 = 1_024;

/// Codes of `google.rpc.Code`.
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

struct Check(Arc<Gate>);

#[tonic::async_trait]
impl Authorization for Check {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let gate = &self.0;
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let decided = match described(&attributes) {
            Ok(request) => gate.ask(&request),
            Err(refusal) => Err(gate.refused(refusal)),
        };
        Ok(Response::new(match decided {
            Ok(pass) => passed(gate, &pass),
            Err(refusal) => denied(gate, &refusal),
        }))
    }
}

/// The request that Envoy asks about. It joins the values of a header that came twice by commas, which neither a token nor a
/// proof has.
fn described(attributes: &AttributeContext) -> Result<decide::Request<'_>, Refusal> {
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
    let http = http.ok_or(Refusal::Unsaid("HTTP part"))?;
    let present = |text: &'_ str| !text.is_empty();
    let pem = attributes.source.as_ref().map_or("", |source| source.certificate.as_str());
    let certificate: Result<_, CertificateError> = certificate::digest(pem, CertificateFormat::Pem);
    Ok(decide::Request {
        method: Some(http.method.as_str()).filter(|text| present(text)).ok_or(Refusal::Unsaid("method"))?,
        target: Some(http.path.as_str()).filter(|text| present(text)).ok_or(Refusal::Unsaid("target"))?,
        host: Some(http.host.as_str()).filter(|text| present(text)),
        scheme: Some(http.scheme.as_str()).filter(|text| present(text)),
        authorization: http.headers.get("authorization").map(String::as_str),
        dpop: http.headers.get("dpop").map(String::as_str),
        certificate: certificate?,
    })
}

fn header(key: String, value: String) -> HeaderValueOption {
    // It takes the place of what the client sent.
    HeaderValueOption { header: Some(HeaderValue { key, value }), append: Some(false) }
}

fn passed(gate: &Gate, pass: &Pass) -> CheckResponse {
    let headers = handed(gate, pass).into_iter().map(|(name, value)| header(name, value)).collect();
    CheckResponse {
        status: Some(RpcStatus::default()),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse { headers })),
    }
}

fn denied(gate: &Gate, refusal: &Refusal) -> CheckResponse {
    let (status, challenges) = challenge(refusal);
    let mut headers = vec![header(gate.config.headers.reason.clone(), refusal.reason().to_owned())];
    if !challenges.is_empty() {
        headers.push(header("WWW-Authenticate".to_owned(), challenges.join(", ")));
    }
    let code = if status.as_u16() == 401 { UNAUTHENTICATED } else { PERMISSION_DENIED };
    let http = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(status.as_u16()) }),
        headers,
        body: format!("{}: {refusal}\n", refusal.reason()),
    };
    CheckResponse {
        status: Some(RpcStatus { code, message: refusal.reason().to_owned() }),
        http_response: Some(HttpResponse::DeniedResponse(http)),
    }
}

/// Serves until `stop`. Nobody but a trusted proxy is answered.
pub(super) async fn serve(
    listener: Listener,
    gate: Arc<Gate>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let service = AuthorizationServer::new(Check(Arc::clone(&gate))).max_decoding_message_size(MAX_QUESTION);
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(16 * 1024)
        .add_service(service);
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await.map(drop);
    };
    match listener {
        Listener::Tcp(listener) => {
            let trusted = move |stream: &std::io::Result<tokio::net::TcpStream>| {
                let peer = stream.as_ref().ok().and_then(|stream| stream.peer_addr().ok());
                peer.is_none_or(|peer| {
                    let is_trusted = gate.config.proxy.trusted.contains(&peer.ip().to_canonical());
                    if !is_trusted {
                        gate.refused(Refusal::Untrusted);
                    }
                    is_trusted
                })
            };
            let incoming = TcpListenerStream::new(listener).filter(trusted);
            server.serve_with_incoming_shutdown(incoming, stopped).await
        }
        Listener::Unix(listener) => {
            server.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stopped).await
        }
    }
}
