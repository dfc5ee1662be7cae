//! Pins, strangers, limits and the orderly end, with this crate's own client and with bare sockets.

use std::sync::Arc;
use std::time::Duration;

use breakglass::client::{Channel, ClientError, Dial};
use breakglass::grpc::server::Limits;
use breakglass::grpc::tls::client_config;
use breakglass::grpc::v1;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;

use crate::support::{TestServer, identity, key, within};

fn file(bytes: usize) -> v1::FileRequestRequest {
    v1::FileRequestRequest { jws: vec![b'x'; bytes] }
}

async fn file_as(channel: &Channel, bytes: usize) -> Result<String, ClientError> {
    let answer = within(channel.access().file_request(file(bytes))).await?;
    Ok(answer.into_inner().request.unwrap().request_id)
}

#[tokio::test]
async fn handlers_see_the_spki_of_the_client_certificate() {
    let server = TestServer::start(Limits::default()).await;
    let own = identity("alice");
    let pin = own.spki();
    let channel = server.connect(Some(own)).await.unwrap();
    assert_eq!(file_as(&channel, 1).await.unwrap(), pin.to_string());
    server.stop().await;
}

#[tokio::test]
async fn the_pin_is_the_digest_of_the_public_key() {
    let key = key();
    let own = breakglass::grpc::tls::Identity::from_key(&key, "x", &["db.example".into(), "10.0.0.7".into()])
        .unwrap();
    let sec1 = {
        use p256::elliptic_curve::sec1::ToSec1Point as _;
        key.public_key().to_sec1_point(false)
    };
    let jwk = breakglass::jose::P256PublicKey::from_sec1(sec1.as_bytes()).unwrap();
    assert_eq!(own.spki(), breakglass::jose::Digest::of(&jwk.spki_der()));
}

#[tokio::test]
async fn a_stranger_gets_a_typed_error() {
    let server = TestServer::start(Limits::default()).await;
    let channel = server.connect(None).await.unwrap();
    let error = file_as(&channel, 1).await.unwrap_err();
    assert_eq!((error.code, error.reason.as_str()), (Code::Unauthenticated, "CLIENT_UNKNOWN"));
}

#[tokio::test]
async fn a_server_with_another_key_is_refused() {
    let server = TestServer::start(Limits::default()).await;
    let other = identity("other").spki();
    let error = Channel::connect(Dial::new(server.address.to_string(), vec![other], None)).await.unwrap_err();
    assert_eq!((error.code, error.reason.as_str()), (Code::Unauthenticated, "SERVER_NOT_PINNED"));
}

#[tokio::test]
async fn a_client_without_pins_does_not_connect() {
    let error = Channel::connect(Dial::new("127.0.0.1:1", vec![], None)).await.unwrap_err();
    assert_eq!(error.reason, "SERVER_PIN_MISSING");
    for address in ["", "127.0.0.1", "http://127.0.0.1:1", "a b:1"] {
        let error = Channel::connect(Dial::new(address, vec![identity("x").spki()], None)).await.unwrap_err();
        assert_eq!(error.reason, "ADDRESS_INVALID", "{address}");
    }
}

#[tokio::test]
async fn nobody_listening_is_said() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error =
        Channel::connect(Dial::new(address.to_string(), vec![identity("x").spki()], None)).await.unwrap_err();
    assert_eq!((error.code, error.reason.as_str()), (Code::Unavailable, "SERVER_UNREACHABLE"));
}

#[tokio::test]
async fn typed_errors_arrive_whole() {
    let server = TestServer::start(Limits::default()).await;
    let channel = server.connect(None).await.unwrap();
    let status = channel.access().list_requests(v1::ListRequestsRequest::default()).await.unwrap_err();
    let error = ClientError::from(status);
    assert_eq!(
        (error.code, error.reason.as_str(), error.message.as_str()),
        (Code::NotFound, "STUB", "ä: only a stub")
    );
    assert_eq!(error.metadata["answer"], "42");
}

