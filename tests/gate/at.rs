//! The daemon is gone: a kill is brought to gates with `breakglass kill send --at`, and their signatures are checked.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
};

use serde_json::json;
use testkit::free_port;

use crate::{acks::signed, place::Place, tunnel::psql::Erin, world::now};

/// Answers one request like a gate that lies: 200, and no signature.
fn liar() -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let _ = peer.read(&mut [0; 16_384]).unwrap();
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nenforced").unwrap();
    });
    (port, answering)
}

#[test]
fn a_custodian_reaches_gates_without_a_daemon_and_believes_their_signatures_alone() {
    let place = Place::new();
    let daemon = place.world.start();
    let erin = Erin::new(&place);
    let token = place.bearer(&place.world.client("erin/file"));
    let certificate = place.text("erin.cert.pem");
    let gate = place.gate(|config| config.replace("max_stale = 10", "max_stale = 60"));
    gate.ready();
    assert_eq!(gate.ask_bearer(&token, &certificate).status, 200);
    assert!(daemon.stop().success());
    fs::write(place.path("kill.json"), signed(&place, "bob/1", "brought", now()).to_json()).unwrap();
    let at = |port: u16| format!("127.0.0.1:{port}");

    let nobody = at(free_port());
    let error = erin.fails(&["kill", "send", "kill.json", "--at", &nobody], 1);
    assert_eq!(error["reason"], "KILL_NOT_ENFORCED", "{error}");
    let (port, answering) = liar();
    let error = erin.fails(&["kill", "send", "kill.json", "--at", &at(port)], 1);
    assert!(error["message"].as_str().unwrap().contains("no acknowledgement of this kill"), "{error}");
    answering.join().unwrap();
    assert_eq!(gate.ask_bearer(&token, &certificate).status, 200, "nothing is enforced yet");

    let control = at(gate.control);
    let told = erin.run(&["kill", "send", "kill.json", "--at", &control]);
    assert_eq!(told["gates"][0]["verifier"], json!("orders"), "{told}");
    assert_eq!(gate.ask_bearer(&token, &certificate).reason(), "KEY_KILLED");
    // One of two is not all of them, and it says which.
    let error = erin.fails(&["kill", "send", "kill.json", "--at", &control, "--at", &nobody], 1);
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("1 of 2 gates") && message.contains(&nobody), "{message}");
}
