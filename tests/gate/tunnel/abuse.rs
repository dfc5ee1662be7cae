//! Those who get no tunnel: without a key, with another's, with garbage, too slowly, too often, too late.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use breakglass::{
    client::tunnel::{PROTOCOL, TunnelError},
    grpc::tls::{HTTP1, Identity, client_config_for},
};
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use serde_json::json;
use testkit::wait_for;

use super::{RESOURCE, TunnelGate, echo, ping};
use crate::{
    client::{secret, wait},
    kit,
    place::{Answer, Place, answer},
    world::DEADLINE,
};

/// TLS with the gate, and nothing said yet.
fn shake(gate: &TunnelGate, identity: Option<&Identity>) -> StreamOwned<ClientConnection, TcpStream> {
    let config = client_config_for(vec![TunnelGate::pin()], identity, HTTP1).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::clone(&config), name).unwrap(), stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock).unwrap();
    }
    tls
}

/// Says this, and reads to the end.
fn say(tls: &mut StreamOwned<ClientConnection, TcpStream>, text: &str) -> Answer {
    let _ = tls.write_all(text.as_bytes());
    let mut bytes = Vec::new();
    let _ = tls.read_to_end(&mut bytes);
    answer(&String::from_utf8_lossy(&bytes))
}

fn request(token: &str, more: &str) -> String {
    format!(
        "GET /tunnel HTTP/1.1\r\nHost: gate\r\nConnection: upgrade\r\nUpgrade: {PROTOCOL}\r\n\
         Breakglass-Resource: {RESOURCE}\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
    )
}

fn reason(error: &TunnelError) -> (&str, bool) {
    (error.reason(), error.is_final())
}

#[test]
fn a_tunnel_needs_the_key_of_the_token_and_a_resource_that_it_names() {
    let place = Place::new();
    let daemon = place.world.start();
    let gate = TunnelGate::start(&place, &echo(), "connections = 4\nconnections_each = 2");
    let client = place.world.client("erin/file");
    let token = place.dpop(&client, "the key");
    let slow = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();

    let mut good = gate.open("the key", &token).unwrap();
    ping(&mut good, "through").unwrap();
    let stolen = gate.open("mallory", &token).unwrap_err();
    assert_eq!(reason(&stolen), ("TLS_KEY_MISMATCH", true));
    let garbage = gate.open("the key", "a.b.c").unwrap_err();
    assert_eq!(reason(&garbage), ("TOKEN_MALFORMED", true));
    let elsewhere = wait(gate.tunnels("the key", "pg/prod/else", &token).open()).unwrap_err();
    assert_eq!(reason(&elsewhere), ("RESOURCE_UNKNOWN", false));
    let other = place.granted(
        &client,
        json!({"cnf": {"jkt": kit::key("another key").kid()}, "ttl": 600,
        "authorization_details": [{"type": "database", "actions": ["explain"], "locations": [RESOURCE]}]}),
    );
    assert_eq!(reason(&gate.open("another key", &other).unwrap_err()), ("DETAILS_NOT_COVERED", true));
    let foreign = place.world.wish(json!({"cnf": {"jkt": kit::key("a third key").kid()}, "ttl": 600,
        "profile": "db-write", "aud": "https://write.example.test", "authorization_details":
            [{"type": "database", "actions": ["write"], "locations": [RESOURCE], "identifier": "t_1"}]}));
    foreign.file(&client).unwrap();
    for device in ["alice/1", "carol/1"] {
        foreign.approve(&client, device).unwrap();
    }
    let foreign = foreign.redeem(&client).unwrap();
    assert_eq!(reason(&gate.open("a third key", &foreign).unwrap_err()), ("AUDIENCE_MISMATCH", true));
    // A token for a certificate, by who has it and by who has not.
    let bound = place.bearer(&client);
    let read = |name: &str| place.text(name);
    let identity = |name: &str| {
        let (certificate, key) = (read(&format!("{name}.cert.pem")), read(&format!("{name}.key.pem")));
        Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
    };
    let thief = wait(gate.tunnels_as(&identity("mallory"), RESOURCE, &bound).open()).unwrap_err();
    assert_eq!(reason(&thief), ("CERTIFICATE_MISMATCH", true));
    ping(&mut wait(gate.tunnels_as(&identity("erin"), RESOURCE, &bound).open()).unwrap(), "mine").unwrap();
    // Asking whether opens nothing.
    let asked = wait(gate.tunnels("the key", RESOURCE, &token).ask()).unwrap();
    assert_eq!((asked.resource.as_str(), asked.protocol.as_deref()), (RESOURCE, Some("postgresql")));
    // Two of one token; the third waits for one of them to end.
    let second = gate.open("the key", &token).unwrap();
    assert_eq!(reason(&gate.open("the key", &token).unwrap_err()), ("TUNNELS_FULL", false));
    drop(second);
    wait_for("a place", DEADLINE, || gate.open("the key", &token).ok());
    ping(&mut good, "still").unwrap();
    assert_eq!(gate.gate.metric("breakglass_gate_refused_total{reason=\"TLS_KEY_MISMATCH\"}"), 1);
    assert!(gate.gate.metric("breakglass_gate_refused_total{reason=\"TUNNELS_FULL\"}") >= 1);
    // Who says nothing is sent away by now, or soon.
    slow.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!((&slow).read(&mut [0; 1]).unwrap(), 0, "closed, with nothing said");
    assert!(daemon.stop().success());
}