#[tokio::test]
async fn an_oversized_message_gets_a_typed_error_and_the_connection_lives() {
    let server = TestServer::start(Limits::default()).await;
    let channel = server.connect(Some(identity("alice"))).await.unwrap();
    let mut unlimited = v1::access_service_client::AccessServiceClient::new(channel.raw());
    for bytes in [256 * 1024, 8 * 1024 * 1024] {
        let error = ClientError::from(within(unlimited.file_request(file(bytes))).await.unwrap_err());
        assert_eq!((error.code, error.reason.as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    }
    file_as(&channel, 255 * 1024).await.unwrap();
}

#[tokio::test]
async fn a_call_that_never_ends_is_answered() {
    let limits = Limits { call: Duration::from_millis(200), ..Limits::default() };
    let server = TestServer::start(limits).await;
    let channel = server.connect(None).await.unwrap();
    let status = within(channel.access().get_request(v1::GetRequestRequest::default())).await.unwrap_err();
    assert_eq!(ClientError::from(status).reason, "CALL_TIMEOUT");
}

/// Reads until the peer closes; TLS alerts may come before.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = within(stream.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn a_handshake_that_says_nothing_is_ended() {
    let limits = Limits { handshake: Duration::from_secs(2), handshakes: 1, ..Limits::default() };
    let server = TestServer::start(limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    closed(&mut silent).await;
    // The only place for handshakes is free again.
    server.connect(None).await.unwrap();
}

#[tokio::test]
async fn a_garbage_handshake_is_ended() {
    let limits = Limits { handshake: Duration::from_secs(2), ..Limits::default() };
    let server = TestServer::start(limits).await;
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0x16, 3, 1, 0, 1, 0]]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        closed(&mut stream).await;
    }
    server.connect(None).await.unwrap();
}

#[tokio::test]
async fn strangers_do_not_crowd_out_those_who_are_known() {
    let (alice, mallory) = (identity("alice"), identity("mallory"));
    let known = alice.spki();
    let limits = Limits { strangers: 1, connections: 1, ..Limits::default() };
    let server = TestServer::start_as(&identity("d"), limits, move |key| *key == known).await;
    let stranger = server.connect(Some(mallory)).await.unwrap();
    file_as(&stranger, 1).await.unwrap();
    // The second stranger finds no place; alice does.
    if let Ok(second) = server.connect(None).await {
        let error = file_as(&second, 1).await.unwrap_err();
        assert_eq!(error.reason, "TRANSPORT");
    }
    let channel = server.connect(Some(alice)).await.unwrap();
    assert_eq!(file_as(&channel, 1).await.unwrap(), known.to_string());
}

#[tokio::test]
async fn one_client_does_not_crowd_out_the_others() {
    let limits = Limits { connections_each: 1, ..Limits::default() };
    let server = TestServer::start_as(&identity("d"), limits, |_| true).await;
    let alice = key();
    let again = || breakglass::grpc::tls::Identity::from_key(&alice, "alice", &[]).unwrap();
    let first = server.connect(Some(again())).await.unwrap();
    file_as(&first, 1).await.unwrap();
    if let Ok(second) = server.connect(Some(again())).await {
        assert_eq!(file_as(&second, 1).await.unwrap_err().reason, "TRANSPORT");
    }
    file_as(&server.connect(Some(identity("bob"))).await.unwrap(), 1).await.unwrap();
    file_as(&first, 1).await.unwrap();
}

#[tokio::test]
async fn a_strangers_connection_has_a_short_life() {
    let limits = Limits { stranger_life: Duration::from_secs(1), ..Limits::default() };
    let server = TestServer::start(limits).await;
    let channel = server.connect(None).await.unwrap();
    let watch = v1::WatchRequestsRequest::default();
    let mut stream = within(channel.access().watch_requests(watch)).await.unwrap().into_inner();
    within(stream.message()).await.unwrap_err();
}

#[tokio::test]
async fn stopping_cuts_streams_after_the_grace_and_closes_the_port() {
    let limits = Limits { drain: Duration::from_millis(200), ..Limits::default() };
    let own = identity("alice");
    let server = TestServer::start_as(&identity("d"), limits, |_| true).await;
    let address = server.address;
    let channel = server.connect(Some(own)).await.unwrap();
    let watch = v1::WatchRequestsRequest::default();
    let mut stream = within(channel.access().watch_requests(watch)).await.unwrap().into_inner();
    server.stop().await;
    within(stream.message()).await.unwrap_err();
    TcpStream::connect(address).await.unwrap_err();
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

#[tokio::test]
async fn a_certificate_without_its_key_proves_nothing() {
    let server = TestServer::start_as(&identity("d"), Limits::default(), |_| true).await;
    let (alice, mallory) = (key(), key());
    let pem = breakglass::grpc::cert::self_signed(&alice, "alice", &[]).unwrap();
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let sign_as = |key: &p256::SecretKey| {
        use p256::pkcs8::EncodePrivateKey as _;
        let der =
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.to_pkcs8_der().unwrap().as_bytes().to_vec());
        let signing = rustls::crypto::ring::sign::any_ecdsa_type(&der.into()).unwrap();
        let mut config = (*client_config(vec![server.pin], None).unwrap()).clone();
        let pair = CertifiedKey::new(vec![certificate.clone()], signing);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair));
        TlsConnector::from(Arc::new(config))
    };
    for (key, accepted) in [(&alice, true), (&mallory, false)] {
        let tcp = TcpStream::connect(server.address).await.unwrap();
        let mut tls = sign_as(key).connect(localhost(), tcp).await.unwrap();
        // In TLS 1.3 the client hears of it only when it reads; an accepted one hears the server's SETTINGS.
        let read = within(tls.read_u8()).await;
        assert_eq!(read.is_ok(), accepted, "{read:?}");
    }
}

