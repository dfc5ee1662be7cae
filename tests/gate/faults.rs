//! What a gate does when something is broken: it refuses, and says why.

use std::time::{Duration, Instant};

use breakglass::jose::{Digest, GeneralJws, Typ, b64};
use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::{free_port, wait_for};

use crate::{
    dpop, kit,
    place::{Gate, Place, get},
    world::{DEADLINE, now},
};

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

/// The clock of the gate's machine is five minutes off: neither a token's time nor a proof's means anything there.
#[test]
fn a_gate_with_a_wrong_clock_refuses_and_says_so() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.bearer(&client);
    for offset in ["+5m", "-5m"] {
        let gate = place.gate_with(&[
            ("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
            ("FAKETIME", offset),
            // The clocks that only run forward are right.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]);
        let answer = until(&gate, "CLOCK_WRONG", || gate.ask_bearer(&token, &place.text("erin.cert.pem")));
        assert_eq!(answer.status, 403);
        assert!(answer.body.contains("differ by"), "{}", answer.body);
        assert!(gate.look("/readyz").body.starts_with("CLOCK_WRONG"));
    }
    assert!(daemon.stop().success());
}

/// A daemon that was restored from a backup does not know of the last kill: a gate that does, hears it and does not rely on it,
/// even after a restart of its own.
#[test]
fn a_daemon_that_forgot_a_kill_is_not_relied_on() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.bearer(&client);
    assert!(daemon.stop().success());
    let backup = std::fs::read(place.world.database()).unwrap();
    let daemon = place.world.start();
    let mut gate = place.gate(|config| config);
    gate.ready();
    place.kill(&place.world.client("erin/file"), "requester", Some("erin")).unwrap();
    let ask = |gate: &Gate| gate.ask_bearer(&token, &place.text("erin.cert.pem"));
    until(&gate, "REQUESTER_KILLED", || ask(&gate));
    wait_for("the epoch to be kept", DEADLINE, || {
        place.text("gate-state/gate.json").contains("\"epoch\":1").then_some(())
    });
    gate.process.kill();
    assert!(daemon.stop().success());
    for name in ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"] {
        let _ = std::fs::remove_file(place.path("data").join(name));
    }
    std::fs::write(place.world.database(), backup).unwrap();

    let daemon = place.world.start();
    let gate = place.gate(|config| config);
    wait_for("a heartbeat that does not count", DEADLINE, || {
        (gate.metric("breakglass_gate_heartbeats_behind_total") > 0).then_some(())
    });
    assert_eq!(ask(&gate).reason(), "KILL_VIEW_MISSING");
    assert!(daemon.stop().success());
}

/// Carol kills and leaves. A gate that starts afterwards verifies her kill by the version of the charter that it names.
#[test]
fn a_kill_outlives_the_office_of_who_signed_it_and_a_new_charter_reaches_the_gate() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let (token, other) = (place.bearer(&client), place.dpop(&client, "a fresh key"));
    let gate = place.gate(|config| config);
    gate.ready();
    let erin = place.text("erin.cert.pem");
    assert_eq!(gate.ask_bearer(&token, &erin).status, 200);
    place.kill(&client, "jti", Some(&jti(&other))).unwrap();

    // Carol leaves, and erin's certificate is no longer hers.
    let document = serde_json::to_value(place.world.charter.document()).unwrap();
    let mut next = kit::patch(
        document,
        json!({"version": 2, "previous": place.world.charter.digest(), "nonce": kit::nonce("next"),
            "issued_at": now(), "expires_at": now() + 80 * 86_400, "clients": null,
            "groups": {"ops": ["dave", "hank"], "security": ["alice", "bob"]}}),
    );
    let text = next.to_string();
    assert!(text.contains("carol"));
    without_carol(&mut next);
    let payload = kit::payload(&next);
    let signatures = ["alice/1", "bob/1", "hank/1", "hank/2"]
        .map(|by| kit::key(by).state(Typ::Charter, &payload, now()))
        .to_vec();
    let adopted = client.propose(&GeneralJws { payload, signatures }).unwrap();
    assert!(adopted.is_none(), "{adopted:?}");
    until(&gate, "TAKEN_AWAY", || gate.ask_bearer(&token, &erin));
    assert!(gate.look("/status").body.contains("\"version\":2"));

    let late = place.gate(|config| config.replace("gate-state", "late-state"));
    late.ready();
    assert_eq!(late.ask_bearer(&token, &erin).reason(), "TAKEN_AWAY");
    assert_eq!(late.metric("breakglass_gate_kill_epoch"), 1);
    let claims = dpop::claims("GET", "https://a.example/orders/orders", &other, now(), "one");
    let proof = dpop::proof(&kit::key("a fresh key"), &claims);
    let killed = late.ask(&[
        ("X-Original-Method", "GET"),
        ("X-Original-URI", "/orders/orders"),
        ("X-Original-Host", "a.example"),
        ("X-Original-Proto", "https"),
        ("Authorization", &format!("DPoP {other}")),
        ("DPoP", &proof),
    ]);
    assert_eq!(killed.reason(), "TOKEN_KILLED");
    assert!(daemon.stop().success());
}

fn jti(token: &str) -> String {
    let claims: Value =
        serde_json::from_slice(&b64::decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

/// Carol is nobody any more; hank, who had a device, is a custodian in her place.
fn without_carol(document: &mut Value) {
    let persons = document["persons"].as_array_mut().unwrap();
    persons.retain(|person| person["id"] != "carol");
    for person in persons.iter_mut() {
        if person["id"] == "hank" {
            person["roles"] = json!(["custodian", "requester"]);
            person["devices"] = json!([kit::device("hank/1", 601), kit::device("hank/2", 602)]);
        }
        if person["id"] == "erin" {
            person["certificates"] = json!([Digest::of(b"another")]);
        }
    }
    let renamed = document.to_string().replace("\"carol\"", "\"hank\"");
    *document = serde_json::from_str(&renamed).unwrap();
}
