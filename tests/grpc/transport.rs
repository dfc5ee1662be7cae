//! Pins, strangers, limits and the orderly end, with this crate's own client and with bare sockets.

use std::time::Duration;

use breakglass::client::{Channel, ClientError, Dial};
use breakglass::grpc::server::Limits;
use breakglass::grpc::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
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
    let limits = Limits { handshake: Duration::from_millis(200), handshakes: 1, ..Limits::default() };
    let server = TestServer::start(limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    closed(&mut silent).await;
    // The only place for handshakes is free again.
    server.connect(None).await.unwrap();
}

#[tokio::test]
async fn a_garbage_handshake_is_ended() {
    let limits = Limits { handshake: Duration::from_millis(300), ..Limits::default() };
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
async fn a_strangers_connection_has_a_short_life() {
    let limits = Limits { stranger_life: Duration::from_millis(200), ..Limits::default() };
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