#[test]
fn what_is_no_request_for_a_tunnel_is_answered_and_bounded() {
    let place = Place::new();
    let daemon = place.world.start();
    let gate = TunnelGate::start(&place, &echo(), "");
    let client = place.world.client("erin/file");
    let token = place.dpop(&client, "the key");
    let own = Identity::from_key(&secret("the key"), "a client", &[]).unwrap();
    let ask = |identity: Option<&Identity>, text: &str| {
        let said = say(&mut shake(&gate, identity), text);
        (said.status, said.header("breakglass-reason").to_owned())
    };
    let is = |status: u16, reason: &str| (status, reason.to_owned());
    assert_eq!(ask(None, &request(&token, "")), is(401, "CERTIFICATE_MISSING"));
    let bare = "GET /tunnel HTTP/1.1\r\nHost: gate\r\n\r\n";
    assert_eq!(ask(Some(&own), bare), is(401, "TOKEN_MISSING"));
    assert_eq!(
        ask(Some(&own), "GET /auth HTTP/1.1\r\nHost: gate\r\n\r\n"),
        is(404, "TUNNEL_REQUEST_INVALID")
    );
    assert_eq!(
        ask(Some(&own), &request(&token, "").replacen("GET", "POST", 1)),
        is(404, "TUNNEL_REQUEST_INVALID")
    );
    let other = request(&token, "").replace(PROTOCOL, "websocket");
    assert_eq!(ask(Some(&own), &other), is(400, "TUNNEL_PROTOCOL_UNKNOWN"));
    let twice = request(&token, &format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(ask(Some(&own), &twice), is(403, "HEADER_REPEATED"));
    // Garbage after the handshake, and heads that are too long or have too many fields.
    assert_eq!(ask(Some(&own), "\0\u{1}SSH-2.0\r\n\r\n").0, 400);
    assert_eq!(ask(Some(&own), &request(&token, &format!("X: {}\r\n", "x".repeat(20_000)))).0, 431);
    assert_eq!(ask(Some(&own), &request(&token, &"X: y\r\n".repeat(40))).0, 431);
    // Bytes that follow at once are the first ones of the tunnel.
    let mut eager = shake(&gate, Some(&own));
    eager.write_all(format!("{}early", request(&token, "")).as_bytes()).unwrap();
    eager.conn.send_close_notify();
    let mut back = Vec::new();
    eager.read_to_end(&mut back).unwrap();
    let back = String::from_utf8(back).unwrap();
    assert!(back.starts_with("HTTP/1.1 101 ") && back.ends_with("\r\n\r\nearly"), "{back}");

    // Killed between the handshake and the request.
    let mut late = shake(&gate, Some(&own));
    place.kill(&client, "requester", Some("erin")).unwrap();
    wait_for("the gate to know of the kill", DEADLINE, || {
        (gate.gate.metric("breakglass_gate_kill_epoch") >= 1).then_some(())
    });
    let refused = say(&mut late, &request(&token, ""));
    assert_eq!((refused.status, refused.header("breakglass-reason")), (401, "REQUESTER_KILLED"));
    assert!(refused.body.contains("requester erin was killed"), "{}", refused.body);
    assert!(daemon.stop().success());
}

#[test]
fn one_host_cannot_take_every_place_of_those_who_arrive() {
    let place = Place::new();
    let daemon = place.world.start();
    let gate = TunnelGate::start(&place, &echo(), "");
    let token = place.dpop(&place.world.client("erin/file"), "the key");
    let mut open = gate.open("the key", &token).unwrap();
    let crowd: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(("127.0.0.1", gate.port)).unwrap()).collect();
    wait_for("the crowd to be turned away", DEADLINE, || {
        (gate.gate.metric("breakglass_gate_tunnels_crowded_total") >= 24).then_some(())
    });
    ping(&mut open, "unharmed").unwrap();
    drop(crowd);
    wait_for("a tunnel once they are gone", DEADLINE, || gate.open("the key", &token).ok());
    assert!(daemon.stop().success());
}
