//! What a gate does when something is broken: it refuses, and says why.

use std::time::{Duration, Instant};

use testkit::{free_port, wait_for};

use crate::{
    place::{Gate, Place, get},
    world::DEADLINE,
};
use rustix::process::Signal;

/// Asks until the answer has this reason, or none if it passes.
fn until(gate: &Gate, reason: &str, ask: impl Fn() -> crate::place::Answer) -> crate::place::Answer {
    wait_for(&format!("the answer {reason:?} of a gate:\n{}", gate.process.log()), DEADLINE, || {
        let answer = ask();
        (answer.reason() == reason).then_some(answer)
    })
}

#[test]
fn a_gate_starts_refusing_and_refuses_again_when_the_daemon_falls_silent() {
    let place = Place::new();
    let daemon = place.world.start();
    let token = place.bearer(&place.world.client("erin/file"));
    let erin = place.text("erin.cert.pem");
    assert!(daemon.stop().success());

    let gate = place.gate(|config| config.replace("max_stale = 10", "max_stale = 4"));
    let ask = || gate.ask_bearer(&token, &erin);
    let answer = ask();
    assert_eq!((answer.status, answer.reason()), (403, "KILL_VIEW_MISSING"));
    assert_eq!(gate.look("/healthz").status, 200);
    let ready = gate.look("/readyz");
    assert!(ready.status == 503 && ready.body.starts_with("KILL_VIEW_MISSING"), "{ready:?}");
    assert_eq!(gate.metric("breakglass_gate_view_fresh"), 0);

    let mut daemon = place.world.start();
    let passed = until(&gate, "", ask);
    assert_eq!((passed.status, passed.header("x-breakglass-subject")), (200, "erin"));
    assert_eq!(passed.header("x-breakglass-incident"), "INC-42");
    assert_eq!(passed.header("x-breakglass-action"), "database:read");
    assert_eq!(gate.look("/readyz").status, 200);
    assert_eq!(gate.metric("breakglass_gate_view_fresh"), 1);

    // The connection stays open, and nothing comes.
    daemon.process.signal(Signal::STOP);
    let silent = Instant::now();
    let stale = until(&gate, "KILL_VIEW_STALE", ask);
    assert!(silent.elapsed() < Duration::from_secs(4 + 3), "{:?}", silent.elapsed());
    assert_eq!(stale.status, 403);
    assert!(stale.body.contains("4 s ago, and relies on it for 4 s"), "{}", stale.body);
    assert_eq!(gate.metric("breakglass_gate_view_fresh"), 0);
    assert!(gate.metric("breakglass_gate_refused_total{reason=\"KILL_VIEW_STALE\"}") >= 1);
    daemon.process.signal(Signal::CONT);
    until(&gate, "", ask);
    assert!(daemon.stop().success());
}

#[test]
fn a_gate_that_was_off_when_a_kill_came_enforces_it_when_it_is_back() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.bearer(&client);
    let erin = place.text("erin.cert.pem");
    let mut gate = place.gate(|config| config);
    gate.ready();
    assert_eq!(gate.ask_bearer(&token, &erin).status, 200);
    gate.process.kill();
    place.kill(&client, "key", Some(&crate::kit::key("erin/file").kid().to_string())).unwrap();
    let gate = place.gate(|config| config);
    until(&gate, "KEY_KILLED", || {
        let answer = gate.ask_bearer(&token, &erin);
        assert_ne!(answer.status, 200, "it never passes in between");
        answer
    });
    assert!(daemon.stop().success());
}

#[test]
fn a_gate_works_with_one_of_its_daemons() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.bearer(&client);
    let dead = format!("[[daemons]]\naddress = \"https://127.0.0.1:{}\"\n\n[[daemons]]", free_port());
    let gate = place.gate(|config| config.replace("[[daemons]]", &dead));
    gate.ready();
    assert_eq!(gate.ask_bearer(&token, &place.text("erin.cert.pem")).status, 200);
    assert!(
        gate.look("/status")
            .body
            .contains(&format!("\"connected\":[\"127.0.0.1:{}\"]", place.world.ports().grpc))
    );
    assert!(daemon.stop().success());
}

/// A proxy that is not named could make everything up, the certificate first of all.
#[test]
fn whoever_is_no_trusted_proxy_is_not_answered() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.bearer(&client);
    let gate = place
        .gate(|config| config.replace("kind = \"nginx\"", "kind = \"nginx\"\ntrusted = [\"192.0.2.1\"]"));
    gate.ready();
    let bearer = format!("Bearer {token}");
    let certificate = crate::place::escaped(&place.text("erin.cert.pem"));
    let headers = [
        ("X-Original-Method", "GET"),
        ("X-Original-URI", "/orders/orders"),
        ("Authorization", bearer.as_str()),
        ("X-Client-Cert", certificate.as_str()),
    ];
    let answered = get(gate.auth, "/auth", &headers);
    assert!(answered.as_ref().is_ok_and(|answer| answer.status == 0) || answered.is_err(), "{answered:?}");
    assert_eq!(gate.metric("breakglass_gate_refused_total{reason=\"PROXY_NOT_TRUSTED\"}"), 1);
    assert_eq!(gate.metric("breakglass_gate_accepted_total"), 0);
    assert!(daemon.stop().success());
}
