//! How long a tunnel lives: expiry, a daemon that is gone, a gate that stops; and what halves of a connection do.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{RESOURCE, TunnelGate, echo, is_cut, ping};
use crate::{
    client::wait,
    kit,
    place::Place,
    world::{DEADLINE, now},
};

#[test]
fn a_tunnel_ends_with_its_token() {
    let place = Place::new();
    let daemon = place.world.start();
    let gate = TunnelGate::start(&place, &echo(), "");
    let cnf = json!({"cnf": {"jkt": kit::key("the key").kid()}, "ttl": 4});
    let token = place.granted(&place.world.client("erin/file"), cnf);
    let until = wait(gate.tunnels("the key", RESOURCE, &token).ask()).unwrap().expires_at;
    let mut tunnel = gate.open("the key", &token).unwrap();
    ping(&mut tunnel, "before").unwrap();
    is_cut(&mut tunnel);
    assert!((until..until + 3).contains(&now()), "{} s after the token's end", now() - until);
    let line = gate.ended("TOKEN_TIME");
    assert_eq!((&line["to_target"], &line["to_client"]), (&json!(6), &json!(6)));
    let late = gate.open("the key", &token).unwrap_err();
    assert_eq!((late.reason(), late.is_final()), ("TOKEN_TIME", true));
    assert!(daemon.stop().success());
}

#[test]
fn a_gate_that_hears_no_daemon_opens_nothing_and_cuts_after_the_grace() {
    let place = Place::new();
    let mut daemon = place.world.start();
    let stale = |config: String| config.replace("max_stale = 10", "max_stale = 4");
    let gate = TunnelGate::with(&place, &echo(), "grace = 3", stale);
    let token = place.dpop(&place.world.client("erin/file"), "the key");
    let mut tunnel = gate.open("the key", &token).unwrap();
    ping(&mut tunnel, "heard").unwrap();
    daemon.process.kill();
    let refused = testkit::wait_for("new ones to be refused", DEADLINE, || {
        gate.open("the key", &token).err().map(|error| (error.reason().to_owned(), error.is_final()))
    });
    assert_eq!(refused, ("KILL_VIEW_STALE".to_owned(), false), "it may come back");
    ping(&mut tunnel, "within the grace").unwrap();
    is_cut(&mut tunnel);
    let line = gate.ended("KILL_VIEW_STALE");
    // Measured by the gate: opened on a fresh view, cut no sooner than max_stale and grace after it was last heard.
    assert!(line["millis"].as_u64().unwrap() >= 4_000, "{line}");
    gate.has_open(0);
}

#[test]
fn half_a_connection_may_end_before_the_other_and_a_stopping_gate_ends_all() {
    let place = Place::new();
    let daemon = place.world.start();
    let mut gate = TunnelGate::start(&place, &echo(), "");
    let token = place.dpop(&place.world.client("erin/file"), "the key");
    let mut half = gate.open("the key", &token).unwrap();
    let mut back = Vec::new();
    let bytes = vec![7; 3_000_000];
    wait(async {
        let (mut from, mut to) = tokio::io::split(&mut half);
        let send = async {
            to.write_all(&bytes).await.unwrap();
            to.shutdown().await.unwrap();
        };
        tokio::join!(send, async { from.read_to_end(&mut back).await.unwrap() });
    });
    assert!(back == bytes, "{} of {} bytes came back after this side had ended", back.len(), bytes.len());
    let line = gate.ended("CLOSED");
    assert_eq!((&line["to_target"], &line["to_client"]), (&json!(3_000_000), &json!(3_000_000)));

    let mut open = gate.open("the key", &token).unwrap();
    ping(&mut open, "open").unwrap();
    assert!(gate.gate.process.terminate(DEADLINE).success());
    is_cut(&mut open);
    gate.ended("GATE_STOPPING");
    assert!(daemon.stop().success());
}

#[test]
fn a_target_that_is_down_is_said_and_a_socket_in_the_file_system_is_one() {
    let place = Place::new();
    let daemon = place.world.start();
    let path = place.path("echo.sock");
    let listener = wait(async { tokio::net::UnixListener::bind(&path) }).unwrap();
    wait(async {
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            }
        });
    });
    let gate = TunnelGate::start(&place, &format!("unix:{}", path.display()), "");
    let client = place.world.client("erin/file");
    let token = place.dpop(&client, "the key");
    let mut tunnel = gate.open("the key", &token).unwrap();
    ping(&mut tunnel, "by a file").unwrap();
    let cnf = json!({"cnf": {"jkt": kit::key("another key").kid()}, "ttl": 600, "authorization_details":
        [{"type": "database", "actions": ["read"], "locations": ["pg/prod/down"]}]});
    let down = place.granted(&client, cnf);
    let error = wait(gate.tunnels("another key", "pg/prod/down", &down).open()).unwrap_err();
    assert_eq!((error.reason(), error.is_final()), ("TARGET_UNREACHABLE", false));
    let says = error.to_string();
    assert!(says.contains("pg/prod/down") && !says.contains("127.0.0.1"), "{says}");
    assert!(daemon.stop().success());
}