#[tokio::test]
async fn a_pair_that_does_not_match_is_refused_at_once() {
    use breakglass::grpc::tls::{Identity, IdentityError};
    use p256::pkcs8::EncodePrivateKey as _;
    let certificate = breakglass::grpc::cert::self_signed(&key(), "alice", &[]).unwrap();
    let other = key().to_pkcs8_pem(p256::pkcs8::LineEnding::LF).unwrap();
    let refused = Identity::from_pem(certificate.as_bytes(), other.as_bytes()).unwrap_err();
    assert!(matches!(refused, IdentityError::Pair(_)), "{refused:?}");
    let refused = Identity::from_pem(b"", other.as_bytes()).unwrap_err();
    assert!(matches!(refused, IdentityError::Certificate(_)), "{refused:?}");
    let refused = Identity::from_pem(certificate.as_bytes(), certificate.as_bytes()).unwrap_err();
    assert!(matches!(refused, IdentityError::Key(_)), "{refused:?}");
    assert!(!format!("{:?}", identity("x")).contains("key"));
}

#[tokio::test]
async fn a_peer_that_says_nothing_after_the_handshake_is_ended() {
    let limits = Limits { idle: Duration::from_secs(1), connections: 1, ..Limits::default() };
    let server = TestServer::start_as(&identity("d"), limits, |_| true).await;
    let connector = TlsConnector::from(client_config(vec![server.pin], Some(&identity("alice"))).unwrap());
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let mut tls = connector.connect(localhost(), tcp).await.unwrap();
    let mut said = Vec::new();
    let _ = within(tls.read_to_end(&mut said)).await;
    // Its place is free again.
    let channel = server.connect(Some(identity("bob"))).await.unwrap();
    file_as(&channel, 1).await.unwrap();
}

#[tokio::test]
async fn a_live_but_quiet_client_stays() {
    let every = Duration::from_millis(100);
    let limits = Limits { idle: every * 15, ping_every: every, ..Limits::default() };
    let server = TestServer::start_as(&identity("d"), limits, |_| true).await;
    let channel = server.connect(Some(identity("alice"))).await.unwrap();
    let watch = v1::WatchRequestsRequest::default();
    let mut stream = within(channel.access().watch_requests(watch)).await.unwrap().into_inner();
    // Nothing ends it during several idle periods: the pings are answered.
    tokio::time::timeout(every * 35, stream.message()).await.unwrap_err();
}

#[tokio::test]
async fn streams_of_one_connection_are_bounded() {
    let limits = Limits { streams: 2, ..Limits::default() };
    let server = TestServer::start_as(&identity("d"), limits, |_| true).await;
    let channel = server.connect(Some(identity("alice"))).await.unwrap();
    file_as(&channel, 1).await.unwrap();
    let watch = || async {
        channel.access().watch_requests(v1::WatchRequestsRequest::default()).await.unwrap().into_inner()
    };
    let (first, _second) = (within(watch()).await, within(watch()).await);
    tokio::time::timeout(Duration::from_millis(200), file_as(&channel, 1)).await.unwrap_err();
    drop(first);
    within(file_as(&channel, 1)).await.unwrap();
}

#[tokio::test]
async fn oversized_headers_are_refused_and_the_connection_lives() {
    let server = TestServer::start_as(&identity("d"), Limits::default(), |_| true).await;
    let channel = server.connect(Some(identity("alice"))).await.unwrap();
    let mut request = tonic::Request::new(file(1));
    request.metadata_mut().insert("x-large", "x".repeat(64 * 1024).parse().unwrap());
    within(channel.access().file_request(request)).await.unwrap_err();
    file_as(&channel, 1).await.unwrap();
}
